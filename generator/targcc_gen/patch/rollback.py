"""Roll a patch back after a failed trial or a signal; mark patches without a finished trial."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from targcc_gen.render.tree import LOCK_PATH
from targcc_gen.sync import Action, Change, Lock, Plan, apply

# Revert an applied plan.


def roll_back(plan: Plan) -> None:
    """Revert `plan`: restore every file and the lock, or change nothing.

    Raises:
        ConflictError: A file has changed since the plan was applied.
        TargccError: The disk refused a write.
    """
    lock = Lock.parse(plan.lock_before) if plan.lock_before else Lock()
    changes = tuple(_inverse(change) for change in plan.changes if change.writes)
    apply(Plan(plan.root, changes, lock, plan.lock.dump(), plan.lock))
    if plan.lock_before is None:
        remove_lock(plan)
    else:
        (plan.root / LOCK_PATH).write_text(plan.lock_before, encoding="utf-8", newline="")


def remove_lock(plan: Plan) -> None:
    """Remove the lock of a project without generated files, and the lock's folder if empty."""
    path = plan.root / LOCK_PATH
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the folder is not empty
        path.parent.rmdir()


def _inverse(change: Change) -> Change:
    if change.before is None:
        action = Action.DELETE
    else:
        action = Action.CREATE if change.after is None else Action.UPDATE
    return replace(change, action=action, before=change.after, after=change.before)


# Raise on SIGTERM and SIGHUP, so that unfinished work is undone before the process ends.

_NAMES = ("SIGTERM", "SIGHUP", "SIGBREAK")
_BY_SIGNAL = 128


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `SystemExit` at the first of `_NAMES` and ignore later signals; do nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    numbers = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]

    def stop(number: int, _frame: FrameType | None) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(_BY_SIGNAL + number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# The mark of a patch without a finished trial: a file, so that a killed process leaves the mark behind.

MARK = ".targcc/untried"
_TEXT = """This project was patched, and the patched app was not tried to the end. Run: targcc-gen patch
"""


def mark(root: Path) -> None:
    """Mark the project's patch as untried."""
    path = root / MARK
    path.parent.mkdir(exist_ok=True)
    path.write_text(_TEXT, encoding="utf-8", newline="")


def unmark(root: Path) -> None:
    """Remove the mark, after a trial or a rollback."""
    path = root / MARK
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the folder is not empty
        path.parent.rmdir()


def is_marked(root: Path) -> bool:
    """Whether the project has an untried patch."""
    return (root / MARK).is_file()
