"""``uv run python tests/benchmarks/flame.py``: draw where a worker and ``enqueue`` take their time on PostgreSQL.

py-spy samples a process of each while it works, and the flame graphs replace ``docs/flame-runs.svg`` and ``docs/flame-enqueue.svg``. The
graphs leave the event loop out, join the frames of a library, and show what has at least 1 % of the samples.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

# ruff: noqa: E402, T201 - found by the line above; a command prints
from bench_processes import start, wait_until_ready
from postgresql import PostgreSQL
from targcc_scheduler import migrate

DOCS = HERE.parents[1] / "docs"
OURS = "targcc_scheduler/"
WIDTH, ROW, LETTER = 1000, 18, 6.7
"""Pixels: of the graph, of a row, and of a letter."""
LEAST = 0.01
COLOURS = {
    "features": "#f6c89f",
    "db": "#a9d3b5",
    "kernel": "#f3dd8f",
    "core": "#c9c3e6",
    "library": "#d9dde2",
}
Stack = tuple[str, ...]


@contextmanager
def recorded(process: subprocess.Popen[str], stacks: Counter[Stack]) -> Iterator[None]:
    """Sample the stacks of a process; count those of our code."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "stacks"
        command = ["uvx", "py-spy", "record", "--function", "--rate", "500", "--format", "raw"]
        recorder = subprocess.Popen(
            [*command, "--pid", str(process.pid), "--output", str(output)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert recorder.stdout is not None
        try:
            if not recorder.stdout.readline():  # py-spy says that it samples
                raise SystemExit("py-spy cannot sample the process")
            yield
        finally:
            recorder.send_signal(signal.SIGINT)
            recorder.communicate()
        if recorder.returncode != 0:
            raise SystemExit("py-spy has ended with an error")
        for line in output.read_text(encoding="utf-8").splitlines():
            frames, _, count = line.rpartition(" ")
            if stack := shortened(frames.split(";")):
                stacks[stack] += int(count)


def shortened(frames: Sequence[str]) -> Stack:
    """Return the frames below the event loop from the first of ours, with one frame for a library; empty for a thread that waits."""
    below = [number for number, frame in enumerate(frames) if frame.startswith("Handle._run ")]
    found: list[str] = []
    for frame in frames[below[-1] + 1 :] if below else ():
        name, _, place = frame.partition(" (")
        file = place.rpartition(":")[0]
        if OURS in file:
            found.append(f"{name} ({file.partition(OURS)[2].removesuffix('.py')})")
        elif found:
            library = f"{file.partition('/')[0].removesuffix('.py')} (library)"
            if found[-1] != library:
                found.append(library)
    return tuple(found)


def drawn(stacks: Counter[Stack], title: str) -> str:
    """Return a flame graph: the callers above, the called functions below, the width of a box its share of the samples."""
    shown = list(boxes(stacks, stacks.total()))
    height = (max((depth for *_, depth in shown), default=0) + 1) * ROW
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
            f'<text x="4" y="13">{escape(title)}</text>',
            *(box(*each) for each in shown),
            "</svg>\n",
        ]
    )


def boxes(
    stacks: Counter[Stack], total: int, left: float = 0, depth: int = 1
) -> Iterator[tuple[str, float, float, int]]:
    """Yield the name, share, left edge and row of each function with enough samples, callers first."""
    called: dict[str, Counter[Stack]] = defaultdict(Counter)
    for stack, count in stacks.items():
        if stack:
            called[stack[0]][stack[1:]] += count
    for name, inner in sorted(called.items(), key=lambda pair: -pair[1].total()):
        share = inner.total() / total
        if share >= LEAST:
            yield name, share, left, depth
            yield from boxes(inner, total, left, depth + 1)
            left += share * WIDTH


def box(name: str, share: float, left: float, depth: int) -> str:
    """Return the box of a function, with its name if there is room."""
    function, _, place = name.partition(" (")
    colour = COLOURS.get(place.rstrip(")").partition("/")[0], COLOURS["kernel"])
    width = share * WIDTH
    words = (
        f"{function} {share:.0%}",
        f"{function.rpartition('.')[2]} {share:.0%}",
        function.rpartition(".")[2],
    )
    shown = next((text for text in words if len(text) * LETTER < width), "")
    y = depth * ROW
    return (
        f'<g><title>{escape(name)}: {share:.0%}</title><rect x="{left:.1f}" y="{y}" width="{max(width - 1, 0.5):.1f}" height="{ROW - 1}" fill="{colour}"/>'
        f'<text x="{left + 3:.1f}" y="{y + 13}">{escape(shown)}</text></g>'
    )


async def create(url: str, count: int) -> None:
    """Create runs one at a time, after a line on the standard input."""
    from workers import scheduler_of  # configures the process

    scheduler = scheduler_of(url)
    await scheduler.start(work=False, schedule=False)
    for _ in range(20):
        await scheduler.enqueue("Plain", number=0)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(count):
        await scheduler.enqueue("Plain", number=number)
    print("ready", flush=True)
    sys.stdin.readline()
    await scheduler.stop()


def creating(url: str, count: int) -> Counter[Stack]:
    """Return the stacks of a process that creates runs."""
    stacks = Counter[Stack]()
    process = start(__file__, "--create", url, "--count", str(count))
    wait_until_ready(process)
    assert process.stdin is not None
    with recorded(process, stacks):
        process.stdin.write("\n")
        process.stdin.flush()
        wait_until_ready(process)
    process.communicate("\n")
    return stacks


def main() -> None:
    """Record and draw both."""
    parser = argparse.ArgumentParser(prog="tests/benchmarks/flame.py", description=__doc__)
    parser.add_argument("--create", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=5_000)
    options = parser.parse_args()
    if options.create:
        asyncio.run(create(options.create, options.count))
        return
    from workers import Bench  # configures the process

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server may run as another user
        server = PostgreSQL(folder)
        try:
            runs = Counter[Stack]()
            Bench(server, options.count, beside=lambda process: recorded(process, runs)).measure(1)
            url = server.url(server.create())
            migrate(url)
            graphs = {
                "flame-runs.svg": (runs, "A worker on PostgreSQL"),
                "flame-enqueue.svg": (creating(url, options.count), "enqueue on PostgreSQL"),
            }
        finally:
            server.stop()
    for file, (stacks, title) in graphs.items():
        (DOCS / file).write_text(
            drawn(stacks, f"{title}: {stacks.total():,} samples"), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
