"""Coverage-guided fuzzer of one reader: an input that reaches new lines of the readers is kept and mutated further.

python tests/generator/readers/reader_fuzzer.py KIND SECONDS SEED FOLDER

Run for SECONDS of processor time and print the results as JSON. An input of at most 1 MB may take 2 s of processor time and 200 MB. An
input that exceeds this, or raises another error than a worded refusal, stays in FOLDER and is named.
"""

import io
import json
import random
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import targcc_gen
from targcc_gen.errors import TargccError
from targcc_gen.readers.exports import read_exports
from targcc_gen.sources.c_job.source import CJobSource

MOST_BYTES = 1_000_000
MOST_SECONDS = 2.0
MOST_MIB = 200
READERS = str(Path(targcc_gen.__file__).parent / "readers")
PIECES = [b"'", b'"', b"(", b"[", b"{", b"<", b"/*", b",,,,", b"\0", b"&#", b"\n", b"GO\n", b"--", b"<!--", b"N'", b"\\", b"9" * 50, b"]]", b"\xff\xfe", b"\r", b"]]>"]  # fmt: skip
Lines = set[tuple[str, int]]


def read(path: Path) -> None:
    source = CJobSource()
    read_exports([path], source.tables, source.take)


def changed(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Return the input with a few changes; occasionally the input becomes long."""
    for _ in range(rng.randrange(1, 5)):
        content = changed_once(rng, content, other)[:MOST_BYTES]
    return content


def changed_once(rng: random.Random, content: bytes, other: bytes) -> bytes:
    at, to = sorted(rng.choices(range(len(content) + 1), k=2))
    times = rng.choice([1, 1, 2, 3, 20])
    match rng.randrange(6):
        case 0:
            return content[:at] + content[to:]
        case 1:
            if rng.random() < 0.05:
                times = MOST_BYTES // max(1, to - at)
            return content[:at] + content[at:to] * times + content[to:]
        case 2:
            return content[:at] + rng.randbytes(rng.randrange(1, 4)) + content[at + 1 :]
        case 3:
            return content[:at] + other[: rng.randrange(len(other) + 1)] + content[at:]
        case _:
            return content[:at] + rng.choice(PIECES) * times + content[at:]


def changed_book(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Return a workbook with one changed part, or a changed file."""
    if rng.random() < 0.3:
        return changed(rng, content, other)
    made = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as book:
            parts = {member.filename: book.read(member) for member in book.infolist()}
        chosen = rng.choice(sorted(parts))
        parts[chosen] = changed(rng, parts[chosen], rng.choice(list(parts.values())))
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as book:
            for name, part in parts.items():
                book.writestr(name, part)
    except (zipfile.BadZipFile, NotImplementedError, zlib.error, OSError, ValueError, IndexError):
        return changed(rng, content, other)
    return made.getvalue()[:MOST_BYTES]


def seconds_of(path: Path) -> float:
    started = time.process_time()
    outcome(path)
    return time.process_time() - started


def takes_long(path: Path, content: bytes) -> str | None:
    """Measure a slow input again; return the time if it exceeds the limit and grows faster than the length.

    A busy machine is slower by a factor, so growth alone proves a slow reader.
    """
    took = seconds_of(path)
    path.write_bytes(content[: len(content) // 2])
    half = seconds_of(path)
    path.write_bytes(content)
    grows = took > 3 * half
    return f"{took:.1f} s" if took > 3 * MOST_SECONDS or (took > MOST_SECONDS and grows) else None


def lines_of(work: Callable[[], None]) -> Lines:
    """Return the lines of the readers that ``work`` executes."""
    lines: Lines = set()

    def in_reader(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return in_reader

    def called(frame: FrameType, _: str, __: Any) -> Any:
        return in_reader if frame.f_code.co_filename.startswith(READERS) else None

    sys.settrace(called)
    try:
        work()
    finally:
        sys.settrace(None)
    return lines


def outcome(path: Path) -> str | None:
    """Return the error of reading a file; ``None`` when the file is read or refused in words."""
    try:
        read(path)
    except TargccError:
        return None
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return f"{type(error).__name__}: {error}"[:200]
    return None


def peak_mib() -> float:
    """Return the peak memory of this process."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 2**20
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def limit_memory(size: int) -> None:
    """Limit the memory of this process where the system supports this."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


def fuzz(kind: str, seconds: float, seed: int, folder: Path) -> dict[str, Any]:
    """Read mutated files for the given time; return the results."""
    rng, path = random.Random(seed), folder / f"input.{kind}"
    corpus = [seed_file.read_bytes() for seed_file in sorted((folder / "seeds").iterdir())]
    seen: Lines = set()
    results: dict[str, Any] = {
        "kind": kind,
        "seed": seed,
        "inputs": 0,
        "worst_seconds": 0.0,
        "found": [],
    }
    for content in corpus:
        path.write_bytes(content)
        seen |= lines_of(lambda: outcome(path) and None)
    began, base = time.process_time(), peak_mib()
    while time.process_time() - began < seconds and len(results["found"]) < 5:
        change = changed_book if kind == "xlsx" else changed
        content = change(rng, rng.choice(corpus), rng.choice(corpus))
        path.write_bytes(content)
        started = time.process_time()
        wrong = outcome(path)  # untraced, because tracing costs several times as much
        took, more = time.process_time() - started, peak_mib() - base
        results["inputs"] += 1
        results["worst_seconds"] = max(results["worst_seconds"], round(took, 3))
        if took > MOST_SECONDS:
            wrong = takes_long(path, content)
        elif more > MOST_MIB:
            wrong, base = f"{more:.0f} MiB", peak_mib()
        if wrong is not None:
            kept = folder / f"{len(results['found'])}.{kind}"
            kept.write_bytes(content)
            results["found"].append(f"{kept}: {wrong}")
        elif len(content) < MOST_BYTES // 20:
            new = lines_of(lambda: outcome(path) and None) - seen
            if new:
                seen |= new
                corpus.append(content)
    return {
        **results,
        "corpus": len(corpus),
        "lines": len(seen),
        "more_mib": round(peak_mib() - base, 1),
    }


if __name__ == "__main__":
    _, chosen, length, number, where = sys.argv
    limit_memory(2 * 2**30)
    answer = fuzz(chosen, float(length), int(number), Path(where))
    print(json.dumps(answer))  # noqa: T201 - the parent reads it
