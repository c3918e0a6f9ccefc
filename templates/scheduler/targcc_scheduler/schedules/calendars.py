"""Calendars of days off and closed hours, and schedules that respect them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone, tzinfo
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from .base import Schedule
from .calendar_entries import UNNAMED, DayRule, Hours, Span, parse_blackout, parse_date, parse_days
from .errors import CronError
from .intervals import AfterRunSchedule
from .zones import Zone, as_zone, naive, offset_of, resolve, wall_clock

if TYPE_CHECKING:
    from .ics import Closed, Event


# A named calendar: the days off and the times in which nothing starts.

KEYS = ("description", "off", "work", "blackouts", "ics", "include")
"""What a calendar may say."""

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Closure:
    """A time in which nothing starts.

    Attributes:
        why: What people call it, with its calendar.
        start: When it begins.
        end: When it is over; this moment is open, unless something else closes it.
        is_day: Whether it is a day off, from midnight to midnight.
    """

    why: str
    start: datetime
    end: datetime
    is_day: bool


@dataclass(frozen=True)
class WorkingCalendar:
    """Days off and times in which nothing starts.

    Two are equal that have the same name and say the same: ``digest`` is made of all that they say, also of the text of the file.

    Attributes:
        name: Its name in the project.
        digest: What it says, in a short word.
        description: One sentence for people.
    """

    name: str
    digest: str
    description: str = field(default="", compare=False)
    dates: Mapping[date, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    rules: tuple[DayRule, ...] = field(default=(), compare=False)
    worked: frozenset[date] = field(default=frozenset(), compare=False)
    hours: tuple[Hours, ...] = field(default=(), compare=False)
    spans: tuple[Span, ...] = field(default=(), compare=False)
    events: tuple[Event, ...] = field(default=(), compare=False)
    included: tuple[WorkingCalendar, ...] = field(default=(), compare=False)
    _years: dict[int, Closed] = field(default_factory=dict, compare=False, repr=False)

    def day_off(self, day: date) -> str | None:
        """Return what people call a day off, with its calendar; None for a day of work."""
        if day in self.worked:
            return None
        name = self.dates.get(day) or self._from_events(day)
        if name is None:
            name = next((rule.name for rule in self.rules if rule.falls_on(day)), None)
        if name is not None:
            return f"{name} (calendar {self.name})"
        offs = (calendar.day_off(day) for calendar in self.included)
        return next((off for off in offs if off is not None), None)

    def blackouts(self, day: date, zone: tzinfo) -> Iterator[Closure]:
        """Yield the times without starts that touch a day."""
        start, end = resolve(naive(*_ymd(day)), zone), resolve(naive(*_ymd(day + _DAY)), zone)
        for name, since, until in self._times(day, zone):
            if since < until and since < end and until > start:
                yield Closure(f"{name} (calendar {self.name})", since, until, is_day=False)
        for calendar in self.included:
            yield from calendar.blackouts(day, zone)

    def is_touched(self, day: date, zone: tzinfo) -> bool:
        """Return whether a day is one off, or something closes it that is not the same each day."""
        if self.day_off(day) is not None:
            return True
        start, end = resolve(naive(*_ymd(day)), zone), resolve(naive(*_ymd(day + _DAY)), zone)
        within = (span.within(zone) for span in self.spans_around(day))
        if any(since < end and until > start for since, until in within):
            return True
        return any(calendar.is_touched(day, zone) for calendar in self.included)

    def family(self) -> Iterator[WorkingCalendar]:
        """Yield this calendar, and those that it includes."""
        yield self
        for calendar in self.included:
            yield from calendar.family()

    def weekly(self) -> Iterator[tuple[str, str]]:
        """Yield the weekdays that are off each week: as :meth:`day_off` calls such a day, and their name alone."""
        for calendar in self.family():
            for rule in calendar.rules:
                if rule.is_weekly:
                    yield f"{rule.name} (calendar {calendar.name})", rule.name

    def blackout_texts(self, year: int) -> Iterator[str]:
        """Yield the times without starts in a year, in words: first those of each day, then the others in order."""
        for calendar in self.family():
            for hours in calendar.hours:
                clock = f"{hours.start:%H:%M}-{hours.end:%H:%M} each day"
                yield calendar.named(clock, hours.name)
        for calendar in self.family():
            spans = dict.fromkeys(calendar.spans_around(date(year, 12, 31)))
            for span in sorted(spans, key=lambda one: f"{one.start:%Y-%m-%d %H:%M}"):
                if year in {span.start.year, span.end.year}:
                    clock = f"{span.start:%Y-%m-%d %H:%M} to {span.end:%Y-%m-%d %H:%M}"
                    yield calendar.named(clock, span.name)

    def named(self, clock: str, name: str) -> str:
        """Return a time with its name and calendar."""
        shown = "" if name.startswith(UNNAMED) else f": {name}"
        return f"{clock}{shown} (calendar {self.name})"

    def _times(self, day: date, zone: tzinfo) -> Iterator[tuple[str, datetime, datetime]]:
        for hours in self.hours:
            for begun in (day - _DAY, day):
                yield hours.name, *hours.on(begun, zone)
        for span in self.spans_around(day):
            yield span.name, *span.within(zone)

    def spans_around(self, day: date) -> Iterator[Span]:
        """Yield the single times without starts, those of its file from this year and the one before."""
        yield from self.spans
        if self.events:
            for year in (day.year - 1, day.year):
                yield from self._year(year).spans

    def _from_events(self, day: date) -> str | None:
        if not self.events:
            return None
        return self._year(day.year).days.get(day) or self._year(day.year - 1).days.get(day)

    def _year(self, year: int) -> Closed:
        if year not in self._years:
            from .ics import closed_in  # few projects have such a file

            self._years[year] = closed_in(self.events, year)
        return self._years[year]


def closure_at(
    calendars: Sequence[WorkingCalendar], moment: datetime, zone: tzinfo
) -> Closure | None:
    """Return what closes a moment in one of these calendars, a day off before anything else; None when it is open."""
    day = wall_clock(moment, zone).date()
    for calendar in calendars:
        if (why := calendar.day_off(day)) is not None:
            return whole_day(day, why, zone)
    for calendar in calendars:
        for closure in calendar.blackouts(day, zone):
            if closure.start <= moment < closure.end:
                return closure
    return None


def whole_day(day: date, why: str, zone: tzinfo) -> Closure:
    """Return a day off from midnight to midnight."""
    start, end = resolve(naive(*_ymd(day)), zone), resolve(naive(*_ymd(day + _DAY)), zone)
    return Closure(why, start, end, is_day=True)


def calendar_of(
    name: str,
    said: Mapping[str, Mapping[str, Any]],
    folder: Path | None,
    within: tuple[str, ...] = (),
) -> WorkingCalendar:
    """Return a calendar of a project, with those that it includes.

    Args:
        name: Which.
        said: All calendars by name, what each says, by :data:`KEYS`: texts, or lists of them.
        folder: Where the files are that they name; None when they are not to be read.
        within: The calendars that include it.

    Raises:
        CronError: It cannot be read, there is none of that name, or it includes itself.
    """
    if name in within:
        raise CronError(
            f"the calendar {name} includes itself", text=" includes ".join([*within, name])
        )
    if name not in said:
        raise _no_calendar(name, said)
    wanted = said[name]
    within = (*within, name)
    included = (calendar_of(one, said, folder, within) for one in _texts(wanted.get("include")))
    return read_calendar(name, wanted, folder, tuple(included))


def _no_calendar(name: str, known: Mapping[str, Any]) -> CronError:
    named = ", ".join(known) or "none"
    return CronError(f'there is no calendar "{name}"', text=name, allowed=f"There are: {named}.")


def read_calendar(
    name: str,
    said: Mapping[str, Any],
    folder: Path | None,
    included: tuple[WorkingCalendar, ...] = (),
) -> WorkingCalendar:
    """Return one calendar; see :func:`calendar_of`.

    Raises:
        CronError: It cannot be read.
    """
    dates: dict[date, str] = {}
    rules: list[DayRule] = []
    for text in _texts(said.get("off")):
        days = parse_days(text)
        if isinstance(days, DayRule):
            rules.append(days)
        else:
            dates |= days
    blackouts = [parse_blackout(text) for text in _texts(said.get("blackouts"))]
    file: str = said.get("ics") or ""
    text = _text_of(name, folder / file) if file and folder is not None else ""
    return WorkingCalendar(
        name=name,
        digest=digest_of([said, text, [one.digest for one in included]]),
        description=said.get("description", ""),
        dates=dates,
        rules=tuple(rules),
        worked=frozenset(parse_date(one) for one in _texts(said.get("work"))),
        hours=tuple(one for one in blackouts if isinstance(one, Hours)),
        spans=tuple(one for one in blackouts if isinstance(one, Span)),
        events=_events(name, file, text) if text else (),
        included=included,
    )


def _text_of(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise CronError(
            f"the file of calendar {name} cannot be read: {path}: {why}",
            text=str(path),
            allowed="It is looked for in the folder of the package, so that it comes along with the code.",
        ) from None


def _events(name: str, file: str, text: str) -> tuple[Event, ...]:
    from .ics import read_events

    try:
        return read_events(text)
    except CronError as error:
        raise CronError(f"{file} of calendar {name}, {error}", text=error.text) from None


def _texts(value: str | Sequence[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def digest_of(said: Any) -> str:
    """Return what is said in eight characters."""
    text = json.dumps(said, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _ymd(day: date) -> tuple[int, int, int]:
    return day.year, day.month, day.day


# Schedules that respect calendars: what a slot becomes that falls on a day off, or into a time without starts.

OnHoliday = Literal["skip", "next", "previous"]
"""What becomes of a slot on a day off: it is left out, or is moved to the next or the previous working day."""

_MINUTE = timedelta(minutes=1)
_INSTANT = timedelta(microseconds=1)
_MOST_MOVED = 25  # hourly, on the night on which an hour comes twice
_MOST_STEPS = 400
_FEW = 40
_FAR = timedelta(days=3 * 366)
_KEPT = 2000


@dataclass(frozen=True)
class Handling:
    """What a calendar makes of one slot.

    Attributes:
        planned: When the schedule alone would have it.
        at: When it is instead; None: it is left out.
        why: The day off or the blackout, with its calendar.
    """

    planned: datetime
    at: datetime | None
    why: str


@dataclass(frozen=True)
class WorkingSchedule(Schedule):
    """A schedule that respects calendars.

    * ``skip``: a slot on a day off, or in a blackout, is left out.
    * ``next``, ``previous``: a slot on a day off comes at the same time of the clock on the nearest working day after or before it. One in
      a blackout comes when that ends, or a minute before it begins. What it meets there closed is moved on in the same way.
    * Slots that come to the same moment are one slot. A day off with more than 25 slots has them left out: the working days have
      their like.

    A slot is known by the moment to which it is moved, so it is created once however often and from wherever it is asked for.

    Attributes:
        base: The schedule without calendars.
        calendars: What closes one of them is closed.
        on_holiday: What becomes of a slot there.
    """

    base: Schedule
    calendars: tuple[WorkingCalendar, ...]
    on_holiday: OnHoliday = "skip"
    _seen: dict[tuple[date, tzinfo], tuple[Handling, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return the first time later than ``after`` (``inclusive``: or at it), None if there is none within years."""
        return self._nearest(after - _INSTANT if inclusive else after, as_zone(zone), forward=True)

    def previous(self, before: datetime, zone: Zone) -> datetime | None:
        """Return the last time earlier than ``before``, None if there is none within years."""
        return self._nearest(before, as_zone(zone), forward=False)

    def describe(self) -> str:
        """Return the words of the schedule, and what calendars do to it."""
        return f"{self.base.describe()}, {calendar_words(self.calendars, self.on_holiday)}"

    def skipped(self, after: datetime, until: datetime, zone: Zone) -> Iterator[Handling]:
        """Yield slots later than ``after`` and before ``until`` that are left out: of each closed time the first, of some hundred at most."""
        zone = as_zone(zone)
        slot = self.base.next(after, zone)
        for _ in range(_MOST_STEPS):
            if slot is None or slot >= until:
                return
            closure = closure_at(self.calendars, slot, zone)
            if closure is None:
                slot = self.base.next(slot, zone)
                continue
            mine = (one for one in self._handled(_day(slot, zone), zone) if one.planned >= slot)
            yield from islice((one for one in mine if one.at is None), 1)
            slot = self.base.next(closure.end - _INSTANT, zone)

    def moved_to(self, moment: datetime, zone: Zone) -> tuple[Handling, ...]:
        """Return the slots that were moved to a moment, in order; the schedule alone may have one there too."""
        zone = as_zone(zone)
        if self.on_holiday == "skip":
            return ()
        step = -1 if self.on_holiday == "next" else 1
        days = [_day(moment, zone), *self._until_clear(_day(moment, zone), zone, step)]
        every = (one for day in sorted(days) for one in self._handled(day, zone))
        return tuple(one for one in every if one.at == moment)

    def has_own(self, moment: datetime, zone: Zone) -> bool:
        """Return whether the schedule alone has a slot at a moment."""
        return self.base.next(moment - _INSTANT, zone) == moment

    def _nearest(self, moment: datetime, zone: tzinfo, *, forward: bool) -> datetime | None:
        """Return the slot nearest to a moment, on one side of it.

        Slots come from two places: from the schedule where that is open, and from closed days, from before or from after.
        """
        found = _Nearest(moment, forward=forward)
        today, step = _day(moment, zone), 1 if forward else -1
        moves = self.on_holiday != "skip"
        from_behind = (self.on_holiday == "next") == forward
        if moves:
            found.take(self._handled(today, zone))
        if moves and from_behind:
            for day in self._until_clear(today, zone, -step):
                found.take(self._handled(day, zone))
        self._walk(found, moment, zone, forward=forward)
        if moves and not from_behind and found.slot is not None:
            last = _day(found.slot, zone)
            for day in [last, *self._until_clear(last, zone, step)]:
                found.take(self._handled(day, zone))
        return found.slot

    def _walk(self, found: _Nearest, moment: datetime, zone: tzinfo, *, forward: bool) -> None:
        """Go from slot to slot of the schedule alone, past closed times, to the first that is open."""
        slot = self.base.next(moment, zone) if forward else self.base.previous(moment, zone)
        steps = 0
        while slot is not None and found.is_nearer(slot):
            closure = closure_at(self.calendars, slot, zone)
            if closure is None:
                found.slot = slot
                return
            found.take(self._handled(_day(slot, zone), zone))
            steps += 1
            if steps > _FEW and abs(slot - moment) > _FAR:
                return
            slot = (
                self.base.next(closure.end - _INSTANT, zone)
                if forward
                else self.base.previous(closure.start, zone)
            )

    def _handled(self, day: date, zone: tzinfo) -> tuple[Handling, ...]:
        """Return what becomes of the slots of one day that do not stay: of a blackout the first, which stands for all in it."""
        known = self._seen.get((day, zone))
        if known is None:
            if len(self._seen) > _KEPT:
                self._seen.clear()
            known = self._seen[day, zone] = tuple(self._handle(day, zone))
        return known

    def _handle(self, day: date, zone: tzinfo) -> Iterator[Handling]:
        off = (calendar.day_off(day) for calendar in self.calendars)
        why = next((one for one in off if one is not None), None)
        if why is not None:
            closure = whole_day(day, why, zone)
            slots = list(islice(self._within(closure, zone), _MOST_MOVED + 1))
            moves = len(slots) <= _MOST_MOVED
            for slot in slots:
                for wall in _walls(self.base, slot, zone) if moves else ():
                    yield Handling(slot, self._settled(slot, zone, wall), why)
                if not moves:
                    yield Handling(slot, None, why)
            return
        start = whole_day(day, "", zone).start
        for calendar in self.calendars:
            for closure in calendar.blackouts(day, zone):
                first = next(self._within(closure, zone, since=start), None)
                if first is not None:
                    yield Handling(first, self._settled(first, zone), closure.why)

    def _within(
        self, closure: Closure, zone: tzinfo, since: datetime | None = None
    ) -> Iterator[datetime]:
        start = closure.start if since is None else max(since, closure.start)
        return self.base.between(start, closure.end, zone)

    def _settled(
        self, slot: datetime, zone: tzinfo, wall: datetime | None = None
    ) -> datetime | None:
        """Return the moment to which a slot is moved; None when it is left out."""
        if self.on_holiday == "skip":
            return None
        return settled(slot, zone, self.calendars, self.on_holiday, wall=wall)

    def _until_clear(self, day: date, zone: tzinfo, step: int) -> Iterator[date]:
        """Yield the days from one on, without it, up to the second of two clear days, beyond which no slot is moved."""
        clear = 0
        for _ in range(_MOST_STEPS):
            day += step * _DAY
            yield day
            touched = any(calendar.is_touched(day, zone) for calendar in self.calendars)
            clear = 0 if touched else clear + 1
            if clear > 1:
                return


class _Nearest:
    """The slot found so far that is nearest to a moment, on one side of it."""

    def __init__(self, moment: datetime, *, forward: bool) -> None:
        self._moment = moment
        self._forward = forward
        self.slot: datetime | None = None

    def take(self, handled: Sequence[Handling]) -> None:
        """Take the moved slots that are nearer."""
        for one in handled:
            if one.at is not None and self._is_on_side(one.at) and self.is_nearer(one.at):
                self.slot = one.at

    def is_nearer(self, slot: datetime) -> bool:
        """Return whether a slot on the right side is nearer than what was found."""
        if self.slot is None:
            return True
        return slot < self.slot if self._forward else slot > self.slot

    def _is_on_side(self, slot: datetime) -> bool:
        return slot > self._moment if self._forward else slot < self._moment


@dataclass(frozen=True)
class WorkingAfterRunSchedule(AfterRunSchedule):
    """A schedule counted from the run before that respects calendars: under any policy it waits until it is open again.

    Attributes:
        base: The schedule without calendars.
        calendars: What closes one of them is closed.
    """

    base: AfterRunSchedule = field(kw_only=True)
    calendars: tuple[WorkingCalendar, ...] = field(kw_only=True)

    def following(self, started: datetime, ended: datetime, zone: Zone) -> datetime | None:
        """Return when the next run is due, after one that started and ended."""
        return self._opened(self.base.following(started, ended, zone), zone)

    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return the first open moment that is the delay or more later than ``after``."""
        return self._opened(self.base.next(after, zone, inclusive=inclusive), zone)

    def describe(self) -> str:
        """Return the words of the schedule, and what calendars do to it."""
        return f"{self.base.describe()}, {calendar_words(self.calendars, 'next')}"

    def __str__(self) -> str:
        return str(self.base)

    def _opened(self, due: datetime | None, zone: Zone) -> datetime | None:
        return None if due is None else settled(due, as_zone(zone), self.calendars, "next")


def respecting(
    schedule: Schedule | None, calendars: Sequence[WorkingCalendar], on_holiday: OnHoliday
) -> Schedule | None:
    """Return a schedule that respects calendars, instead of those that it respected before."""
    if isinstance(schedule, WorkingSchedule | WorkingAfterRunSchedule):
        schedule = schedule.base
    if schedule is None or not calendars:
        return schedule
    if isinstance(schedule, AfterRunSchedule):
        return WorkingAfterRunSchedule(schedule.delay, base=schedule, calendars=tuple(calendars))
    return WorkingSchedule(schedule, tuple(calendars), on_holiday)


def calendars_text(schedule: Schedule) -> str:
    """Return the calendars of a schedule and what they say, in a few characters that differ when that does; empty without any."""
    if isinstance(schedule, WorkingSchedule):
        said = [(one.name, one.digest) for one in schedule.calendars] + [(schedule.on_holiday, "")]
    elif isinstance(schedule, WorkingAfterRunSchedule):
        said = [(one.name, one.digest) for one in schedule.calendars]
    else:
        return ""
    return f" calendars {digest_of(said)}"


def settled(
    slot: datetime,
    zone: tzinfo,
    calendars: Sequence[WorkingCalendar],
    to: OnHoliday,
    *,
    wall: datetime | None = None,
) -> datetime | None:
    """Return the open moment to which a slot is moved; itself when it is open, None when all is closed.

    Args:
        slot: The slot.
        zone: Its zone.
        calendars: What may close it.
        to: ``next`` or ``previous``.
        wall: The time of the clock for which it stands, where a clock change has moved it: it has that on another day.
    """
    for _ in range(_MOST_STEPS):
        closure = closure_at(calendars, slot, zone)
        if closure is None:
            return slot
        if closure.is_day:
            local = wall or _wall(slot, zone)
            wall = local + (_DAY if to == "next" else -_DAY)
            slot = resolve(wall, zone)
        else:
            wall = None
            slot = closure.end if to == "next" else closure.start - _MINUTE
    return None


def calendar_words(calendars: Sequence[WorkingCalendar], on_holiday: OnHoliday) -> str:
    """Return what calendars do to a schedule, as "except on days off of holidays"."""
    names = " and ".join(calendar.name for calendar in calendars)
    match on_holiday:
        case "skip":
            return f"except when {names} is closed"
        case "next":
            return f"or when {names} is open again"
        case _:
            return f"or before {names} closes"


def _walls(schedule: Schedule, slot: datetime, zone: tzinfo) -> list[datetime]:
    """Return the times of the clock for which a slot stands: at the end of a gap also those that the clock leaves out there."""
    before, after = offset_of(wall_clock(slot - _INSTANT, zone)), offset_of(wall_clock(slot, zone))
    if before >= after:
        return [_wall(slot, zone)]
    old = timezone(before)
    left_out = schedule.between(slot, slot + (after - before), old)
    found = [_wall(one, old) for one in islice(left_out, _MOST_MOVED)]
    is_its_own = schedule.next(slot - _INSTANT, timezone(after)) == slot
    return [*found, _wall(slot, zone)] if is_its_own or not found else found


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    return wall_clock(moment, zone).replace(tzinfo=None, fold=0)


def _day(moment: datetime, zone: tzinfo) -> date:
    return wall_clock(moment, zone).date()
