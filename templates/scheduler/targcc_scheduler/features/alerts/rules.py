"""Alert rules of jobs: event kinds, recipients, hourly limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...core.masking import KNOWN
from ...kernel.alert_events import AlertEvent
from ...kernel.jobs.definition import AlertKind, Alerts
from .policy import NOBODY, Recipients, Target


@dataclass(frozen=True)
class AlertRule:
    """A job's alert rule.

    Args:
        on_failure: Alert on runs that failed for good.
        on_success: Alert on runs that succeeded.
        on_missed: Alert on missed slots.
        on_unknown: Alert on runs that wait because no node knows their job or arguments.
        on_late: Alert on broken expectations.
        slower_than_ms: Alert on attempts slower than this limit in milliseconds.
        to: Recipients. Targets in the code may refer to secrets, such as ``${SLACK_URL}``. Targets in a table row may not:
            a user with write access to the table could send any secret in the process to an own address.
        max_per_hour: Maximum alerts per hour; further alerts are suppressed.
        urgent: Whether alerts ignore quiet hours and escalate; ``None`` for the project's default for the alert's kind.
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
        """Build the rule from ``@job(alerts=…)``."""
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
        """Build the rule from a row of ``c_JobAlert``. ``AlertOnFailure`` also covers missed slots, unknown runs and broken expectations."""
        urls = (("slack", row.SlackWebhook), ("teams", row.TeamsWebhook))
        for _, address in urls:
            if address and "://" in address:
                KNOWN.add(address, passing=True)  # its path is a password
        named = [("mail", email) for email in addresses(row.EmailRecipients or "")] + [*urls]
        targets = [
            Target(channel, recipient, from_code=False) for channel, recipient in named if recipient
        ]
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
        """Return the kind of the alert for an event, or ``None`` for no alert.

        If the rule does not want the event's kind and the attempt exceeded ``slower_than_ms``, the kind is ``slow``.
        """
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
    """Split a text into addresses at commas and semicolons."""
    return [address for part in text.replace(";", ",").split(",") if (address := part.strip())]
