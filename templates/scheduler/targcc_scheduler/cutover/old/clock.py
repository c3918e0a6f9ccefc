"""The clock of the old server, whose tables hold wall-clock times without a zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ...project import current
from ...schedules import parse_zone
from ...schedules.zones import resolve, wall_clock
from ...settings import Settings


class OldClock:
    """Instants as the old server writes them, and back.

    Args:
        zone: The zone of the machine it runs on.
    """

    def __init__(self, zone: str) -> None:
        self.zone = parse_zone(zone)

    @classmethod
    def of(cls, settings: Settings) -> OldClock:
        """The clock that the settings name; else the project's."""
        return cls(settings.legacy_timezone or current().timezone)

    def instant(self, value: Any) -> datetime | None:
        """A time of the table, as any driver gives it; of two that show the same the first."""
        if value is None or value == "":
            return None
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            moment = resolve(moment, self.zone)
        return moment.astimezone(UTC)

    def wall(self, instant: datetime) -> datetime:
        """What the clock shows at an instant."""
        return wall_clock(instant, self.zone).replace(tzinfo=None, fold=0)
