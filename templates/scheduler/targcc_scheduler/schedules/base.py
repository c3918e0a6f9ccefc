"""Base class of all schedules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from .words import ENGLISH, Language
from .zones import Zone, as_zone, wall_clock


class Schedule(ABC):
    """Compute when a job is due.

    Datetimes in arguments need a time zone, any; a datetime without a zone raises a ValueError.
    Returned datetimes show the wall clock of ``zone`` with the fixed offset at that moment, and
    compare and hash as instants.
    """

    @abstractmethod
    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return the first time later than ``after`` (``inclusive``: or equal), None without such a time."""

    @abstractmethod
    def previous(self, before: datetime, zone: Zone) -> datetime | None:
        """Return the last time earlier than ``before``, None without such a time."""

    @abstractmethod
    def describe(self, language: Language = ENGLISH) -> str:
        """Return the schedule in words of a language that continue "runs ...", as in "at 02:00 every day"."""

    def iter(self, after: datetime, zone: Zone) -> Iterator[datetime]:
        """Yield the times later than ``after``, in order."""
        zone = as_zone(zone)
        moment = self.next(after, zone)
        while moment is not None:
            yield moment
            moment = self.next(moment, zone)

    def between(self, start: datetime, end: datetime, zone: Zone) -> Iterator[datetime]:
        """Yield the times from ``start`` up to, and not including, ``end``."""
        # Do not use `inclusive`: a time that a gap moved to `start` belongs to the range, although
        # the expression does not match `start`.
        for moment in self.iter(wall_clock(start, UTC) - timedelta(microseconds=1), zone):
            if moment >= end:
                return
            yield moment
