"""``uv run python tests/benchmarks/ties.py [WHAT…] [--before REVISION]``: measure batches, bulk creation and limits.

Rounds alternate, and results are ratios. ``batch`` and ``many`` create runs; ``plain`` executes runs of a job without a limit. With
``--before`` these are compared with another revision. ``keyed`` executes runs with 1,000 keys, one run per key at a time, compared with
runs without a limit. ``crowded`` does the same with each key's runs in a row, so that most runs find their key in use. Each measurement
has its own process and database. Besides elapsed time, which a busy machine lengthens, the table shows processor time of the process and
of the server.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

# ruff: noqa: E402, T201 - found by the line above; a command prints
from postgresql import PostgreSQL

SCHEDULER = Path("templates") / "scheduler"
COUNTS = {"batch": 100_000, "many": 10_000, "plain": 5_000, "keyed": 5_000, "crowded": 5_000}
Found = dict[str, float]


@contextmanager
def tree_of(revision: str | None, folder: Path) -> Iterator[Path | None]:
    """Yield a temporary checkout of a revision; ``None`` for no revision."""
    if revision is None:
        yield None
        return
    tree, git = folder / "before", ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--detach", str(tree), revision], check=True, capture_output=True)
    try:
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)


class Bench:
    """Run measurements in separate processes.

    Args:
        folder: The folder for SQLite databases.
        server: The server for PostgreSQL databases.
        statistics: When PostgreSQL's tables are analysed.
    """

    def __init__(self, folder: Path, server: PostgreSQL, statistics: str) -> None:
        self._folder = folder
        self._statistics = statistics
        self._server = server
        self._number = 0

    def measure(self, tree: Path, database: str, what: str, count: int) -> Found:
        """Run a measurement with the scheduler of a tree."""
        self._number += 1
        if database == "sqlite":
            url = f"sqlite:///{self._folder / f'{self._number}.db'}"
            return _probed(tree, what, url, str(count), "0", self._statistics)
        name, postmaster = self._server.create(), self._server.postmaster
        try:
            words = str(count), str(postmaster), self._statistics
            return _probed(tree, what, self._server.url(name), *words)
        finally:
            self._server.drop(name)


def _probed(tree: Path, *probe: str) -> Found:
    path = os.pathsep.join([str(tree / SCHEDULER), str(HERE)])
    words = [sys.executable, str(HERE / "ties_probe.py"), *probe]
    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": path}, check=True, stdout=subprocess.PIPE, text=True
    )
    measures: Found = json.loads(done.stdout.splitlines()[-1])
    return measures


def compare(
    bench: Bench, database: str, sides: Sequence[tuple[str, Path, str]], count: int, rounds: int
) -> None:
    """Measure all sides in turn; print their medians and the ratio of the last side to each other side."""
    measures: dict[str, list[Found]] = {name: [] for name, _, _ in sides}
    for number in range(rounds):
        for name, tree, what in sides if number % 2 else sides[::-1]:
            measures[name].append(bench.measure(tree, database, what, count))
    for name, side_measures in measures.items():
        print(f"{database:<11}{name:<16}{_shown(side_measures)}", flush=True)
    *others, (last, _, _) = sides
    for name, _, _ in others:
        pairs = list(zip(measures[last], measures[name], strict=True))
        by_clock = median(
            other_round["seconds"] / last_round["seconds"] for last_round, other_round in pairs
        )
        by_cpu = median(_cpu(other_round) / _cpu(last_round) for last_round, other_round in pairs)
        print(
            f"{database:<11}{last} has {by_clock:.0%} of the speed of {name} by the clock,"
            f" {by_cpu:.0%} by the processor (medians of {rounds} rounds)",
            flush=True,
        )


def _cpu(found: Found) -> float:
    return found["own"] + found["server"]


def _shown(each: Sequence[Found]) -> str:
    names = ("seconds", "own", "server")
    seconds, own, server = (median(measure[name] for measure in each) for name in names)
    return f"{seconds:6.2f} s; processor {own:5.2f} s, of the server {server:5.2f} s"


def main(arguments: list[str] | None = None) -> None:
    """Run the requested measurements."""
    parser = argparse.ArgumentParser(prog="tests/benchmarks/ties.py", description=__doc__)
    parser.add_argument("what", nargs="*", choices=[*COUNTS, []], help="default: all")
    parser.add_argument("--before", metavar="REVISION", help="a revision to compare with")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--statistics", choices=["fresh", "analysed", "stale"], default="analysed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, help="runs, instead of " + str(COUNTS))
    options = parser.parse_args(arguments)
    databases = {"both": ["sqlite", "postgresql"]}.get(options.database, [options.database])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server may run as another user
        server = PostgreSQL(folder)
        try:
            with tree_of(options.before, folder) as before:
                bench = Bench(folder, server, options.statistics)
                for what in options.what or COUNTS:
                    sides = [("now", ROOT, what)]
                    if what in {"keyed", "crowded"}:
                        sides = [("without a limit", ROOT, "plain"), (what, ROOT, what)]
                    elif before is not None:
                        sides.insert(0, ("before", before, what))
                    count = options.count or COUNTS[what]
                    for database in databases:
                        print(f"{what}: {count:,} runs", flush=True)
                        compare(bench, database, sides, count, options.rounds)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
