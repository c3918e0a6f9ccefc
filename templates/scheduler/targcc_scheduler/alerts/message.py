"""What an alert says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ..core.secrets import mask
from ..jobs.definition import AlertKind
from ..schedules import format_duration
from .events import AlertEvent

LONGEST_DETAILS = 2_500  # Slack refuses a block of more than 3,000 characters
_VERBS: dict[AlertKind, str] = {
    "failure": "failed",
    "success": "succeeded",
    "slow": "was slow",
    "missed": "was missed",
    "unknown": "is known to no node",
    "late": "is late",
    "node": "needs attention",
}


@dataclass(frozen=True)
class Notice:
    """What an alert says, before a channel gives it its own form.

    Args:
        kind: What is told.
        job: The job's name.
        run_id: The run; ``None`` when there is none.
        title: One line.
        facts: Names and values, in the order to show them; at least one.
        message: One line: the result, or the last line of the error.
        details: The end of the traceback, at most ``LONGEST_DETAILS`` characters.
        url: The run on the dashboard.
    """

    kind: AlertKind
    job: str
    run_id: int | None
    title: str
    facts: tuple[tuple[str, str], ...]
    message: str
    details: str
    url: str

    @classmethod
    def about(
        cls,
        event: AlertEvent,
        kind: AlertKind,
        url: str,
        *,
        held_back: int,
        slower_than_ms: int | None,
    ) -> Notice:
        """The alert about an event.

        Args:
            event: What happened.
            kind: What is told about it.
            url: The run on the dashboard.
            held_back: How many alerts about this job were not sent since the last one.
            slower_than_ms: The limit that it exceeded, in an alert about a slow run.
        """
        facts = [("Job", event.definition.name)]
        if event.run_id is not None:
            facts.append(("Run", f"{event.run_id}, attempt {event.attempt}"))
        if event.scheduled_for is not None:
            facts.append(("Scheduled for", event.scheduled_for.isoformat(" ", "seconds")))
        if event.duration_ms is not None:
            facts.append(("Took", _duration(event.duration_ms)))
        if slower_than_ms is not None:
            facts.append(("Expected", f"at most {_duration(slower_than_ms)}"))
        if event.server:
            facts.append(("Server", event.server))
        if held_back:
            facts.append(("Not sent", f"{held_back} alerts before this one (limit per hour)"))
        return cls(
            kind=kind,
            job=event.definition.name,
            run_id=event.run_id,
            title=one_line(f"{event.definition.display_name} {_VERBS[kind]}"),
            facts=tuple(facts),
            message=mask(event.message),
            details=mask(event.details)[-LONGEST_DETAILS:],
            url=url,
        )


def _duration(milliseconds: int) -> str:
    return format_duration(timedelta(milliseconds=milliseconds))


def one_line(text: str) -> str:
    """A text on one line, each run of white space a blank."""
    return " ".join(text.split())
