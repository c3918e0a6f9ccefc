"""Who is told about a job, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..jobs.definition import AlertKind, Alerts
from .events import AlertEvent


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
        targets: Where to send it, by the name of the channel.
        max_per_hour: More alerts than this in an hour are not sent.
        from_code: Whether the targets may refer to secrets, such as ``${SLACK_URL}``. A row of the table may not: whoever may
            write rows could send any secret of the process to an address of theirs.
    """

    on_failure: bool = True
    on_success: bool = False
    on_missed: bool = False
    on_unknown: bool = True
    on_late: bool = True
    slower_than_ms: int | None = None
    targets: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_per_hour: int | None = None
    from_code: bool = False

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
            targets=_targets(", ".join(alerts.email), alerts.slack, alerts.teams, alerts.webhook),
            max_per_hour=alerts.max_per_hour,
            from_code=True,
        )

    @classmethod
    def from_row(cls, row: Any) -> AlertRule:
        """The rule that a row of ``c_JobAlert`` says; whoever hears of failures hears of missed slots and unknown runs too."""
        mail = addresses(row.EmailRecipients or "")
        return cls(
            on_failure=row.AlertOnFailure,
            on_success=row.AlertOnSuccess,
            on_missed=row.AlertOnFailure,
            on_unknown=row.AlertOnFailure,
            on_late=row.AlertOnFailure,
            slower_than_ms=row.AlertOnDurationExceeds,
            targets=_targets(mail, row.SlackWebhook, row.TeamsWebhook),
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


def _targets(
    mail: str, slack: str | None, teams: str | None, webhook: str | None = None
) -> dict[str, str]:
    every = {"mail": mail, "slack": slack, "teams": teams, "webhook": webhook}
    return {channel: target for channel, target in every.items() if target}


def addresses(text: str) -> str:
    """Addresses that commas or semicolons separate, as a mail's ``To`` holds them: ``a@example.com, b@example.com``."""
    return ", ".join(part.strip() for part in text.replace(";", ",").split(",") if part.strip())
