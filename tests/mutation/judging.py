"""Run tests against mutants: killed, survived or timed out. No file is changed.

A fault in a function is put into a copy (``fork``) of a process that has imported and collected everything, which takes little more time
than the tests. Where the system cannot copy processes, and for faults in code that runs when modules are imported, a new process imports
the changed module from memory.
"""

import ast
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import multiprocessing
import os
import signal
import sys
import time
import types
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mutation.mutants import ROOT, Mutant, mutated

KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"
NOT_IN_A_FUNCTION = "not in a function"
_EXIT_STATUS = {0: SURVIVED, 42: NOT_IN_A_FUNCTION}

# The hook that rewrites assertions would import the modules itself.
_OPTIONS = ["-n", "0", "-s", "-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:cov"]
_OPTIONS += ["--hypothesis-seed=0", "--assert=plain"]
_LIBRARIES = ["pytest", "hypothesis.strategies", "sqlalchemy.ext.asyncio", "aiosqlite", "libcst"]
_LIBRARIES += ["alembic.command", "fastapi", "httpx", "pydantic_settings", "rich.console", "copier"]
"""Libraries that each new process has imported already, where the system can copy processes."""


@dataclass(frozen=True)
class Case:
    """A mutant, its tests, and the seconds that the tests take without a fault."""

    mutant: Mutant
    tests: Sequence[str]
    seconds: float

    @property
    def limit(self) -> float:
        """Seconds after which the mutant counts as timed out. The machine may be busy."""
        return 30 + 8 * self.seconds


def in_copies(
    cases: Sequence[Case], jobs: int, end: float, note: Callable[[Mutant, str], None]
) -> None:
    """Judge mutants in copies of this process, which imports and collects the tests. Does nothing where the system has no ``fork``.

    Args:
        cases: The mutants with their tests.
        jobs: Number of copies at a time.
        end: No copy begins after this time of the monotonic clock.
        note: Called with each verdict.
    """
    if not hasattr(os, "fork") or not cases:
        return
    files = sorted({test.partition("::")[0] for case in cases for test in case.tests})
    os.chdir(ROOT)
    pytest.main([*_OPTIONS, *files], plugins=[_Copies(cases, jobs, end, note)])


class _Copies:
    """Plugin of pytest: in place of the tests, run each mutant with its tests in a copy of this process."""

    def __init__(
        self, cases: Sequence[Case], jobs: int, end: float, note: Callable[[Mutant, str], None]
    ) -> None:
        self.cases, self.jobs, self.end, self.note = list(reversed(cases)), jobs, end, note
        self.is_copy = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.is_copy:
            os._exit(1)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        _make_database_templates(session.items)
        functions = _functions()
        running: dict[int, tuple[Mutant, float]] = {}
        while self.cases or running:
            if time.monotonic() > self.end:
                self.cases.clear()
            while self.cases and len(running) < self.jobs:
                case = self.cases.pop()
                process = os.fork()
                if process == 0:
                    tests = [items[test] for test in case.tests if test in items]
                    self._run(case.mutant, tests, functions)
                running[process] = case.mutant, time.monotonic() + case.limit
            process, status = os.waitpid(-1, os.WNOHANG)
            if process in running:
                exit_status = os.waitstatus_to_exitcode(status)
                self.note(running.pop(process)[0], _EXIT_STATUS.get(exit_status, KILLED))
            for late in [key for key, (_, end) in running.items() if time.monotonic() > end]:
                os.killpg(late, signal.SIGKILL)
                self.note(running.pop(late)[0], TIMED_OUT)
            time.sleep(0.02)
        return True

    def _run(
        self, mutant: Mutant, tests: Sequence[pytest.Item], functions: "_FunctionsByKey"
    ) -> None:
        self.is_copy = True
        try:
            os.setpgid(0, 0)
            _be_quiet()
            if not _put_into_functions(mutant, functions):
                os._exit(42)
            for test, following in zip(tests, [*tests[1:], None], strict=True):
                test.ihook.pytest_runtest_protocol(item=test, nextitem=following)
        except BaseException:  # noqa: BLE001 - the fault has reached pytest
            os._exit(1)
        os._exit(0)


def _make_database_templates(items: Sequence[pytest.Item]) -> None:
    """Run a test for each kind of database, so that the copies share the migrated SQLite file and the PostgreSQL server.

    A test of another folder keeps what lives as long as the session; of all folders, ``tests/generator`` has least in common with the rest.
    """
    for fixture in ("_sqlite_template", "_postgresql_template"):
        first = next((item for item in items if fixture in item.fixturenames), None)
        others = [item for item in items if first is None or item.path.parent != first.path.parent]
        others.sort(key=lambda item: "tests/generator" not in item.nodeid)
        if first is not None and others:
            first.ihook.pytest_runtest_protocol(item=first, nextitem=others[0])


_Key = tuple[str, str, int]
_FunctionsByKey = dict[_Key, list[types.FunctionType]]


def _key(code: types.CodeType) -> _Key:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _functions() -> _FunctionsByKey:
    """Return all functions of this process by file, qualified name and line."""
    gc.unfreeze()  # frozen objects are not listed
    functions = defaultdict(list)
    for thing in gc.get_objects():
        if type(thing) is types.FunctionType:
            functions[_key(thing.__code__)].append(thing)
    gc.freeze()
    return functions


def _put_into_functions(mutant: Mutant, functions: _FunctionsByKey) -> bool:
    """Replace the code of the functions that a mutant changes. Return whether any function is changed."""
    path = ROOT / mutant.file
    source = path.read_text(encoding="utf-8")
    old, new = (
        {_key(code): code for code in _codes(compile(tree, str(path), "exec", dont_inherit=True))}
        for tree in (ast.parse(source), mutated(source, mutant.index))
    )
    changed = [key for key, code in new.items() if old.get(key) != code and key in functions]
    for key in changed:
        for function in functions[key]:
            function.__code__ = new[key]
    return bool(changed)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def in_new_process(case: Case) -> str:
    """Judge a mutant in a process of its own."""
    words = (case.mutant.file, case.mutant.index, case.tests)
    process = _context().Process(target=_import_and_run, args=words, daemon=True)
    process.start()
    process.join(case.limit)
    if process.exitcode is None:
        process.kill()
        process.join()
        return TIMED_OUT
    return _EXIT_STATUS.get(process.exitcode, KILLED)


def _context() -> multiprocessing.context.SpawnContext | multiprocessing.context.ForkServerContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LIBRARIES)
    return context


def _import_and_run(file: str, index: int, tests: Sequence[str]) -> None:
    os.chdir(ROOT)
    _be_quiet()
    sys.meta_path.insert(0, _Finder(ROOT / file, index))
    os._exit(int(pytest.main([*_OPTIONS, "-x", *tests])))


def _be_quiet() -> None:
    output = os.open(os.devnull, os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)


class _Loader(importlib.machinery.SourceFileLoader):
    index: int

    def get_code(self, fullname: str) -> types.CodeType:
        del fullname
        source = Path(self.path).read_text(encoding="utf-8")
        return compile(mutated(source, self.index), self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    """Import one module with its fault."""

    def __init__(self, path: Path, index: int) -> None:
        self.path, self.index = path, index

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.rpartition(".")[2] != self.path.stem:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or Path(spec.origin) != self.path:
            return None
        loader = _Loader(fullname, spec.origin)
        loader.index = self.index
        return importlib.util.spec_from_file_location(fullname, spec.origin, loader=loader)
