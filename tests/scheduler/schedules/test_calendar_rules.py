"""Repeated days of calendars, and effects of clock changes, by tables."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from targcc_scheduler.schedules.calendar_entries import DayRule
from targcc_scheduler.schedules.calendars import calendar_of
from targcc_scheduler.schedules.cron import MAX_LENGTH, CronSchedule
from targcc_scheduler.schedules.dst import Kind, clock_changes, effect_of
from targcc_scheduler.schedules.errors import CronError
from targcc_scheduler.schedules.ics import Repetition
from targcc_scheduler.schedules.intervals import EverySchedule

WEDNESDAY = date(2026, 1, 7)
BERLIN = ZoneInfo("Europe/Berlin")
SPRING, AUTUMN = datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 10, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("repetition", "days"),
    [
        (Repetition("DAILY"), "01-07 01-08 01-09 01-10"),
        (Repetition("DAILY", interval=3), "01-07 01-10 01-13 01-16"),
        (Repetition("WEEKLY"), "01-07 01-14 01-21 01-28"),
        (Repetition("WEEKLY", interval=2), "01-07 01-21 02-04 02-18"),
        # Weeks begin on Monday: the Monday after the first Wednesday is in the next week.
        (Repetition("WEEKLY", interval=2, weekdays=((None, 0),)), "01-07 01-19 02-02 02-16"),
        (Repetition("WEEKLY", interval=2, weekdays=((None, 4),)), "01-07 01-09 01-23 02-06"),
        (Repetition("MONTHLY"), "01-07 02-07 03-07 04-07"),
        (Repetition("MONTHLY", interval=5), "01-07 06-07 11-07"),
        (Repetition("MONTHLY", month_days=(-1,)), "01-07 01-31 02-28 03-31"),
        (Repetition("MONTHLY", month_days=(1, 15)), "01-07 01-15 02-01 02-15"),
        (Repetition("MONTHLY", weekdays=((2, 1),)), "01-07 01-13 02-10 03-10"),
        (Repetition("MONTHLY", weekdays=((-1, 4),)), "01-07 01-30 02-27 03-27"),
        (Repetition("MONTHLY", month_days=(13,), weekdays=((None, 4),)), "01-07 02-13 03-13 11-13"),
        (Repetition("YEARLY"), "01-07"),
        (Repetition("YEARLY", months=(2, 4)), "01-07 02-07 04-07"),
        (Repetition("YEARLY", weekdays=((1, 3),)), "01-07"),
        (Repetition("YEARLY", weekdays=((2, 3),)), "01-07 01-08"),
        (Repetition("YEARLY", weekdays=((-1, 3),)), "01-07 12-31"),
        (Repetition("WEEKLY", count=2), "01-07 01-14"),
        (Repetition("WEEKLY", until=date(2026, 1, 21)), "01-07 01-14 01-21"),
    ],
)  # fmt: skip
def test_the_days_of_a_repetition(repetition, days):
    year = repetition.days(WEDNESDAY, WEDNESDAY, date(2027, 1, 1))
    assert [f"{day:%m-%d}" for day in year][:4] == days.split()


@pytest.mark.parametrize(
    ("nth", "days"), [(1, [1]), (2, [8]), (5, [29]), (-1, [29]), (None, [1, 8, 15, 22, 29])]
)
def test_the_nth_weekday_of_a_month(nth, days):
    rule = DayRule("Payday", weekday=3, nth=nth)  # October 2026 begins on a Thursday
    month = (date(2026, 10, day) for day in range(1, 32))
    assert [day.day for day in month if rule.falls_on(day)] == days


@pytest.mark.parametrize(
    ("schedule", "after", "kind", "words", "times"),
    [
        ("30 2 * * *", SPRING, Kind.MOVED, "it runs at 03:00", ["02:30"]),
        ("0 2 * * *", SPRING, Kind.MOVED, "it runs at 03:00", ["02:00"]),
        ("0 2,3 * * *", SPRING, Kind.SKIPPED, "it goes on at 03:00", ["02:00"]),
        ("*/30 * * * *", SPRING, Kind.SKIPPED, "it goes on at 03:00", ["02:00", "02:30"]),
        ("59 1 * * *", SPRING, None, "", []),
        ("0 3 * * *", SPRING, None, "", []),
        ("30 2 * * *", AUTUMN, Kind.ONCE, "it runs once, at the first 02:30", ["02:30"]),
        ("0,30 2 * * *", AUTUMN, Kind.ONCE, "it runs once, at the first 02:00 and 02:30", ["02:00", "02:30"]),
        ("*/30 * * * *", AUTUMN, Kind.TWICE, "it runs through both passes of the repeated time", ["02:00", "02:30"]),
        ("0 3 * * *", AUTUMN, None, "", []),
        ("2h", SPRING, Kind.SHIFTED, "its times are 1 hour later by the clock from then on", []),
        ("2h", AUTUMN, Kind.SHIFTED, "its times are 1 hour earlier by the clock from then on", []),
        ("30m", SPRING, None, "", []),
    ],
)  # fmt: skip
def test_the_effect_of_a_clock_change(schedule, after, kind, words, times):
    (change,) = clock_changes(BERLIN, after, after + timedelta(days=40))
    every = {"2h": timedelta(hours=2), "30m": timedelta(minutes=30)}.get(schedule)
    read = EverySchedule(every) if every else CronSchedule.parse(schedule)
    effect = effect_of(read, change, BERLIN)
    if kind is None:
        assert effect is None
    else:
        shown = [f"{moment:%H:%M}" for moment in effect.touched]
        assert (effect.kind, effect.words, shown) == (kind, words, times)


@pytest.mark.parametrize(("known", "named"), [([], "none"), (["a"], "a"), (["a", "b"], "a, b")])
def test_an_unknown_calendar_names_those_that_are_there(known, named):
    with pytest.raises(CronError) as caught:
        calendar_of("bank", {name: {} for name in known}, Path())
    assert caught.value.allowed == f"There are: {named}."


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("0 0 * * 0,2,4,6", "0 0 * * */2"),
        ("0 0 * * 1-5", "0 0 * * 1-5"),
        ("0 0-12 * * *", "0 0-12 * * *"),
        ("0,1,2 * * * *", "0-2 * * * *"),
        ("*/20 * * * *", "*/20 * * * *"),
    ],
)
def test_the_normal_form_is_short(text, normal):
    assert CronSchedule.parse(text).normal == normal


def test_the_error_of_a_long_text_points_at_its_beginning():
    with pytest.raises(CronError) as caught:
        CronSchedule.parse("*" * (MAX_LENGTH + 1))
    assert caught.value.column == 1
