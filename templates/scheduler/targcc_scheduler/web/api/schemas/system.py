"""Nodes, queues and the audit, as the API shows them."""

from __future__ import annotations

from datetime import datetime

from ....queries.models import AuditEntry, Queue, Server
from .base import PauseOut, Schema, pause_out


class ServerOut(Schema):
    """A node."""

    id: str
    name: str
    process_id: int
    queues: list[str]
    workers: int
    running: int
    version: str
    started_at: datetime
    heartbeat_at: datetime
    stopping_at: datetime | None


class QueueOut(Schema):
    """A queue."""

    name: str
    waiting: int
    scheduled: int
    retrying: int
    running: int
    oldest_due: datetime | None
    paused: PauseOut | None


class AuditOut(Schema):
    """Who did what."""

    id: int
    at: datetime
    actor: str
    action: str
    job: str | None
    run_id: int | None
    detail: str | None
    remote: str | None


def queue_out(queue: Queue) -> QueueOut:
    """A queue as the API shows it."""
    names = [name for name in QueueOut.model_fields if name != "paused"]
    values = {name: getattr(queue, name) for name in names}
    return QueueOut.model_validate({**values, "paused": pause_out(queue.pause)})


def server_out(server: Server) -> ServerOut:
    """A node as the API shows it."""
    return ServerOut.model_validate(server)


def audit_out(entry: AuditEntry) -> AuditOut:
    """An audit entry as the API shows it."""
    return AuditOut.model_validate(entry)
