"""Properties of every expression, zone and moment, and of arbitrary texts."""

import re
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from targcc_scheduler.schedules.cron import CronSchedule
from targcc_scheduler.schedules.dialects import DIALECTS
from targcc_scheduler.schedules.errors import CronError
from targcc_scheduler.schedules.intervals import EverySchedule
from targcc_scheduler.schedules.words import format_duration, parse_duration
from timed import timed

# Clock changes of an hour, of half an hour, of two hours, at midnight, of a whole skipped
# day, of a zone's standard time, and a negative daylight saving time.
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Jerusalem",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Africa/Cairo",
    "Asia/Amman",
    "Pacific/Apia",
    "Asia/Pyongyang",
    "Antarctica/Troll",
    "Europe/Dublin",
    "Africa/Casablanca",
    "America/Santiago",
]
zones = st.sampled_from(ZONES).map(ZoneInfo)
moments = st.integers(0, 35 * 365 * 86400).map(
    lambda seconds: datetime(2005, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


def values(low, high):
    return st.integers(low, high).map(str)


def fields(low, high):
    """Strategy for a field: lists of values, ranges and steps, or a star."""
    span = st.tuples(values(low, high), values(low, high)).map("-".join)
    step = st.tuples(st.one_of(span, values(low, high)), values(1, 7)).map("/".join)
    items = st.lists(st.one_of(values(low, high), span, step), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), values(1, 7).map("*/{}".format), items)


days = st.one_of(
    fields(1, 31),
    st.sampled_from(["L", "L-1", "L-7", "LW", "L-2W", "?"]),
    values(1, 31).map("{}W".format),
)
weekdays = st.one_of(
    fields(0, 7),
    st.tuples(values(0, 7), values(1, 5)).map("#".join),
    values(0, 7).map("{}L".format),
)
expressions = st.tuples(
    st.one_of(st.just(""), fields(0, 59)),
    fields(0, 59),
    fields(0, 23),
    days,
    fields(1, 12),
    weekdays,
).map(lambda parts: " ".join(parts).strip())


@given(expressions, zones, moments)
def test_next_is_strictly_later_and_matches(expression, zone, moment):
    schedule = CronSchedule.parse(expression)
    occurrence = schedule.next(moment, zone)
    if occurrence is None:
        assert not schedule.reachable
        return
    assert occurrence > moment
    assert occurrence.utcoffset() == occurrence.astimezone(zone).utcoffset()
    assert schedule.matches(occurrence) or ends_a_gap(occurrence, zone)


def ends_a_gap(moment, zone):
    before = moment.astimezone(UTC) - timedelta(seconds=1)
    return before.astimezone(zone).utcoffset() < moment.utcoffset()


@given(expressions, zones, moments)
def test_iter_is_repeated_next(expression, zone, moment):
    schedule = CronSchedule.parse(expression)
    expected = moment
    for occurrence in islice(schedule.iter(moment, zone), 5):
        expected = schedule.next(expected, zone)
        assert occurrence == expected


@given(expressions, zones, moments)
@example("0 2 * * *", ZoneInfo("Europe/Berlin"), datetime(2026, 3, 29, 1, tzinfo=UTC))
@example("30 12 30 12 *", ZoneInfo("Pacific/Apia"), datetime(2011, 12, 30, 10, tzinfo=UTC))
@example("*/5 * * * *", ZoneInfo("Australia/Lord_Howe"), datetime(2026, 4, 4, 15, tzinfo=UTC))
def test_a_moment_is_between_previous_and_next(expression, zone, moment):
    schedule = CronSchedule.parse(expression)
    following = schedule.next(moment, zone)
    if following is None:
        return
    last = schedule.previous(following, zone)
    assert last is None or last <= moment
    assert last is None or schedule.next(last, zone) == following
    earlier = schedule.previous(moment, zone)
    assert earlier is None or earlier < moment
    assert earlier is None or schedule.next(earlier, zone) >= moment


@given(expressions)
def test_the_normal_form_reads_as_the_same_schedule(expression):
    schedule = CronSchedule.parse(expression)
    assert CronSchedule.parse(schedule.normal) == schedule
    assert schedule.describe()


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "expression", ["*/7 * * * *", "0,30 0-4 * * *", "30 2 * * *", "0,45 0,1,23 * * *"]
)
def test_every_clock_change_of_two_decades_runs_as_the_rules_say(expression, zone):
    """Compare with a search-free walk, minute by minute, through the hours around each change."""
    zone, schedule = ZoneInfo(zone), CronSchedule.parse(expression)
    for change in changes(zone, 2005, 2027):
        start, end = change - timedelta(hours=4), change + timedelta(hours=4)
        expected = list(walk(schedule, start, end, zone))
        assert list(schedule.between(start, end, zone)) == expected
        assert list(backwards(schedule, start, end, zone)) == expected[::-1]


@cache
def changes(zone, first, last):
    """Return every moment, to the minute, at which a zone's offset changes."""
    return list(_changes(zone, first, last))


def _changes(zone, first, last):
    moment, end = datetime(first, 1, 1, tzinfo=UTC), datetime(last, 1, 1, tzinfo=UTC)
    offset, half_day = moment.astimezone(zone).utcoffset(), timedelta(hours=12)
    while moment < end:
        following = (moment + half_day).astimezone(zone).utcoffset()
        if following != offset:
            yield next(
                at
                for minute in range(1, 12 * 60 + 1)
                if (at := moment + timedelta(minutes=minute)).astimezone(zone).utcoffset() != offset
            )
        moment, offset = moment + half_day, following


def walk(schedule, start, end, zone):
    for moment, here, lost in minutes(start, end, zone):
        due = schedule.matches(here) and (schedule.interval or not here.fold)
        if due or any(schedule.matches(local) for local in lost):
            yield moment


@cache
def minutes(start, end, zone):
    """Return each minute of a period with its wall-clock time, and the wall-clock times that were skipped just before."""
    result, moment, minute = [], start, timedelta(minutes=1)
    while moment < end:
        here, before = moment.astimezone(zone), (moment - minute).astimezone(zone)
        skipped = here.replace(tzinfo=None) - before.replace(tzinfo=None) - minute
        lost = [
            before.replace(tzinfo=None) + (n + 1) * minute for n in range(int(skipped / minute))
        ]
        result.append((moment, here, lost))
        moment += minute
    return result


def backwards(schedule, start, end, zone):
    moment = schedule.previous(end, zone)
    while moment is not None and moment >= start:
        yield moment
        moment = schedule.previous(moment, zone)


DENSE = f"0-59/2 {','.join(f'{hour}-{hour + 1}/1' for hour in range(22))} 1,2,3,4,5,10-31 JAN-DEC MON-SUN"
"""To parse and describe it takes about three times as long as `*/5 * * * *`."""


def answer(text, dialect="cronos"):
    """Return the description of a schedule, or the error message for a text that is none."""
    try:
        return CronSchedule.parse(text, dialect=dialect).describe()
    except CronError as error:
        return error.frame()


@cache
def budget():
    """Return the processor time, in seconds, of 200 answers to a dense expression."""
    return timed(lambda: [answer(DENSE) for _ in range(200)])[1]


@pytest.mark.slow
@given(st.one_of(st.text(), st.text("*/-,?LW#0123456789@ \tMONJANdaily", max_size=60)))
@settings(max_examples=400)
def test_no_text_crashes_the_parser_or_holds_it_up(text):
    for dialect in DIALECTS:
        words, seconds = timed(partial(answer, text, dialect))
        assert words
        assert seconds < budget()


@pytest.mark.parametrize("piece", ["0,", "*/1,", "1-1,", "L", "#", "@", " ", "9", "\u0664", "\x00"])
@pytest.mark.parametrize("length", [900, 100_000])
def test_long_text_is_answered_at_once_and_in_short(piece, length):
    words, seconds = timed(lambda: answer((piece * length)[:length] + "0 * * * *"))
    assert len(words) < 500
    assert seconds < budget()


@given(st.timedeltas(timedelta(seconds=1), timedelta(days=30)), zones, moments)
def test_intervals_are_strictly_later_and_evenly_spaced(interval, zone, moment):
    schedule = EverySchedule(interval, datetime(2020, 1, 1, tzinfo=zone))
    first = schedule.next(moment, zone)
    second = schedule.next(first, zone)
    assert moment < first < second
    assert schedule.previous(second, zone) == first
    if interval % timedelta(days=1):
        assert second - first == interval


@given(st.timedeltas(timedelta(0), timedelta(days=36525)))
def test_durations_read_as_they_are_written(duration):
    duration -= duration % timedelta(milliseconds=1)
    assert parse_duration(format_duration(duration)) == duration
    assert re.fullmatch(r"(\d+(d|h|m|s|ms))+", format_duration(duration))
