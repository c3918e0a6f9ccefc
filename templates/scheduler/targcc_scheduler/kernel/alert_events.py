"""Alert events: what the kernel reports about jobs and nodes; the feature ``alerts`` sends alerts about the events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from .jobs.definition import AlertKind, JobDefinition, stand_in


@dataclass(frozen=True)
class AlertEvent:
    """An event of a job or node, which may cause an alert.

    Args:
        kind: Event kind.
        definition: The job.
        run_id: The run; ``None`` when the event is about no run.
        message: One line: the result, or the last line of the error.
        details: The traceback, if there is one.
        attempt: Attempt number at the end of the run.
        scheduled_for: The slot.
        duration_ms: Last attempt's duration in milliseconds.
        server: The node that ran the attempt.
        about: The broken expectation, or the lost node. A recovery notice refers to this value.
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


Notify = Callable[[AlertEvent], Awaitable[None]]


class AlertEvents:
    """Passes each alert event to the receivers. Without receivers, events are dropped."""

    def __init__(self) -> None:
        self.receivers: list[Callable[[AlertEvent], None]] = []
        """Functions that return without waiting for delivery."""

    def __call__(self, event: AlertEvent) -> None:
        """Pass an event to the receivers."""
        for receiver in self.receivers:
            receiver(event)


def node_event(message: str, *, server: str, details: str = "", about: str = "") -> AlertEvent:
    """Build the event for a problem with a node.

    Recipients are the project's default recipients, or the recipients in the row ``Scheduler`` of ``c_JobAlert``.

    Args:
        message: One line.
        server: The node's machine.
        details: A stack, if there is one.
        about: The lost node, if the event is about a lost node.
    """
    event = AlertEvent("node", _SCHEDULER, None, message, details=details, server=server)
    return replace(event, about=about)


_SCHEDULER = replace(
    stand_in("Scheduler", ""), display_name="The scheduler", target=node_event, module=__name__
)
"""Stand-in definition for alerts that are about no job."""
