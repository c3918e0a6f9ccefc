"""Calendars with days off and blackouts, and schedules that respect calendars."""

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
from .words import ENGLISH, Language
from .zones import Zone, as_zone, naive, offset_of, resolve, wall_clock

if TYPE_CHECKING:
    from .ics import Closed, Event


# Named calendars: days off and blackouts. In a blackout no run starts.

KEYS = ("description", "off", "work", "blackouts", "ics", "include")
"""Keys of a calendar in the project's configuration."""

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Closure:
    """A closed time: a day off or a blackout.

    Attributes:
        why: The name of the day off or blackout, with the calendar.
        start: The first closed moment.
        end: The first moment after the closure; open unless another closure contains this moment.
        is_day: Whether the closure is a day off, from midnight to midnight.
    """

    why: str
    start: datetime
    end: datetime
    is_day: bool


@dataclass(frozen=True)
class WorkingCalendar:
    """A calendar with days off and blackouts.

    Calendars are equal when name and digest are equal. The digest covers the whole content, with the iCalendar file and included calendars.

    Attributes:
        name: The name of the calendar in the project.
        digest: A short hash of the content.
        description: One sentence for people.
        dates: Single days off with their names.
        rules: Recurring days off.
        worked: Working days in spite of the dates, rules, events and included calendars.
        hours: Daily blackouts.
        spans: Single blackouts.
        events: The events of the iCalendar file.
        included: Calendars whose closures apply, too.
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
        """Return the name of a day off, with the calendar; None for a working day."""
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
        """Yield the blackouts that overlap a day, including the blackouts of included calendars."""
        start, end = resolve(naive(*_ymd(day)), zone), resolve(naive(*_ymd(day + _DAY)), zone)
        for name, since, until in self._times(day, zone):
            if since < until and since < end and until > start:
                yield Closure(f"{name} (calendar {self.name})", since, until, is_day=False)
        for calendar in self.included:
            yield from calendar.blackouts(day, zone)

    def is_touched(self, day: date, zone: tzinfo) -> bool:
        """Return whether a day is a day off, or overlaps a single blackout; daily blackouts do not count."""
        if self.day_off(day) is not None:
            return True
        start, end = resolve(naive(*_ymd(day)), zone), resolve(naive(*_ymd(day + _DAY)), zone)
        within = (span.within(zone) for span in self.spans_around(day))
        if any(since < end and until > start for since, until in within):
            return True
        return any(calendar.is_touched(day, zone) for calendar in self.included)

    def family(self) -> Iterator[WorkingCalendar]:
        """Yield this calendar and, recursively, the included calendars."""
        yield self
        for calendar in self.included:
            yield from calendar.family()

    def weekly(self) -> Iterator[tuple[str, str]]:
        """Yield the weekly days off: the name as :meth:`day_off` returns it, and the name without the calendar."""
        for calendar in self.family():
            for rule in calendar.rules:
                if rule.is_weekly:
                    yield f"{rule.name} (calendar {calendar.name})", rule.name

    def blackout_texts(self, year: int) -> Iterator[str]:
        """Yield the blackouts in a year, in words: first the daily blackouts, then the single blackouts in order."""
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
        """Return the times of a blackout with its name, if any, and the calendar."""
        shown = "" if name.startswith(UNNAMED) else f": {name}"
        return f"{clock}{shown} (calendar {self.name})"

    def _times(self, day: date, zone: tzinfo) -> Iterator[tuple[str, datetime, datetime]]:
        for hours in self.hours:
            for begun in (day - _DAY, day):
                yield hours.name, *hours.on(begun, zone)
        for span in self.spans_around(day):
            yield span.name, *span.within(zone)

    def spans_around(self, day: date) -> Iterator[Span]:
        """Yield the single blackouts; from the iCalendar file, only events that begin in the day's year or the year before."""
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
            from .ics import closed_in  # few projects have an iCalendar file

            self._years[year] = closed_in(self.events, year)
        return self._years[year]


def closure_at(
    calendars: Sequence[WorkingCalendar], moment: datetime, zone: tzinfo
) -> Closure | None:
    """Return the closure that contains a moment, days off first; None when the moment is open in all calendars."""
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
    """Return the closure of a day off, from midnight to midnight."""
    start, end = resolve(naive(*_ymd(day)), zone), resolve(naive(*_ymd(day + _DAY)), zone)
    return Closure(why, start, end, is_day=True)


def calendar_of(
    name: str,
    declared: Mapping[str, Mapping[str, Any]],
    folder: Path | None,
    within: tuple[str, ...] = (),
) -> WorkingCalendar:
    """Return a calendar of a project, with the included calendars.

    Args:
        name: The name of the calendar.
        declared: All calendars by name; each maps keys of :data:`KEYS` to a text or a list of texts.
        folder: The folder of the iCalendar files; None reads no files.
        within: The names of the calendars that include this calendar.

    Raises:
        CronError: The calendar cannot be read, is unknown, or includes itself.
    """
    if name in within:
        raise CronError(
            f"the calendar {name} includes itself", text=" includes ".join([*within, name])
        )
    if name not in declared:
        raise _no_calendar(name, declared)
    configuration = declared[name]
    within = (*within, name)
    included = (
        calendar_of(included_name, declared, folder, within)
        for included_name in _texts(configuration.get("include"))
    )
    return read_calendar(name, configuration, folder, tuple(included))


def _no_calendar(name: str, known: Mapping[str, Any]) -> CronError:
    named = ", ".join(known) or "none"
    return CronError(f'there is no calendar "{name}"', text=name, allowed=f"There are: {named}.")


def read_calendar(
    name: str,
    declared: Mapping[str, Any],
    folder: Path | None,
    included: tuple[WorkingCalendar, ...] = (),
) -> WorkingCalendar:
    """Build one calendar from its configuration; see :func:`calendar_of` for the arguments.

    Raises:
        CronError: An entry or the iCalendar file cannot be read.
    """
    dates: dict[date, str] = {}
    rules: list[DayRule] = []
    for text in _texts(declared.get("off")):
        days = parse_days(text)
        if isinstance(days, DayRule):
            rules.append(days)
        else:
            dates |= days
    blackouts = [parse_blackout(text) for text in _texts(declared.get("blackouts"))]
    file: str = declared.get("ics") or ""
    text = _text_of(name, folder / file) if file and folder is not None else ""
    return WorkingCalendar(
        name=name,
        digest=digest_of([declared, text, [entry.digest for entry in included]]),
        description=declared.get("description", ""),
        dates=dates,
        rules=tuple(rules),
        worked=frozenset(parse_date(entry) for entry in _texts(declared.get("work"))),
        hours=tuple(entry for entry in blackouts if isinstance(entry, Hours)),
        spans=tuple(entry for entry in blackouts if isinstance(entry, Span)),
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


def digest_of(declared: Any) -> str:
    """Return the first eight hex digits of the SHA-256 of a value as JSON."""
    text = json.dumps(declared, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _ymd(day: date) -> tuple[int, int, int]:
    return day.year, day.month, day.day


# Schedules that respect calendars: skip or move each slot on a day off or in a blackout.

OnHoliday = Literal["skip", "next", "previous"]
"""Policy for a slot on a day off: skip the slot, or move the slot to the next or the previous working day."""

_MINUTE = timedelta(minutes=1)
_INSTANT = timedelta(microseconds=1)
_MOST_MOVED = 25  # an hourly schedule on a day of 25 hours
_MOST_STEPS = 400
_FEW = 40
_FAR = timedelta(days=3 * 366)
_KEPT = 2000


@dataclass(frozen=True)
class Handling:
    """A slot that a calendar skips or moves.

    Attributes:
        planned: The time of the slot in the base schedule.
        at: The new time; None when the slot is skipped.
        why: The name of the day off or blackout, with the calendar.
    """

    planned: datetime
    at: datetime | None
    why: str


@dataclass(frozen=True)
class WorkingSchedule(Schedule):
    """A schedule that respects calendars.

    * ``skip``: a slot on a day off, or in a blackout, is skipped.
    * ``next``, ``previous``: a slot on a day off moves to the same wall-clock time on the nearest working day after or before. A slot in
      a blackout moves to the end of the blackout, or to a minute before its start. When the new time is closed, the slot moves again by
      the same rules.
    * Slots that move to the same moment become one slot. When a day off has more than 25 slots, its slots are skipped, since working
      days have the same slots.

    A moved slot is identified by its new moment, so that the slot is created once, however often and on whichever node it is computed.

    Attributes:
        base: The schedule without calendars.
        calendars: The calendars; a moment is closed when any calendar closes it.
        on_holiday: The policy for slots in closed times.
    """

    base: Schedule
    calendars: tuple[WorkingCalendar, ...]
    on_holiday: OnHoliday = "skip"
    _seen: dict[tuple[date, tzinfo], tuple[Handling, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return the first time later than ``after`` (``inclusive``: or equal), None without a time in the next years."""
        return self._nearest(after - _INSTANT if inclusive else after, as_zone(zone), forward=True)

    def previous(self, before: datetime, zone: Zone) -> datetime | None:
        """Return the last time earlier than ``before``, None without a time in the years before."""
        return self._nearest(before, as_zone(zone), forward=False)

    def describe(self, language: Language = ENGLISH) -> str:
        """Return the base schedule in words, and the effect of the calendars."""
        words = calendar_words(self.calendars, self.on_holiday, language)
        return f"{self.base.describe(language)}, {words}"

    def skipped(self, after: datetime, until: datetime, zone: Zone) -> Iterator[Handling]:
        """Yield the skipped slots later than ``after`` and before ``until``.

        Of each closed time, only the first skipped slot is yielded. The search ends after 400 steps.
        """
        zone = as_zone(zone)
        slot = self.base.next(after, zone)
        for _ in range(_MOST_STEPS):
            if slot is None or slot >= until:
                return
            closure = closure_at(self.calendars, slot, zone)
            if closure is None:
                slot = self.base.next(slot, zone)
                continue
            handlings = (
                handling
                for handling in self._handled(_day(slot, zone), zone)
                if handling.planned >= slot
            )
            yield from islice((handling for handling in handlings if handling.at is None), 1)
            slot = self.base.next(closure.end - _INSTANT, zone)

    def moved_to(self, moment: datetime, zone: Zone) -> tuple[Handling, ...]:
        """Return the slots that were moved to a moment, in order; the base schedule may have a slot at the moment, too."""
        zone = as_zone(zone)
        if self.on_holiday == "skip":
            return ()
        step = -1 if self.on_holiday == "next" else 1
        days = [_day(moment, zone), *self._until_clear(_day(moment, zone), zone, step)]
        every = (handling for day in sorted(days) for handling in self._handled(day, zone))
        return tuple(handling for handling in every if handling.at == moment)

    def has_own(self, moment: datetime, zone: Zone) -> bool:
        """Return whether the base schedule has a slot at a moment."""
        return self.base.next(moment - _INSTANT, zone) == moment

    def _nearest(self, moment: datetime, zone: tzinfo, *, forward: bool) -> datetime | None:
        """Return the slot nearest to a moment: the next slot when ``forward``, else the previous slot.

        A slot is an open time of the base schedule, or was moved from a closed day before or after.
        """
        nearest = _Nearest(moment, forward=forward)
        today, step = _day(moment, zone), 1 if forward else -1
        moves = self.on_holiday != "skip"
        from_behind = (self.on_holiday == "next") == forward
        if moves:
            nearest.take(self._handled(today, zone))
        if moves and from_behind:
            for day in self._until_clear(today, zone, -step):
                nearest.take(self._handled(day, zone))
        self._walk(nearest, moment, zone, forward=forward)
        if moves and not from_behind and nearest.slot is not None:
            last = _day(nearest.slot, zone)
            for day in [last, *self._until_clear(last, zone, step)]:
                nearest.take(self._handled(day, zone))
        return nearest.slot

    def _walk(self, nearest: _Nearest, moment: datetime, zone: tzinfo, *, forward: bool) -> None:
        """Step through the slots of the base schedule, past closed times, to the first open slot; collect moved slots."""
        slot = self.base.next(moment, zone) if forward else self.base.previous(moment, zone)
        steps = 0
        while slot is not None and nearest.is_nearer(slot):
            closure = closure_at(self.calendars, slot, zone)
            if closure is None:
                nearest.slot = slot
                return
            nearest.take(self._handled(_day(slot, zone), zone))
            steps += 1
            if steps > _FEW and abs(slot - moment) > _FAR:
                return
            slot = (
                self.base.next(closure.end - _INSTANT, zone)
                if forward
                else self.base.previous(closure.start, zone)
            )

    def _handled(self, day: date, zone: tzinfo) -> tuple[Handling, ...]:
        """Return the skipped and moved slots of a day, cached; the first slot in a blackout stands for all slots in the blackout."""
        known = self._seen.get((day, zone))
        if known is None:
            if len(self._seen) > _KEPT:
                self._seen.clear()
            known = self._seen[day, zone] = tuple(self._handle(day, zone))
        return known

    def _handle(self, day: date, zone: tzinfo) -> Iterator[Handling]:
        off = (calendar.day_off(day) for calendar in self.calendars)
        why = next((reason for reason in off if reason is not None), None)
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
        """Return the moment to which a slot is moved; None when the slot is skipped."""
        if self.on_holiday == "skip":
            return None
        return settled(slot, zone, self.calendars, self.on_holiday, wall=wall)

    def _until_clear(self, day: date, zone: tzinfo, step: int) -> Iterator[date]:
        """Yield the days after ``day``, or before when ``step`` is -1, up to the second of two consecutive days without closures.

        No slot is moved across two such days.
        """
        clear = 0
        for _ in range(_MOST_STEPS):
            day += step * _DAY
            yield day
            touched = any(calendar.is_touched(day, zone) for calendar in self.calendars)
            clear = 0 if touched else clear + 1
            if clear > 1:
                return


class _Nearest:
    """Collect slots and keep the slot nearest to a moment, on one side of the moment."""

    def __init__(self, moment: datetime, *, forward: bool) -> None:
        self._moment = moment
        self._forward = forward
        self.slot: datetime | None = None

    def take(self, handled: Sequence[Handling]) -> None:
        """Keep the nearest of the moved slots and the slot so far."""
        for handling in handled:
            if (
                handling.at is not None
                and self._is_on_side(handling.at)
                and self.is_nearer(handling.at)
            ):
                self.slot = handling.at

    def is_nearer(self, slot: datetime) -> bool:
        """Return whether a slot, on the correct side, is nearer than the slot so far."""
        if self.slot is None:
            return True
        return slot < self.slot if self._forward else slot > self.slot

    def _is_on_side(self, slot: datetime) -> bool:
        return slot > self._moment if self._forward else slot < self._moment


@dataclass(frozen=True)
class WorkingAfterRunSchedule(AfterRunSchedule):
    """A schedule relative to the previous run that respects calendars; under every policy, the next run waits for the next open time.

    Attributes:
        base: The schedule without calendars.
        calendars: The calendars; a moment is closed when any calendar closes it.
    """

    base: AfterRunSchedule = field(kw_only=True)
    calendars: tuple[WorkingCalendar, ...] = field(kw_only=True)

    def following(self, started: datetime, ended: datetime, zone: Zone) -> datetime | None:
        """Return when the next run is due, from the start and end of the previous run."""
        return self._opened(self.base.following(started, ended, zone), zone)

    def next(self, after: datetime, zone: Zone, *, inclusive: bool = False) -> datetime | None:
        """Return the first open moment at least the delay after ``after``."""
        return self._opened(self.base.next(after, zone, inclusive=inclusive), zone)

    def describe(self, language: Language = ENGLISH) -> str:
        """Return the base schedule in words, and the effect of the calendars."""
        return f"{self.base.describe(language)}, {calendar_words(self.calendars, 'next', language)}"

    def __str__(self) -> str:
        return str(self.base)

    def _opened(self, due: datetime | None, zone: Zone) -> datetime | None:
        return None if due is None else settled(due, as_zone(zone), self.calendars, "next")


def respecting(
    schedule: Schedule | None, calendars: Sequence[WorkingCalendar], on_holiday: OnHoliday
) -> Schedule | None:
    """Return a schedule that respects these calendars; earlier calendars of the schedule are replaced."""
    if isinstance(schedule, WorkingSchedule | WorkingAfterRunSchedule):
        schedule = schedule.base
    if schedule is None or not calendars:
        return schedule
    if isinstance(schedule, AfterRunSchedule):
        return WorkingAfterRunSchedule(schedule.delay, base=schedule, calendars=tuple(calendars))
    return WorkingSchedule(schedule, tuple(calendars), on_holiday)


def calendars_text(schedule: Schedule) -> str:
    """Return a short fingerprint of a schedule's calendars and policy, which changes with their content; empty without calendars."""
    if isinstance(schedule, WorkingSchedule):
        parts = [(calendar.name, calendar.digest) for calendar in schedule.calendars] + [
            (schedule.on_holiday, "")
        ]
    elif isinstance(schedule, WorkingAfterRunSchedule):
        parts = [(calendar.name, calendar.digest) for calendar in schedule.calendars]
    else:
        return ""
    return f" calendars {digest_of(parts)}"


def settled(
    slot: datetime,
    zone: tzinfo,
    calendars: Sequence[WorkingCalendar],
    to: OnHoliday,
    *,
    wall: datetime | None = None,
) -> datetime | None:
    """Return the open moment to which a slot is moved; an open slot is returned unchanged. None when no open moment is found.

    Args:
        slot: The slot.
        zone: The zone of the schedule.
        calendars: The calendars that may close the slot.
        to: ``next`` or ``previous``.
        wall: The wall-clock time of the slot before a clock change moved the slot; used when the slot moves to another day.
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


def calendar_words(
    calendars: Sequence[WorkingCalendar], on_holiday: OnHoliday, language: Language = ENGLISH
) -> str:
    """Return the effect of calendars in words, such as "except when holidays is closed"."""
    *most, last = [calendar.name for calendar in calendars]
    names = last
    if most:
        names = language.gettext("%(names)s and %(last)s", names=", ".join(most), last=last)
    match on_holiday:
        case "skip":
            return language.gettext("except when %(names)s is closed", names=names)
        case "next":
            return language.gettext("or when %(names)s is open again", names=names)
        case _:
            return language.gettext("or before %(names)s closes", names=names)


def _walls(schedule: Schedule, slot: datetime, zone: tzinfo) -> list[datetime]:
    """Return the wall-clock times of a slot; a slot at the end of a gap also stands for the times in the gap."""
    before, after = offset_of(wall_clock(slot - _INSTANT, zone)), offset_of(wall_clock(slot, zone))
    if before >= after:
        return [_wall(slot, zone)]
    old = timezone(before)
    left_out = schedule.between(slot, slot + (after - before), old)
    walls = [_wall(moment, old) for moment in islice(left_out, _MOST_MOVED)]
    is_its_own = schedule.next(slot - _INSTANT, timezone(after)) == slot
    return [*walls, _wall(slot, zone)] if is_its_own or not walls else walls


def _wall(moment: datetime, zone: tzinfo) -> datetime:
    return wall_clock(moment, zone).replace(tzinfo=None, fold=0)


def _day(moment: datetime, zone: tzinfo) -> date:
    return wall_clock(moment, zone).date()
