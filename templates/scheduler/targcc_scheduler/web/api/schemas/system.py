"""The system, as the API shows it; nodes and the audit are shown as ``queries.models`` holds them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from pydantic import Field

from ....core.version import MODE, __version__
from ....jobs.discovery import BrokenModule
from ....project import current
from ....queries.models import Pause, PoolUse, Queue
from ....queries.trail.verify import Fault
from .base import DoneOut, Schema


class VerdictOut(Schema):
    """What came out when the audit was verified."""

    rows: int
    head: str
    unchained: int
    fault: Fault | None
    too_old: bool
    """The head is of a row that was removed for its age, so that it says nothing."""


class BrokenOut(Schema):
    """A job file that cannot be used; the others run."""

    module: str
    path: str | None
    error: str


class SystemOut(Schema):
    """The project and the scheduler that serves it."""

    project: str
    package: str
    version: str
    mode: Literal["vendored", "package"]
    timezone: str
    lost_after_seconds: float = Field(
        description="A node whose last heartbeat is older counts as lost."
    )
    broken: list[BrokenOut] = Field(description="Job files that cannot be used.")


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
    aging_seconds: int | None
    """The seconds of waiting that count as one point of priority; null: waiting counts for nothing."""
    pool: PoolUse | None
    """The pool whose workers it shares; null: it has workers of its own."""


def system_out(broken: Iterable[BrokenModule], lost_after_seconds: float) -> SystemOut:
    """This process."""
    project = current()
    return SystemOut(
        project=project.name,
        package=project.package,
        version=__version__,
        mode=MODE,
        timezone=project.timezone,
        lost_after_seconds=lost_after_seconds,
        broken=[BrokenOut.model_validate(one) for one in broken],
    )


class NodeOut(Schema):
    """A node that was named."""

    id: str
    name: str
    process_id: int


class DrainOut(DoneOut):
    """The nodes that were told."""

    servers: list[NodeOut]


class BusyOut(Schema):
    """How many runs nodes have."""

    runs: int


def queue_out(queue: Queue) -> QueueOut:
    """A queue as the API shows it."""
    other = {"paused", "maintenance_until"}
    values = {name: getattr(queue, name) for name in QueueOut.model_fields if name not in other}
    window = queue.maintenance
    until = window.ends_at if window is not None else None
    return QueueOut.model_validate({**values, "paused": queue.pause, "maintenance_until": until})
