"""Record once which test runs which lines of the rooms, and choose the tests of a mutant by that.

This module is also the plugin of pytest that records. ``.mutants/map.json`` keeps the lines of each test, its seconds, and the state of
each module.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import pytest

from mutation.mutants import ROOT, Mutant
from mutation.rooms import all_modules, paths_of

CACHE = ROOT / ".mutants"
MAP = CACHE / "map.json"

SLOWEST_TEST = 4.0
"""Seconds of the processor, which other processes change little. Slower tests are left out, and tests that fail."""
MOST_SECONDS, MOST_TESTS = 6.0, 150
_SPECIFIC = 3
"""Limits of the tests of a mutant: their recorded seconds together, and their number."""
AT_IMPORT = ""
"""Stands in the map for a test: the lines that run when modules are imported."""


def record(paths: Sequence[str], group: str | None = None, rings: str = "1") -> None:
    """Run tests and keep their lines.

    Args:
        paths: Paths of tests; the records of all other tests stay as they are. Empty for all tests.
        group: Record the tests of these rooms only.
        rings: The rings of the tests, as in ``1,2``.
    """
    CACHE.mkdir(exist_ok=True)
    for part in CACHE.glob("part-*.json"):
        part.unlink()
    words = ["-p", "mutation.recording", "-n", "2", "-q", "--tb=short", "--ring", rings]
    subprocess.run(
        [sys.executable, "-m", "pytest", *words, *(paths or paths_of(group))],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        check=False,  # a test that fails is left out
    )
    old = json.loads(MAP.read_text(encoding="utf-8"))["tests"] if paths and MAP.exists() else {}
    tests = {test: noted for test, noted in old.items() if not test.startswith(tuple(paths))}
    for part in CACHE.glob("part-*.json"):
        recorded = json.loads(part.read_text(encoding="utf-8"))
        at_import = recorded[AT_IMPORT]["lines"]
        for file, lines in tests.get(AT_IMPORT, {"lines": {}})["lines"].items():
            at_import[file] = sorted({*lines, *at_import.get(file, ())})
        tests |= recorded
    states = {file: _state(file) for file in all_modules()}
    MAP.write_text(json.dumps({"states": states, "tests": tests}), encoding="utf-8")
    print(f"{len(tests) - 1} tests in {MAP.relative_to(ROOT)}")


def _state(file: str) -> str:
    return hashlib.sha256((ROOT / file).read_bytes()).hexdigest()


_recorders: list[_Recorder] = []


def pytest_load_initial_conftests() -> None:
    """Begin to record before any ``conftest.py`` imports modules."""
    _recorders.append(_Recorder())


def pytest_configure(config: pytest.Config) -> None:
    """Record in the processes that run tests."""
    if os.environ.get("PYTEST_XDIST_WORKER") or not config.getoption("numprocesses", 0):
        config.pluginmanager.register(_recorders[0])


class _Recorder:
    """Plugin of pytest: note for each test that passes its seconds and its lines."""

    def __init__(self) -> None:
        import coverage

        include = [str(ROOT / file) for file in all_modules()]
        self.coverage = coverage.Coverage(data_file=None, include=include, config_file=False)
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.coverage.start()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not item.get_closest_marker("always")]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.coverage.switch_context(item.nodeid)
        began = time.process_time()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.process_time() - began

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)

    def pytest_unconfigure(self) -> None:
        self.coverage.stop()
        data = self.coverage.get_data()
        lines: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for path in data.measured_files():
            file = Path(path).relative_to(ROOT).as_posix()
            for line, tests in data.contexts_by_lineno(path).items():
                for test in tests:
                    lines[test][file].append(line)
        tests = {
            test: {"seconds": round(seconds, 3), "lines": lines[test]}
            for test, seconds in self.seconds.items()
            if test not in self.failed and seconds < SLOWEST_TEST and test in lines
        }
        tests[AT_IMPORT] = {"seconds": 0, "lines": lines[AT_IMPORT]}
        part = CACHE / f"part-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}.json"
        part.write_text(json.dumps(tests), encoding="utf-8")


def _in_turns(files: Mapping[str, Sequence[str]], order: Sequence[str]) -> Iterator[str]:
    """Yield the first test of each file, the second test of each file, and so on."""
    for turn in zip_longest(*(files[file] for file in order)):
        yield from (test for test in turn if test is not None)


class Map:
    """The recorded tests, by file and line."""

    def __init__(self) -> None:
        if not MAP.exists():
            raise SystemExit("no tests are recorded: uv run python tests/mutation record")
        written = json.loads(MAP.read_text(encoding="utf-8"))
        changed = [file for file in all_modules() if written["states"].get(file) != _state(file)]
        if changed:
            names = ", ".join(changed)
            raise SystemExit(f"changed since the tests were recorded: {names}\nrecord them again")
        self._tests = written["tests"]
        self._at_import = self._tests.pop(AT_IMPORT)["lines"]
        self._by_line: dict[tuple[str, int], list[str]] = defaultdict(list)
        for test, noted in self._tests.items():
            for file, lines in noted["lines"].items():
                for line in lines:
                    self._by_line[file, line].append(test)

    def seconds(self, tests: Sequence[str]) -> float:
        """Return the seconds that tests took when they were recorded."""
        return sum(float(self._tests[test]["seconds"]) for test in tests)

    def runs_at_import(self, mutant: Mutant) -> bool:
        """Return whether a line of a mutant runs when modules are imported."""
        return not set(mutant.lines_of_code).isdisjoint(self._at_import.get(mutant.file, ()))

    def tests_of(self, mutant: Mutant, *, more: bool = False) -> list[str]:
        """Return the tests of a mutant's lines: first from the files that run little else, then from as many files as possible.

        A fault in code that runs at import may be noticed by any test of its module.

        Args:
            mutant: The mutant.
            more: Raise the limits of time and number, ten times.
        """
        most_tests, most_seconds = (
            limit * (10 if more else 1) for limit in (MOST_TESTS, MOST_SECONDS)
        )
        lines = mutant.lines_of_code
        tests = {test for line in lines for test in self._by_line.get((mutant.file, line), ())}
        if not mutant.is_in_function or (not tests and self.runs_at_import(mutant)):
            tests = {test for test, noted in self._tests.items() if mutant.file in noted["lines"]}
        files: dict[str, list[str]] = defaultdict(list)
        for test in sorted(tests, key=lambda test: (self._tests[test]["seconds"], test)):
            files[test.partition("::")[0]].append(test)
        by_share = sorted(
            files,
            key=lambda file: (-max(self._share(mutant.file, test) for test in files[file]), file),
        )
        turns = [*_in_turns(files, by_share[:_SPECIFIC])][: int(most_tests) // 2]
        turns += _in_turns(files, by_share)
        chosen: dict[str, float] = {}
        for test in turns:
            seconds = self._tests[test]["seconds"]
            if len(chosen) < most_tests and sum(chosen.values()) + seconds <= most_seconds:
                chosen[test] = seconds
        return list(chosen)

    def _share(self, file: str, test: str) -> float:
        """Return the part of a test's lines that is in a file."""
        lines = self._tests[test]["lines"]
        return len(lines[file]) / sum(map(len, lines.values()))
