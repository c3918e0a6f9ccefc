"""Differences reported for nights of clock changes, and for other schedulers."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from targcc_gen.parity.readings import differences, read_as
from targcc_scheduler.schedules.cron import CronSchedule
from targcc_scheduler.schedules.dst import clock_changes, notes_on
from targcc_scheduler.schedules.errors import CronError
from targcc_scheduler.schedules.intervals import EverySchedule, OnceSchedule
from targcc_scheduler.schedules.words import parse_duration

START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
BERLIN = ZoneInfo("Europe/Berlin")
SPRING = "on Sun 29 Mar 2026 clocks jump from 02:00 to 03:00: "
AUTUMN = "on Sun 25 Oct 2026 clocks go back from 03:00 to 02:00: "


def notes(text, zone="Europe/Berlin"):
    return notes_on(CronSchedule.parse(text), zone, START, YEAR)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 5 * * *", []),
        ("30 2 * * *", [SPRING + "it runs at 03:00", AUTUMN + "it runs once, at the first 02:30"]),
        ("30 2 * 3 *", [SPRING + "it runs at 03:00"]),
        ("30 2 * * 1", []),
        (
            "30 * * * *",
            [
                SPRING + "it runs at 03:00",
                AUTUMN + "it runs through both passes of the repeated time",
            ],
        ),
        (
            "*/5 * * * *",
            [
                SPRING + "it goes on at 03:00",
                AUTUMN + "it runs through both passes of the repeated time",
            ],
        ),
        (
            "0,15 2 * * *",
            [SPRING + "it runs at 03:00", AUTUMN + "it runs once, at the first 02:00 and 02:15"],
        ),
        ("0,1,2,3 2 25 10 *", [AUTUMN + "it runs once, in the first pass of the repeated time"]),
    ],
)
def test_a_note_says_what_happens_on_the_night(text, expected):
    assert notes(text) == expected


def test_a_note_is_right_where_the_change_is_not_an_hour_or_not_at_night():
    assert notes("15 2 * * *", "Australia/Lord_Howe") == [
        "on Sun 04 Oct 2026 clocks jump from 02:00 to 02:30: it runs at 02:30",
    ]
    day = notes_on(
        CronSchedule.parse("0 12 * * *"),
        "Pacific/Apia",
        datetime(2011, 12, 1, tzinfo=UTC),
        YEAR / 12,
    )
    assert day == [
        "on Fri 30 Dec 2011 clocks jump from Fri 30 Dec 00:00 to Sat 31 Dec 00:00: it runs at 00:00"
    ]


def test_intervals_and_single_dates_have_their_notes():
    def of(schedule):
        return notes_on(schedule, BERLIN, START, YEAR)

    assert of(EverySchedule(parse_duration("15m"))) == []
    assert of(EverySchedule(parse_duration("6h"))) == [
        SPRING + "its times are 1 hour later by the clock from then on",
        AUTUMN + "its times are 1 hour earlier by the clock from then on",
    ]
    wall_clock = datetime(2026, 1, 1, 2, 30)  # noqa: DTZ001 - in the schedule's own zone
    assert of(EverySchedule(parse_duration("1d"), wall_clock)) == [
        SPRING + "it runs at 03:00",
        AUTUMN + "it runs once, at the first 02:30",
    ]
    assert of(OnceSchedule(wall_clock.replace(month=3, day=29))) == [SPRING + "it runs at 03:00"]


def test_clock_changes_are_found_to_the_second():
    changes = list(clock_changes(BERLIN, START, START + YEAR))
    assert [change.at for change in changes] == [
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        datetime(2026, 10, 25, 1, tzinfo=UTC),
    ]
    assert [change.size for change in changes] == [timedelta(hours=1), timedelta(hours=-1)]
    odd = list(
        clock_changes(
            ZoneInfo("Africa/Monrovia"),
            datetime(1972, 1, 1, tzinfo=UTC),
            datetime(1972, 2, 1, tzinfo=UTC),
        )
    )
    assert [change.at for change in odd] == [datetime(1972, 1, 7, 0, 44, 30, tzinfo=UTC)]


def witnesses(text, dialect, zone=BERLIN, count=3):
    all_differences = differences(
        CronSchedule.parse(text), read_as(text, dialect), zone, START, START + 2 * YEAR
    )
    return [f"{d.moment:%a %Y-%m-%d %H:%M} {d.only}" for d in islice(all_differences, count)]


@pytest.mark.parametrize(
    ("text", "dialect", "expected"),
    [
        # vixie runs on either day; a Friday the 13th matches both
        (
            "0 0 13 * 5",
            "vixie",
            [
                "Fri 2026-01-02 00:00 vixie",
                "Fri 2026-01-09 00:00 vixie",
                "Tue 2026-01-13 00:00 vixie",
            ],
        ),
        ("0 0 */13 * 5", "vixie", []),
        ("0 2 * * *", "vixie", []),
        # a star in vixie's minute or hour follows the real clock: runs in the gap are lost
        ("30 * * * *", "vixie", ["Sun 2026-03-29 03:00 cronos", "Sun 2027-03-28 03:00 cronos"]),
        # a range is not a star to vixie: the hour does not run twice in autumn
        ("0 1-3 * * *", "vixie", ["Sun 2026-10-25 02:00 cronos", "Sun 2027-10-31 02:00 cronos"]),
        (
            "0 0 2 ? * 2",
            "quartz",
            [
                "Mon 2026-01-05 02:00 quartz",
                "Tue 2026-01-06 02:00 cronos",
                "Mon 2026-01-12 02:00 quartz",
            ],
        ),
        ("0 22-23,0 * * *", "ncrontab", []),
        (
            "0 23-1 * * *",
            "ncrontab",
            [
                "Thu 2026-01-01 02:00 ncrontab",
                "Thu 2026-01-01 03:00 ncrontab",
                "Thu 2026-01-01 04:00 ncrontab",
            ],
        ),
    ],
)
def test_the_first_times_at_which_another_scheduler_differs(text, dialect, expected):
    assert witnesses(text, dialect) == expected


def test_both_schedulers_of_an_either_day_are_said_in_words():
    reading = read_as("0 0 13 * 5", "vixie")
    assert reading.describe() == "at 00:00 on the 13th of every month, or at 00:00 every Friday"


@pytest.mark.parametrize(
    ("text", "dialect"),
    [("0 0 13 * 9", "vixie"), ("0 0 2 1 * 1", "quartz"), ("0 0 L * 5", "vixie")],
)
def test_what_the_other_scheduler_refuses_is_refused(text, dialect):
    with pytest.raises(CronError):
        read_as(text, dialect)
