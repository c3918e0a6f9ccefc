"""Take back a plan that was applied a moment ago."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from targcc_gen.render.tree import LOCK_PATH
from targcc_gen.sync import Action, Change, Lock, Plan, apply


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
