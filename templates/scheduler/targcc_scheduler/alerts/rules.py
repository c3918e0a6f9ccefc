"""Who is told about a job, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..jobs.definition import Alerts
from .events import AlertEvent, AlertKind


@dataclass(frozen=True)
class AlertRule:
    """Who is told about one job, and when; ``slower_than_ms`` is milliseconds."""

    on_failure: bool = True
    on_success: bool = False
    on_missed: bool = False
    slower_than_ms: int | None = None
    email: tuple[str, ...] = ()
    slack: str | None = None
    teams: str | None = None
    max_per_hour: int | None = None

    @classmethod
    def from_decorator(cls, alerts: Alerts) -> AlertRule:
        """The rule that ``@job(alerts=…)`` says."""
        slower = alerts.slower_than
        return cls(
            on_failure="failure" in alerts.on,
            on_success="success" in alerts.on,
            on_missed="missed" in alerts.on,
            slower_than_ms=None if slower is None else round(slower.total_seconds() * 1000),
            email=alerts.email,
            slack=alerts.slack,
            teams=alerts.teams,
            max_per_hour=alerts.max_per_hour,
        )

    @classmethod
    def from_row(cls, row: Any) -> AlertRule:
        """The rule that a row of ``c_JobAlert`` says; whoever hears of failures hears of missed slots too."""
        return cls(
            on_failure=row.AlertOnFailure,
            on_success=row.AlertOnSuccess,
            on_missed=row.AlertOnFailure,
            slower_than_ms=row.AlertOnDurationExceeds,
            email=split_addresses(row.EmailRecipients or ""),
            slack=row.SlackWebhook or None,
            teams=row.TeamsWebhook or None,
            max_per_hour=row.MaxAlertsPerHour,
        )

    def kind_of(self, event: AlertEvent) -> AlertKind | None:
        """What to tell about the event; ``None``: nothing. A failure or a success may be told as slow only."""
        wanted = {
            "failure": self.on_failure,
            "success": self.on_success,
            "missed": self.on_missed,
            "slow": self.slower_than_ms is not None,
        }
        if wanted[event.kind]:
            return event.kind
        slow = self.slower_than_ms is not None and (event.duration_ms or 0) > self.slower_than_ms
        return "slow" if slow else None


def split_addresses(text: str) -> tuple[str, ...]:
    """The addresses in a text that separates them by commas or semicolons."""
    return tuple(part.strip() for part in text.replace(";", ",").split(",") if part.strip())
