"""Plan, start and end maintenance windows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ...core.actor import Actor
from ...core.errors import MaintenanceError
from ...kernel import maintenance_windows as model
from ...kernel.audit import audit
from ...kernel.maintenance_windows import Window
from ...operations import Call
from ...project import current

_LAST_YEAR = 9000
_WIDEST = 498
"""Maximum characters of all queue names together, including commas."""


async def plan(
    call: Call,
    by: Actor,
    *,
    starts_at: datetime | None,
    ends_at: datetime,
    reason: str,
    queues: Sequence[str] = (),
) -> Window:
    """Plan a maintenance window, in which no run starts.

    Runs that become due in the window wait, or are skipped if the job's misfire policy is ``skip``.

    Args:
        call: The transaction.
        by: Author of the plan, for the audit.
        starts_at: Start; ``None`` or a past time means now.
        ends_at: End.
        reason: Reason of the window; required.
        queues: Affected queues; empty for all queues.

    Raises:
        MaintenanceError: the reason is empty, the end is not after the start or is too far, or the queue names are too long.
    """
    starts_at = max(call.now, starts_at or call.now)
    reason = " ".join(reason.split())
    queues = tuple(dict.fromkeys(queues))
    if not reason:
        raise MaintenanceError(
            "a maintenance window has a reason: others will ask why nothing runs"
        )
    if ends_at <= starts_at:
        raise MaintenanceError(
            f"it would end {ends_at.isoformat(timespec='minutes')}, before it begins"
        )
    if ends_at.year > _LAST_YEAR:
        raise MaintenanceError(f"until {ends_at.year} is as good as for ever: pause the queues")
    if len(",".join(queues)) > _WIDEST:
        raise MaintenanceError("these are too many queues: leave them out, and it is for all")
    window = Window(0, starts_at, ends_at, tuple(queues), reason, str(by), call.now)
    number = await model.add(call.connection, window)
    await audit(call.connection, by, "plan maintenance", call.now, detail=_detail(window, number))
    return Window(number, starts_at, ends_at, window.queues, reason, window.by, call.now)


async def end(call: Call, window_id: int, by: Actor) -> Window:
    """End an active window, or take back a planned window, and release waiting runs.

    Returns:
        The window before the change.

    Raises:
        MaintenanceError: no window with this number is active or planned.
    """
    window = await model.end(call.connection, window_id, str(by), call.now)
    if window is None:
        raise MaintenanceError(f"there is no maintenance window {window_id} that is not over")
    for queue in window.queues or current().queues:
        await call.engine.release(call.connection, queue=queue)
    what = "end maintenance" if window.is_active(call.now) else "take back maintenance"
    await audit(call.connection, by, what, call.now, detail=_detail(window, window_id))
    return window


def _detail(window: Window, number: int) -> str:
    which = f"queues {', '.join(window.queues)}" if window.queues else "all queues"
    since, until = (at.isoformat(timespec="minutes") for at in (window.starts_at, window.ends_at))
    return f"window {number} of {which} from {since} to {until}: {window.reason}"
