"""Convert TARGCC 4 schedule types: the meaning of each column, and the column that starts a cycle."""

from datetime import datetime, timedelta

import pytest
from targcc_scheduler.schedules.classic import ClassicScheduleError, ClassicTimes, classic_schedule

NOW = datetime(2026, 11, 25, 9, 30, 12)  # noqa: DTZ001 - the old server's wall clock, as all here
WHEN = datetime(2024, 3, 6, 2, 30, 59)  # noqa: DTZ001 - a Wednesday
NEXT = datetime(2026, 11, 27, 5, 10)  # noqa: DTZ001
LAST = datetime(2026, 11, 24, 23, 59)  # noqa: DTZ001
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def options(kind, when=WHEN, count=None, next_run=None, *, weekly="every-day"):
    times = ClassicTimes(kind, when, count, next_run)
    return classic_schedule(times, now=NOW, weekly=weekly).options()


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (("Daily",), {"cron": "30 2 * * *"}),
        (("daily", None), {"cron": "0 0 * * *"}),
        (("Weekly",), {"cron": "30 2 * * *"}),
        (("Monthly",), {"cron": "30 2 6 * *"}),
        (("Monthly", WHEN.replace(day=30)), {"cron": "30 2 30 * *"}),
        (("Monthly", WHEN.replace(day=31)), {"cron": "30 2 L * *"}),
        (("Annually",), {"cron": "30 2 6 MAR *"}),
        (("CyclicDay", WHEN, 1), {"cron": "30 2 * * *"}),
        (("CyclicDay", WHEN, 3, NEXT), {"every": 3 * DAY, "anchor": NEXT.replace(hour=2, minute=30)}),
        (("CyclicHour", WHEN, 1), {"cron": "30 * * * *"}),
        (("CyclicHour", WHEN, 6, NEXT), {"cron": "30 5,11,17,23 * * *"}),
        (("CyclicHour", WHEN, 7, NEXT), {"every": 7 * HOUR, "anchor": NEXT.replace(minute=30)}),
        (("CyclicMin", WHEN, 5), {"every": timedelta(minutes=5), "after": "start"}),
        (("CyclicSec", WHEN, 5), {"every": timedelta(seconds=5), "after": "start"}),
        (("OneOff", WHEN, None, NEXT), {"at": NEXT}),
        (("OneOff", WHEN), {}),
        (("OneOff", WHEN, None, NEXT.replace(year=9999)), {}),
    ],
)  # fmt: skip
def test_each_kind_has_its_nearest_schedule(row, found):
    assert options(*row) == found


@pytest.mark.parametrize("weekly", ["as-meant", "repaired"])
def test_weekly_keeps_its_weekday_where_the_owner_says_so(weekly):
    assert options("Weekly", weekly=weekly) == {"cron": "30 2 * * WED"}


@pytest.mark.parametrize(
    ("times", "column", "day"),
    [
        (ClassicTimes("CyclicDay", WHEN, 3, NEXT, LAST), "NextRunTime", NEXT.day),
        (ClassicTimes("CyclicDay", WHEN, 3, None, LAST), "LastRunTime", LAST.day),
        (ClassicTimes("CyclicDay", WHEN, 3), "WhenToRun", WHEN.day),
        (ClassicTimes("CyclicDay", None, 3), "now", NOW.day),
    ],
)
def test_a_cycle_is_counted_from_the_next_run_where_that_is_known(times, column, day):
    schedule = classic_schedule(times, now=NOW)

    assert (schedule.counted_from, schedule.anchor.day) == (column, day)


@pytest.mark.parametrize(
    ("kind", "count", "words"),
    [
        ("UD", None, 'enmJobType "UD" is no kind'),
        ("", None, "enmJobType NULL is no kind"),
        ("CyclicMin", None, "CyclicCount is NULL"),
        ("CyclicHour", -2, "CyclicCount is -2"),
        ("CyclicDay", 40_000, "more than a hundred years"),
    ],
)
def test_what_the_old_runner_could_not_run_is_refused_in_words(kind, count, words):
    with pytest.raises(ClassicScheduleError, match=words):
        options(kind, WHEN, count)
