"""Who is told about a job, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...core.masking import KNOWN
from ...kernel.jobs.definition import AlertKind, Alerts
from .message import AlertEvent
from .policy import NOBODY, Recipients, Target


@dataclass(frozen=True)
class AlertRule:
    """Who is told about one job, and when.

    Args:
        on_failure: Tell of runs that failed for good.
        on_success: Tell of runs that succeeded.
        on_missed: Tell of missed slots.
        on_unknown: Tell of runs that wait for a node that knows them.
        on_late: Tell of expectations that are broken.
        slower_than_ms: Tell of attempts that took more milliseconds than this.
        to: Where to send it. Targets of the code may refer to secrets, such as ``${SLACK_URL}``. Those of a row of the table may not:
            whoever may write rows could send any secret of the process to an address of theirs.
        max_per_hour: More alerts than this in an hour are not sent.
        urgent: Whether they go through quiet hours and are escalated; ``None``: as the project says for their kind.
    """

    on_failure: bool = True
    on_success: bool = False
    on_missed: bool = False
    on_unknown: bool = True
    on_late: bool = True
    slower_than_ms: int | None = None
    to: Recipients = NOBODY
    max_per_hour: int | None = None
    urgent: bool | None = None

    @classmethod
    def from_decorator(cls, alerts: Alerts) -> AlertRule:
        """The rule that ``@job(alerts=…)`` says."""
        slower = alerts.slower_than
        return cls(
            on_failure="failure" in alerts.on,
            on_success="success" in alerts.on,
            on_missed="missed" in alerts.on,
            on_unknown=bool({"failure", "unknown"} & set(alerts.on)),
            on_late=bool({"failure", "missed", "late"} & set(alerts.on)),
            slower_than_ms=None if slower is None else round(slower.total_seconds() * 1000),
            to=Recipients.of(vars(alerts)),
            max_per_hour=alerts.max_per_hour,
            urgent=alerts.urgent,
        )

    @classmethod
    def from_row(cls, row: Any) -> AlertRule:
        """The rule that a row of ``c_JobAlert`` says; whoever hears of failures hears of missed slots and unknown runs too."""
        urls = (("slack", row.SlackWebhook), ("teams", row.TeamsWebhook))
        for _, address in urls:
            if address and "://" in address:
                KNOWN.add(address, passing=True)  # its path is a password
        named = [("mail", one) for one in addresses(row.EmailRecipients or "")] + [*urls]
        targets = [Target(channel, said, from_code=False) for channel, said in named if said]
        return cls(
            on_failure=row.AlertOnFailure,
            on_success=row.AlertOnSuccess,
            on_missed=row.AlertOnFailure,
            on_unknown=row.AlertOnFailure,
            on_late=row.AlertOnFailure,
            slower_than_ms=row.AlertOnDurationExceeds,
            to=Recipients(tuple(targets)),
            max_per_hour=row.MaxAlertsPerHour,
        )

    def kind_of(self, event: AlertEvent) -> AlertKind | None:
        """What to tell about the event; ``None``: nothing. A failure or a success may be told as slow only."""
        wanted = {
            "failure": self.on_failure,
            "success": self.on_success,
            "missed": self.on_missed,
            "unknown": self.on_unknown,
            "late": self.on_late,
            "node": self.on_failure,
            "slow": self.slower_than_ms is not None,
        }
        if wanted[event.kind]:
            return event.kind
        slow = self.slower_than_ms is not None and (event.duration_ms or 0) > self.slower_than_ms
        return "slow" if slow else None


def addresses(text: str) -> list[str]:
    """Addresses that commas or semicolons separate."""
    return [one for part in text.replace(";", ",").split(",") if (one := part.strip())]
