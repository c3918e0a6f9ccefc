"""Schedules that are not cron expressions: fixed intervals, delays and single dates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from .base import Schedule
from .errors import CronError
from .words import ENGLISH, Language, duration_words, format_duration
from .zones import SECOND, Zone, as_zone, naive, pin, resolve, wall_clock

_DAY = timedelta(days=1)

_DEFAULT_ANCHOR = naive(2001, 1, 1)  # a Monday


@dataclass(frozen=True)
class EverySchedule(Schedule):
    """Fixed intervals from an anchor, such as every 90 minutes, which cron cannot express.

    The interval is elapsed time: at a clock change the runs stay evenly spaced, and their
    wall-clock time moves. An interval of whole days keeps its wall-clock time by the rules of cron:
    a time in a gap runs at the first moment after the gap, and a repeated time runs at the first
    pass.

    Attributes:
        interval: The interval; one second at least.
        anchor: The first run; naive means wall-clock time in the schedule's zone. Default: midnight
            of Monday, 1 January 2001.

    Raises:
        CronError: The interval is shorter than a second.
    """

    interval: timedelta
    anchor: datetime | None = None

    def __post_init__(self) -> None:
        if self.interval < SECOND:
            raise CronError(
                "an interval is one second at least",
                text=format_duration(self.interval),
                allowed="Write 90s, 15m, 1h30m, or 2d.",
            )

    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return the first run later than ``after`` (``inclusive``: or equal)."""
        zone = as_zone(zone)
        try:
            turn = max(0, self._turns(after, zone) - 2)
            while (moment := self._at(turn, zone)) < after or (moment == after and not inclusive):
                turn += 1
        except OverflowError:  # the end of the calendar
            return None
        return moment

    def previous(self, before: datetime, zone: Zone) -> datetime | None:
        """Return the last run earlier than ``before``, or None when the anchor is not earlier."""
        zone = as_zone(zone)
        for turn in range(self._turns(before, zone) + 2, -1, -1):
            if (moment := self._at(turn, zone)) < before:
                return moment
        return None

    def _turns(self, moment: datetime, zone: tzinfo) -> int:
        """Return the number of intervals from the anchor to a time; clock changes may shift it by one."""
        return (wall_clock(moment, UTC) - self._at(0, zone)) // self.interval

    def _at(self, turn: int, zone: tzinfo) -> datetime:
        """Return the run that is ``turn`` intervals after the anchor."""
        anchor = self.anchor or _DEFAULT_ANCHOR
        if anchor.tzinfo is not None:
            anchor = wall_clock(anchor, zone)
        elif self.interval % _DAY:
            anchor = resolve(anchor, zone)
        if self.interval % _DAY:
            return pin((anchor.astimezone(UTC) + turn * self.interval).astimezone(zone))
        return resolve(anchor.replace(tzinfo=None, fold=0) + turn * self.interval, zone)

    def describe(self, language: Language = ENGLISH) -> str:
        """Return "every 15 minutes" and the like."""
        words = duration_words(self.interval, language)
        match format_duration(self.interval):
            case "1d":
                text = language.gettext("every day")
            case "1h":
                text = language.gettext("every hour")
            case "1m":
                text = language.gettext("every minute")
            case "1s":
                text = language.gettext("every second")
            case "1ms":
                text = language.gettext("every millisecond")
            case _:
                text = language.gettext("every %(duration)s", duration=words)
        if not self.anchor:
            return text
        return text + language.gettext(" from %(time)s", time=f"{self.anchor:%Y-%m-%d %H:%M}")

    def __str__(self) -> str:
        return f"every {format_duration(self.interval)}"


@dataclass(frozen=True)
class AfterRunSchedule(Schedule):
    """A fixed elapsed time after the previous run, also across a clock change.

    The subclasses count from the end or from the start of the previous run. Past runs cannot be computed, so ``previous`` returns None.

    Raises:
        CronError: The delay is not positive.
    """

    delay: timedelta

    def __post_init__(self) -> None:
        if self.delay <= timedelta(0):
            raise CronError("a delay is longer than nothing", text=format_duration(self.delay))

    def following(self, started: datetime, ended: datetime, zone: Zone) -> datetime | None:
        """Return when the next run is due, from the start and end of the previous run."""
        raise NotImplementedError

    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return ``after`` plus the delay; ``inclusive`` has no effect."""
        del inclusive
        try:
            return pin((wall_clock(after, UTC) + self.delay).astimezone(as_zone(zone)))
        except OverflowError:  # the end of the calendar
            return None

    def previous(self, before: datetime, zone: Zone) -> datetime | None:
        """Return None: a past run depends on the run before, which is unknown here."""
        del before, zone
        return None


@dataclass(frozen=True)
class AfterCompletionSchedule(AfterRunSchedule):
    """A fixed delay after the previous run has ended."""

    def following(self, started: datetime, ended: datetime, zone: Zone) -> datetime | None:
        """Return the end plus the delay."""
        del started
        return self.next(ended, zone)

    def describe(self, language: Language = ENGLISH) -> str:
        """Return "5 minutes after the previous run ends" and the like."""
        return language.gettext(
            "%(duration)s after the previous run ends",
            duration=duration_words(self.delay, language),
        )

    def __str__(self) -> str:
        return f"every {format_duration(self.delay)} after completion"


@dataclass(frozen=True)
class AfterStartSchedule(AfterRunSchedule):
    """A fixed time after the previous run has started; at once when the previous run took longer."""

    def following(self, started: datetime, ended: datetime, zone: Zone) -> datetime | None:
        """Return the start plus the delay, or the end when the end is later."""
        due = self.next(started, zone)
        return None if due is None else max(due, pin(wall_clock(ended, as_zone(zone))))

    def describe(self, language: Language = ENGLISH) -> str:
        """Return "5 minutes after the previous run starts" and the like."""
        return language.gettext(
            "%(duration)s after the previous run starts",
            duration=duration_words(self.delay, language),
        )

    def __str__(self) -> str:
        return f"every {format_duration(self.delay)} after start"


@dataclass(frozen=True)
class OnceSchedule(Schedule):
    """A single time.

    Attributes:
        at: The time; naive means wall-clock time in the schedule's zone. A repeated time means the
            first pass; a time in a gap means the end of the gap.
    """

    at: datetime

    def _moment(self, zone: Zone) -> datetime:
        """Return the time as an instant, on the wall clock of a zone."""
        zone = as_zone(zone)
        return resolve(self.at, zone) if self.at.tzinfo is None else pin(wall_clock(self.at, zone))

    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return the time when later than ``after`` (``inclusive``: or equal), else None."""
        moment = self._moment(zone)
        return moment if moment > after or (inclusive and moment == after) else None

    def previous(self, before: datetime, zone: Zone) -> datetime | None:
        """Return the time when earlier than ``before``, else None."""
        moment = self._moment(zone)
        return moment if moment < before else None

    def describe(self, language: Language = ENGLISH) -> str:
        """Return "once, at 2026-12-31 02:00" and the like."""
        return language.gettext("once, at %(time)s", time=f"{self.at:%Y-%m-%d %H:%M}")

    def __str__(self) -> str:
        return f"at {self.at.isoformat(timespec='minutes')}"
