"""The system, as the API shows it; nodes and the audit are shown as ``queries.models`` holds them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from ....core.version import MODE, __version__
from ....project import current
from ....queries.models import Pause, Queue
from ....queries.trail.verify import Fault
from .base import Schema


class VerdictOut(Schema):
    """What came out when the audit was verified."""

    rows: int
    head: str
    unchained: int
    fault: Fault | None


class SystemOut(Schema):
    """The project and the scheduler that serves it."""

    project: str
    version: str
    mode: Literal["vendored", "package"]
    timezone: str


class QueueOut(Schema):
    """A queue."""

    name: str
    waiting: int
    scheduled: int
    retrying: int
    running: int
    oldest_due: datetime | None
    paused: Pause | None
    maintenance_until: datetime | None
    """Until when none of its runs start, by a maintenance window."""
    limit: int | None
    """How many of its runs may go on at once on all nodes together; null: as many as there are workers."""


def system_out() -> SystemOut:
    """This process."""
    project = current()
    return SystemOut(
        project=project.name, version=__version__, mode=MODE, timezone=project.timezone
    )


def queue_out(queue: Queue) -> QueueOut:
    """A queue as the API shows it."""
    other = {"paused", "maintenance_until"}
    values = {name: getattr(queue, name) for name in QueueOut.model_fields if name not in other}
    window = queue.maintenance
    until = window.ends_at if window is not None else None
    return QueueOut.model_validate({**values, "paused": queue.pause, "maintenance_until": until})
