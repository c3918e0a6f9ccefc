"""Detect whether a test runner runs this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import FrameType

_VARIABLES = ("PYTEST_VERSION", "PYTEST_CURRENT_TEST")
"""Variables that pytest sets for its own process and for processes that tests start."""
_UNITTEST = {f"unittest.{name}" for name in ("main", "loader", "runner", "suite", "case")}
_DJANGO = {"django.test.runner", "django.test.testcases", "django.core.management.commands.test"}
"""Modules of Django's test runner. ``django.test.client`` and ``unittest.mock`` are missing, because programs use both, too."""
_MANAGEMENT = "django.core.management"


def runner_of_tests() -> str:
    """Return the name of the test runner of this process, such as ``unittest``; empty without a runner.

    A runner is detected by the modules whose functions are being executed, in any thread, because the runner calls the tests and their
    imports.
    """
    if any(name in os.environ for name in _VARIABLES):
        return "pytest"
    modules = {str(frame.f_globals.get("__name__")) for frame in _frames()}
    # manage.py imports the application before it looks up the command.
    is_command = _MANAGEMENT in modules and sys.argv[1:2] == ["test"]
    if is_command or modules & _DJANGO:
        return "manage.py test"
    if any(name.startswith("_pytest.") for name in modules):
        return "pytest"
    return "unittest" if modules & _UNITTEST else ""


def _frames() -> Iterator[FrameType]:
    for (
        innermost
    ) in sys._current_frames().values():  # noqa: SLF001 - documented, in spite of its name
        frame: FrameType | None = innermost
        while frame is not None:
            yield frame
            frame = frame.f_back
