"""The events that alerts are about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from ..jobs.definition import AlertKind, JobDefinition, stand_in


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


def node_event(message: str, *, server: str, details: str = "") -> AlertEvent:
    """Something is wrong with a node, not with a job: whoever hears of jobs that name nobody, or a row for ``Scheduler`` in ``c_JobAlert``.

    Args:
        message: One line.
        server: The node's machine.
        details: A stack, if there is one.
    """
    return AlertEvent("node", _SCHEDULER, None, message, details=details, server=server)


_SCHEDULER = replace(
    stand_in("Scheduler", ""), display_name="The scheduler", target=node_event, module=__name__
)
"""Stands in for the job in alerts that are about none."""
