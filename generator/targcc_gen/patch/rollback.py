"""Roll a patch back: after a failed trial, a signal, or a run that was killed."""

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

# Undo a plan that was just applied.


def roll_back(plan: Plan) -> None:
    """Bring the project back to what it was before `plan`, the lock too, all of it or nothing.

    Raises:
        ConflictError: Somebody has written to one of the files since.
        TargccError: The disk refused.
    """
    lock = Lock.parse(plan.lock_before) if plan.lock_before else Lock()
    changes = tuple(_inverse(change) for change in plan.changes if change.writes)
    apply(Plan(plan.root, changes, lock, plan.lock.dump(), plan.lock))
    if plan.lock_before is None:
        remove_lock(plan)
    else:
        (plan.root / LOCK_PATH).write_text(plan.lock_before, encoding="utf-8", newline="")


def remove_lock(plan: Plan) -> None:
    """Remove the lock of a project that is none any more, and its folder when that leaves it empty."""
    path = plan.root / LOCK_PATH
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty
        path.parent.rmdir()


def _inverse(change: Change) -> Change:
    if change.before is None:
        action = Action.DELETE
    else:
        action = Action.CREATE if change.after is None else Action.UPDATE
    return replace(change, action=action, before=change.after, after=change.before)


# SIGTERM and SIGHUP as exceptions, so that unfinished work is undone before the process ends.

_NAMES = ("SIGTERM", "SIGHUP", "SIGBREAK")
_BY_SIGNAL = 128


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `SystemExit` at the first such signal and ignore those after it; in the main thread only."""
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


# The mark of a patch without a finished trial; it outlives a run that is killed.

MARK = ".targcc/untried"
_TEXT = """This project was patched, and the patched app was not tried to the end. Run: targcc-gen patch
"""


def mark(root: Path) -> None:
    """Say that the patch which follows is not tried."""
    path = root / MARK
    path.parent.mkdir(exist_ok=True)
    path.write_text(_TEXT, encoding="utf-8", newline="")


def unmark(root: Path) -> None:
    """The patch was tried, or is taken back."""
    path = root / MARK
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty
        path.parent.rmdir()


def is_marked(root: Path) -> bool:
    """Whether the project has a patch that was not tried."""
    return (root / MARK).is_file()
