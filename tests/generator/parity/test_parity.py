"""Whether each job runs when it used to, and if not, when and why it parts for the first time."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from c_job_rows import classic_row, cron_row
from targcc_gen.parity import compare
from targcc_gen.parity.compare import differences


def kinds(result):
    return [
        (one.kind, one.at.astimezone(result.options.zone).strftime("%Y-%m-%d %H:%M"))
        for one in differences(result)
    ]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 4 * * *", []),
        ("*/5 * * * *", []),
        ("30 2 * * *", [("spring", "2027-03-26 03:00")]),
        ("30 1 * * *", [("autumn", "2027-10-31 01:30")]),
        ("0 4 1 * 1", [("day and weekday", "2026-11-30 04:00")]),
        ("0 4 1 * *", []),
        ("*/10 0 4 * * *", [("seconds", "2026-11-25 04:00")]),
    ],
)
def test_parity_names_the_first_moment_at_which_old_and_new_part(bring, cron, expected):
    assert kinds(bring(cron_row(cron=cron))) == expected


@pytest.mark.parametrize(
    ("cron", "old", "new"),
    [
        (
            "30 2 * * *",
            "nothing at 02:30: on Fri 26 Mar 2027 clocks jump from 02:00 to 03:00",
            "runs at 03:00, right after the gap",
        ),
        (
            "30 1 * * *",
            "ran a second time at 01:30: on Sun 31 Oct 2027 clocks go back from 02:00 to 01:00",
            "runs once, at the first 01:30",
        ),
    ],
)
def test_parity_says_what_happens_in_the_night_when_clocks_change(bring, cron, old, new):
    (found,) = differences(bring(cron_row(cron=cron)))

    assert (found.old, found.new) == (old, new)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (classic_row("Daily", when="2024-03-06T04:00:00"), []),
        (classic_row("Weekly", when="2024-03-06T04:00:00"), [("calendar", "2026-11-26 04:00")]),
        (classic_row("Monthly", when="2024-01-15T04:00:00"), []),
        (classic_row("Monthly", when="2024-01-31T04:00:00"), [("calendar", "2026-11-30 04:00")]),
        (classic_row("Annually", when="2024-05-15T04:00:00"), []),
        (classic_row("Annually", when="2024-02-29T04:00:00"), [("calendar", "2027-02-28 04:00")]),
        (classic_row("CyclicMin", count=5), []),
    ],
)
def test_parity_knows_the_calendar_of_the_classic_runner(bring, row, expected):
    assert kinds(bring(row)) == expected


def test_without_clock_changes_nothing_differs(bring):
    assert kinds(bring(cron_row(cron="30 1 * * *"), zone=ZoneInfo("Asia/Tokyo"))) == []
    assert compare.horizon(datetime(2026, 1, 31, tzinfo=UTC)) == datetime(2027, 2, 28, tzinfo=UTC)
