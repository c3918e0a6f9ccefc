"""Fixed intervals, delays after a run and single dates."""

from datetime import datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from targcc_scheduler.schedules.errors import CronError
from targcc_scheduler.schedules.intervals import (
    AfterCompletionSchedule,
    AfterStartSchedule,
    EverySchedule,
    OnceSchedule,
)
from targcc_scheduler.schedules.words import parse_duration

BERLIN = "Europe/Berlin"
at = datetime.fromisoformat


def test_an_interval_counts_elapsed_time_through_a_clock_change():
    schedule = EverySchedule(timedelta(minutes=90), at("2026-03-29T00:00+01:00"))
    runs = islice(schedule.iter(at("2026-03-29T00:00+01:00"), BERLIN), 3)
    assert [f"{run:%H:%M%z}" for run in runs] == ["01:30+0100", "04:00+0200", "05:30+0200"]


def test_an_interval_of_whole_days_keeps_its_wall_clock_time():
    anchor = datetime(2026, 3, 26, 2, 30)  # noqa: DTZ001 - in the schedule's own zone
    schedule = EverySchedule(timedelta(days=1), anchor)
    runs = islice(schedule.iter(at("2026-03-28T00:00+01:00"), BERLIN), 3)
    assert [f"{run:%d %H:%M%z}" for run in runs] == [
        "28 02:30+0100",
        "29 03:00+0200",
        "30 02:30+0200",
    ]
    in_autumn = schedule.between(at("2026-10-25T00:00+02:00"), at("2026-10-26T00:00+01:00"), BERLIN)
    assert list(in_autumn) == [at("2026-10-25T02:30+02:00")]


def test_an_interval_begins_at_its_anchor():
    anchor = at("2026-06-01T12:00+00:00")
    schedule = EverySchedule(timedelta(hours=36), anchor)
    assert schedule.next(at("2026-01-01T00:00+00:00"), "UTC") == anchor
    assert schedule.next(anchor, "UTC", inclusive=True) == anchor
    assert schedule.next(anchor, "UTC") == at("2026-06-03T00:00+00:00")
    assert schedule.previous(anchor, "UTC") is None


def test_an_interval_without_an_anchor_is_aligned_to_midnight():
    schedule = EverySchedule(timedelta(minutes=15))
    assert schedule.next(at("2026-07-01T10:07+02:00"), BERLIN) == at("2026-07-01T10:15+02:00")
    weekly = EverySchedule(timedelta(days=7))
    assert f"{weekly.next(at('2026-07-01T10:07+02:00'), BERLIN):%a %H:%M}" == "Mon 00:00"


def test_a_delay_counts_from_the_end_of_the_previous_run():
    schedule = AfterCompletionSchedule(timedelta(minutes=5))
    ended = at("2026-03-29T01:58+01:00")
    assert schedule.next(ended, BERLIN) == at("2026-03-29T03:03+02:00")
    assert schedule.previous(ended, BERLIN) is None


def test_once_is_once():
    local = datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001 - in the schedule's own zone
    schedule, moment = OnceSchedule(local), at("2026-03-29T03:00+02:00")
    assert list(schedule.iter(at("2026-01-01T00:00+01:00"), BERLIN)) == [moment]
    assert schedule.next(moment, BERLIN) is None
    assert schedule.next(moment, BERLIN, inclusive=True) == moment
    assert schedule.previous(at("2027-01-01T00:00+01:00"), BERLIN) == moment
    assert schedule.previous(moment, BERLIN) is None


def test_intervals_in_words():
    anchor = at("2026-01-01T08:00+00:00")
    assert EverySchedule(parse_duration("90m")).describe() == "every 1 hour and 30 minutes"
    assert EverySchedule(parse_duration("1h")).describe() == "every hour"
    assert (
        EverySchedule(parse_duration("2d"), anchor).describe()
        == "every 2 days from 2026-01-01 08:00"
    )
    assert (
        AfterCompletionSchedule(parse_duration("5m")).describe()
        == "5 minutes after the previous run ends"
    )
    assert OnceSchedule(anchor).describe() == "once, at 2026-01-01 08:00"
    assert str(EverySchedule(parse_duration("90m"))) == "every 1h30m"
    assert str(AfterCompletionSchedule(parse_duration("5m"))) == "every 5m after completion"
    start = AfterStartSchedule(parse_duration("5m"))
    assert start.describe() == "5 minutes after the previous run starts"
    assert str(start) == "every 5m after start"
    assert str(OnceSchedule(anchor)) == "at 2026-01-01T08:00+00:00"


def test_an_interval_of_nothing_is_refused():
    with pytest.raises(CronError, match="one second at least"):
        EverySchedule(timedelta(milliseconds=500))
    with pytest.raises(CronError, match="longer than nothing"):
        AfterCompletionSchedule(timedelta(0))
    with pytest.raises(CronError, match="longer than nothing"):
        AfterStartSchedule(timedelta(0))


@pytest.mark.parametrize(
    ("kind", "minutes", "due"),
    [
        (AfterCompletionSchedule, 3, "2026-06-10T12:13+00:00"),
        (AfterStartSchedule, 3, "2026-06-10T12:10+00:00"),
        (AfterStartSchedule, 25, "2026-06-10T12:25+00:00"),
    ],
)
def test_what_follows_a_run_is_counted_from_its_end_or_its_start(kind, minutes, due):
    started = at("2026-06-10T12:00+00:00")
    ended = started + timedelta(minutes=minutes)
    next_run = kind(timedelta(minutes=10)).following(started, ended, "Europe/London")

    assert next_run == at(due)
    assert next_run.utcoffset() == timedelta(hours=1)


@pytest.mark.parametrize(
    ("every", "anchor", "night", "expected"),
    [
        # whole days keep the clock time: a skipped time runs right after the gap, a repeated time at its first occurrence
        ("3d", "2027-03-23T02:30", "2027-03-23", ["23 02:30 +0200", "26 03:00 +0300", "29 02:30 +0300"]),
        ("3d", "2027-10-28T01:30", "2027-10-28", ["28 01:30 +0300", "31 01:30 +0300", "03 01:30 +0200"]),
        # hours are elapsed time
        ("7h", "2027-03-25T20:00", "2027-03-25", ["25 20:00 +0200", "26 04:00 +0300", "26 11:00 +0300"]),
        ("7h", "2027-10-30T20:00", "2027-10-30", ["30 20:00 +0300", "31 02:00 +0200", "31 09:00 +0200"]),
    ],
)  # fmt: skip
def test_an_anchored_interval_in_the_night_when_the_clock_changes(every, anchor, night, expected):
    schedule = EverySchedule(parse_duration(every), datetime.fromisoformat(anchor))
    zone = ZoneInfo("Asia/Jerusalem")
    runs = islice(schedule.iter(datetime.fromisoformat(night).replace(tzinfo=zone), zone), 3)

    assert [f"{run:%d %H:%M %z}" for run in runs] == expected
