"""The events that alerts are about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b

from ..jobs.definition import AlertKind, JobDefinition, stand_in
from ..storage.failures.cause import cause_of, missed


@dataclass(frozen=True)
class AlertEvent:
    """Something happened to a job that somebody may want to know.

    Args:
        kind: What happened.
        definition: The job.
        run_id: The run; ``None`` when there is none.
        message: One line: the result, or the last line of the error.
        details: The traceback, if there is one.
        attempt: The attempt that ended the run.
        scheduled_for: The slot.
        duration_ms: How long the last attempt took.
        server: The node it ran on.
        about: The expectation that is broken, or the node that was lost: what is well again one day.
    """

    kind: AlertKind
    definition: JobDefinition
    run_id: int | None
    message: str
    details: str = ""
    attempt: int = 1
    scheduled_for: datetime | None = None
    duration_ms: int | None = None
    server: str = ""
    about: str = ""


def node_event(message: str, *, server: str, details: str = "", about: str = "") -> AlertEvent:
    """Something is wrong with a node, not with a job: whoever hears of jobs that name nobody, or a row for ``Scheduler`` in ``c_JobAlert``.

    Args:
        message: One line.
        server: The node's machine.
        details: A stack, if there is one.
        about: The node that was lost, if it is about that.
    """
    event = AlertEvent("node", _SCHEDULER, None, message, details=details, server=server)
    return replace(event, about=about)


def thread_of(event: AlertEvent, kind: AlertKind) -> str:
    """What keeps alerts about the same together: the failure as the inbox groups them, or the job and what it is about."""
    name = event.definition.name
    if kind == "failure":
        return cause_of(name, event.message, event.details).key
    if kind == "missed":
        return missed(name).key
    said = f"{kind}\0{name}\0{event.about}"
    return f"{kind}-{blake2b(said.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"


_SCHEDULER = replace(
    stand_in("Scheduler", ""), display_name="The scheduler", target=node_event, module=__name__
)
"""Stands in for the job in alerts that are about none."""
