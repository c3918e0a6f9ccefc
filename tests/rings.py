"""Pytest plugin: three rings of tests. The fixtures and marks that a test asks for decide its ring.

* Ring 1: one process, SQLite or no database. `uv run pytest` runs ring 1.
* Ring 2: tests that start processes, PostgreSQL, the web application with its scheduler, a server of mail or webhooks, a double of SQL Server,
  a browser or an installation, and tests marked `slow`.
  `uv run pytest --ring 2`.
* Ring 3: tests marked `soak`. `uv run pytest --ring 3`, or a part of them with `--part 1/3`, or what `--minutes 10` allow.

Tests marked `benchmark` or `sqlserver` belong to no ring; `-m` runs them. Tests marked `always` belong to ring 1 in spite of their fixtures.
A test of ring 1 that starts a process fails with the name of the fixture to ask for.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import platform
import re
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from _pytest.unraisableexception import collect_unraisable

ALONE = ("benchmark", "sqlserver")
"""Marks of tests that only `-m` runs."""
OUTSIDE = frozenset(
    {
        "processes",
        "postgresql_server",
        "site",
        "busy_site",
        "mail_server",
        "slack",
        "teams",
        "sinks",
        "double",
    }
)
"""Fixtures that put a test into ring 2."""
STARTS = frozenset(
    {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system"}
)  # fmt: skip
"""Audit events of a process that starts another one."""
SLOW = 0.25
"""Seconds of processor time; the summary names tests of ring 1 that use more. Mark them `slow`, or make them cheaper."""

_WHOLE_FILE = re.compile(
    r"^pytestmark = (\[\s*)?pytest\.mark\.(benchmark|soak|sqlserver|slow|usefixtures\(\"(processes|postgresql_server)\"\))",
    re.MULTILINE,
)
"""A mark of ring 2 or 3, or of no ring, on all tests of a file."""

LEFT_TO_SOAK = Path(__file__).parent / "data/left_to_soak.txt"
"""Variants of tests that conftest.py marks as `soak`."""

_ring = pytest.StashKey[int]()
_chosen = pytest.StashKey["Sequence[int] | None"]()
_guarded: list[list[str]] = []
"""Programs that the current test of ring 1 has started; empty outside ring 1."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose tests."""
    group = parser.getgroup("rings")
    group.addoption(
        "--ring",
        metavar="N",
        help="rings to run: 1, 2, 3, or several as in 1,2. Default: 1; with a path of a test file or folder: 1,2; with -m soak, benchmark or sqlserver: the marks alone choose",
    )
    group.addoption(
        "--part",
        metavar="K/N",
        help="run the K-th of N parts of ring 3, as in 1/3; all parts together are the whole ring",
    )
    group.addoption(
        "--minutes",
        type=float,
        metavar="M",
        help="begin no test after M minutes; the summary says how many were left",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read the options before the tests are collected."""
    worker = getattr(config, "workerinput", None)
    config.stash[_chosen] = worker["rings"] if worker else _chosen_rings(config)
    chosen_part(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return one worker more than cores for ring 1. Return twice the cores for other tests, which wait for processes and servers half their time."""
    cores = os.cpu_count() or 1
    return cores + 1 if _chosen_rings(config) == (1,) else 2 * cores


def are_compiled(folder: Path) -> bool:
    """Return whether an earlier run, of this Python and this pytest, has left a compiled file of each test file in a folder."""
    end = f".{sys.implementation.cache_tag}-pytest-{pytest.__version__}.pyc"
    return all(
        (folder / "__pycache__" / f"{file.stem}{end}").exists() for file in folder.glob("test_*.py")
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand the chosen rings to a worker, which gets every path as an argument."""
    node.workerinput["rings"] = node.config.stash[_chosen]


def pytest_report_header(config: pytest.Config) -> str:
    """Name the chosen rings."""
    rings, part = config.stash[_chosen], chosen_part(config)
    text = "tests with the marks of -m" if rings is None else f"ring {', '.join(map(str, rings))}"
    return text + (f", part {part[0]} of {part[1]} of ring 3" if part else "")


def _chosen_rings(config: pytest.Config) -> Sequence[int] | None:
    """Return the rings to run; None if only the marks choose."""
    text = config.getoption("--ring")
    if text is None:
        if any(mark in config.getoption("markexpr") for mark in ("soak", *ALONE)):
            return None
        by_path = config.args_source == pytest.Config.ArgsSource.ARGS
        return (1, 2) if by_path else (1,)
    rings = sorted(set(text.split(",")))
    if not set(rings) <= {"1", "2", "3"}:
        raise pytest.UsageError(f"--ring {text}: use 1, 2 or 3, or several as in 1,2")
    return tuple(int(ring) for ring in rings)


def chosen_part(config: pytest.Config) -> tuple[int, int] | None:
    """Return the number of the part and the number of parts."""
    text = config.getoption("--part")
    if text is None:
        return None
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise pytest.UsageError(f"--part {text}: use a number and a count, as in 1/3")
    return int(part), int(parts)


def part_of(nodeid: str, parts: int) -> int:
    """Return the part of a test, from 1: by its id alone, so that a new test moves no other test."""
    return zlib.crc32(nodeid.encode()) % parts + 1


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files without a test of the chosen ring or mark, as far as their text shows it: a process takes ten seconds to import all files."""
    rings = config.stash[_chosen]
    if collection_path.suffix != ".py" or rings not in {(1,), (3,), None}:
        return None
    text = collection_path.read_text(encoding="utf-8")
    if rings == (1,):
        return True if _WHOLE_FILE.search(text) and "mark.always" not in text else None
    mark = "soak" if rings else config.getoption("markexpr")
    if mark not in {"soak", *ALONE} or f"mark.{mark}" in text:
        return None
    return None if mark == "soak" and collection_path in _with_variants_of_soak() else True


@cache
def _with_variants_of_soak() -> frozenset[Path]:
    """Return the test files of which conftest.py marks variants of tests as `soak`."""
    root, lines = Path(__file__).parents[1], LEFT_TO_SOAK.read_text(encoding="utf-8").splitlines()
    return frozenset(root / line.partition("::")[0] for line in lines if not line.startswith("#"))


def ring_of(item: pytest.Item) -> int:
    """Return the ring of a test."""
    if any(item.get_closest_marker(mark) for mark in ("soak", *ALONE)):
        return 3
    if item.get_closest_marker("always"):
        return 1
    is_outside = item.get_closest_marker("slow") or needs_more_than_a_process(item)
    return 2 if is_outside else 1


def needs_more_than_a_process(item: pytest.Item) -> bool:
    """Return whether the test asks for a fixture of ring 2, itself or through its other fixtures.

    A test with the parameter `postgresql` may choose the database by `request.getfixturevalue`, which the closure of fixtures does not show.
    """
    if OUTSIDE.intersection(getattr(item, "fixturenames", ())):
        return True
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    by_name = any(isinstance(value, str) and value == "postgresql" for value in parameters)
    return by_name and any(map(_asks_by_name, _functions_of(item)))


def _functions_of(item: Any) -> Iterator[Any]:
    """Yield the test function and the functions of its fixtures."""
    yield item.function
    for fixtures in item._fixtureinfo.name2fixturedefs.values():
        yield from (fixture.func for fixture in fixtures)


def _asks_by_name(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and "site-packages" not in code.co_filename and _names_a_fixture(code)


def _names_a_fixture(code: CodeType) -> bool:
    """Return whether the code, or a function inside it, calls `getfixturevalue`."""
    inner = (value for value in code.co_consts if isinstance(value, CodeType))
    return "getfixturevalue" in code.co_names or any(map(_names_a_fixture, inner))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of the chosen rings."""
    rings, part = config.stash[_chosen], chosen_part(config)
    kept, left = [], []
    for item in items:
        item.stash[_ring] = ring = ring_of(item)
        fits = rings is None or (
            ring in rings and not any(item.get_closest_marker(mark) for mark in ALONE)
        )
        if part and ring == 3:
            fits = fits and part_of(item.nodeid, part[1]) == part[0]
        (kept if fits else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


# Tests of ring 1 start no process.


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _guarded and STARTS and event in STARTS:
        program = arguments[1] if event == "subprocess.Popen" else arguments[:1]
        if (
            "/sbin/ldconfig" in program
        ):  # `ctypes.util.find_library`, which trio calls at its import
            return
        _guarded[-1].append(str(program)[:200])
        raise RuntimeError(_advice(_guarded[-1]))


# A library of the generator reads this at its import. Python caches the answer of `uname`; without, the first test of ring 1 that renders would start it.
platform.processor()
sys.addaudithook(_watch)


def _advice(programs: Iterable[str]) -> str:
    return (
        f"a test of ring 1 starts a process: {', '.join(programs)}\n"
        "Ask for the fixture `processes`, which puts the test into ring 2: @pytest.mark.usefixtures('processes')."
    )


@contextlib.contextmanager
def _guard(item: pytest.Item) -> Iterator[None]:
    """Fail a test of ring 1 that starts a process, also where the tested code handles the error."""
    if item.stash.get(_ring, 2) != 1 or item.get_closest_marker("always"):
        yield
        return
    programs: list[str] = []
    _guarded.append(programs)
    try:
        yield
    finally:
        _guarded.pop()
    if programs:
        pytest.fail(_advice(programs), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Watch the setup. Teardowns are not watched: the last test of a session ends the fixtures of all."""
    with _guard(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Watch the test."""
    with _guard(item):
        return (yield)


def forbid_postgresql(request: pytest.FixtureRequest) -> None:
    """Fail a test of ring 1 that gets a PostgreSQL database by a name that is chosen at run time."""
    if request.node.stash.get(_ring, 2) == 1 and not request.node.get_closest_marker("always"):
        pytest.fail("a test of ring 1 uses PostgreSQL: ask for `postgresql_server`", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Collect garbage after the last test of a file, so that what a test left open fails a test of its own file, not a later one that allocates much.

    The objects that stay, such as imported modules and caches, are then left out of all further collections, which would take a third of the ring.
    """
    result = yield
    if nextitem is None or nextitem.path != item.path:
        getattr(item, "funcargs", {}).clear()  # pytest drops the values of the fixtures too late
        gc.collect()
        collect_unraisable(item.config)  # pytest's own hook has run before
        gc.freeze()
    return result


# Tests for which --minutes leave no time.

_ends_at = pytest.StashKey[float]()
_left = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Begin to count the minutes after the collection."""
    minutes = session.config.getoption("--minutes")
    session.config.stash[_ends_at] = (
        math.inf if minutes is None else time.monotonic() + minutes * 60
    )
    session.config.stash[_left] = 0


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a worker say how many tests it left."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left"] = session.config.stash.get(_left, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add up what the workers have left."""
    left = getattr(node, "workeroutput", {}).get("left", 0)
    node.config.stash[_left] = node.config.stash.get(_left, 0) + left


# Messages of a worker of pytest-xdist.


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Leave a test for which there is no time. Let a worker send one report for a test that passes instead of five messages: 4,000 messages of each kind cost 1.5 s of processor time.

    Options that print each step of a test, as `--durations` and `--junit-xml`, get all messages.
    """
    if time.monotonic() > item.config.stash[_ends_at]:
        item.config.stash[_left] += 1
        return True
    options = item.config.option
    if not hasattr(item.config, "workerinput") or options.durations or options.xmlpath:
        return None
    for report in shortened(runtestprotocol(item, log=False, nextitem=nextitem)):
        item.ihook.pytest_runtest_logreport(report=report)
    return True


def shortened(reports: Sequence[pytest.TestReport]) -> list[pytest.TestReport]:
    """Leave out passed setups and teardowns; their processor time counts in the last report that is left."""
    kept = [report for report in reports if report.when == "call" or not report.passed]
    for report in reports:
        if report not in kept:
            kept[-1].processor += report.processor
    return kept


# Processor time of the tests of ring 1.


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the ring and the processor time since the last report to the report; on Linux a skipped test fails."""
    report = yield
    if report.skipped and sys.platform == "linux" and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"skipped on Linux: {report.longrepr}"
    now = sum(os.times()[:4])
    report.ring = item.stash.get(_ring, 2)
    report.processor = now - _used[0]
    _used[0] = now
    return report


_used = [0.0]
_by_test: dict[str, float] = defaultdict(float)


def pytest_collection_finish() -> None:
    """Begin to measure after the collection."""
    _used[0] = sum(os.times()[:4])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up the processor time of the tests of ring 1."""
    if getattr(report, "ring", 2) == 1:
        _by_test[report.nodeid] += report.processor


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were left, and name the tests of ring 1 that use most processor time."""
    if left := terminalreporter.config.stash.get(_left, 0):
        minutes = terminalreporter.config.getoption("--minutes")
        terminalreporter.section(f"{left:,} tests were not begun within {minutes:g} minutes")
    if not _by_test:
        return
    slowest = sorted(_by_test.items(), key=lambda item: -item[1])
    slow = [(test, used) for test, used in slowest if used > SLOW]
    total = sum(_by_test.values())
    terminalreporter.section("ring 1")
    terminalreporter.line(
        f"{len(_by_test):,} tests used {total:.0f} s of processor time; {len(slow)} used more than {SLOW:g} s"
    )
    for test, used in slow[:10]:
        terminalreporter.line(f"{used:5.1f} s  {test}")
