"""Compare the run times of each job before and after the import; report the first difference and its reason."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from c_job_rows import classic_row, cron_row
from targcc_gen.parity import compare
from targcc_gen.parity.compare import differences


def kinds(result):
    return [
        (difference.kind, difference.at.astimezone(result.options.zone).strftime("%Y-%m-%d %H:%M"))
        for difference in differences(result)
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
    (difference,) = differences(bring(cron_row(cron=cron)))

    assert (difference.old, difference.new) == (old, new)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (classic_row("Daily", when="2024-03-06T04:00:00"), []),
        (classic_row("Daily", when="2024-03-06T02:30:00"), []),
        (classic_row("Daily", when="2024-03-06T01:30:00"), []),
        (classic_row("Weekly", when="2024-03-06T04:00:00"), []),
        (classic_row("Monthly", when="2024-01-15T04:00:00"), []),
        (
            classic_row("Monthly", when="2024-01-31T04:00:00", NextRunTime="'2026-11-30T04:00:00'"),
            [("month end", "2026-11-30 04:00")],
        ),
        (
            classic_row("Monthly", when="2024-01-30T04:00:00", NextRunTime="'2026-11-30T04:00:00'"),
            [("calendar", "2027-02-28 04:00"), ("month end", "2027-02-28 04:00")],
        ),
        (classic_row("Annually", when="2024-05-15T04:00:00"), []),
        (classic_row("Annually", when="2024-02-29T04:00:00"), []),
        (
            classic_row("Annually", when="2024-02-29T04:00:00", NextRunTime="'2027-02-28T04:00:00'"),
            [("next run", "2027-02-28 04:00"), ("month end", "2027-02-28 04:00")],
        ),
        (classic_row("CyclicDay", count=3, when="2024-03-06T02:30:00", NextRunTime="'2026-11-26T02:30:00'"), []),
        (
            classic_row("CyclicDay", count=3, when="2024-03-06T02:30:00", NextRunTime="'2026-11-26T07:11:00'"),
            [("next run", "2026-11-26 02:30")],
        ),
        (classic_row("CyclicHour", count=1), [("autumn", "2027-10-31 01:30")]),
        (classic_row("CyclicHour", count=3, NextRunTime="'2026-11-25T04:30:00'"), []),
        (
            classic_row("CyclicHour", count=3, NextRunTime="'2026-11-25T05:30:00'"),
            [("spring", "2027-03-26 03:30")],
        ),
        (
            classic_row("CyclicHour", count=5, NextRunTime="'2026-11-25T05:30:00'"),
            [("spring", "2027-03-26 06:30")],
        ),
        (classic_row("CyclicMin", count=5), [("spring", "2027-03-26 03:00"), ("autumn", "2027-10-31 01:00")]),
        (classic_row("OneOff", NextRunTime="'2027-01-25T08:00:00'"), []),
        (classic_row("OneOff", when="2027-02-01T08:00:00"), [("calendar", "2027-02-25 08:00")]),
        (classic_row("Daily", IsManaged="NULL"), []),
        (classic_row("Daily", NextRunTime="'2026-11-27T02:30:00'"), [("next run", "2026-11-26 02:30")]),
    ],
)  # fmt: skip
def test_parity_knows_the_calendar_of_the_classic_runner(bring, row, expected):
    assert kinds(bring(row)) == expected


@pytest.mark.parametrize(
    ("weekly", "expected"),
    [
        ("every-day", []),
        ("as-meant", [("calendar", "2026-11-26 04:00")]),
        ("repaired", []),
    ],
)
def test_weekly_is_compared_with_what_the_owner_says_the_runner_did(bring, weekly, expected):
    row = classic_row("Weekly", when="2024-03-06T04:00:00")

    assert kinds(bring(row, weekly=weekly)) == expected


@pytest.mark.parametrize("cron", ["30 2 * * *", "30 1 * * *", "15,45 1,2 * * *"])
def test_a_server_that_computes_next_run_does_as_this_scheduler_in_a_clock_change_night(
    bring, cron
):
    assert kinds(bring(cron_row(cron=cron)))
    assert not kinds(bring(cron_row(cron=cron), polling="next-run"))


def test_a_server_that_computes_next_run_stands_still_in_the_repeated_hour(bring):
    result = bring(cron_row(cron="*/30 * * * *"), polling="next-run")

    assert kinds(result) == [("autumn", "2027-10-31 01:00")]


def test_without_clock_changes_nothing_differs(bring):
    assert kinds(bring(cron_row(cron="30 1 * * *"), zone=ZoneInfo("Asia/Tokyo"))) == []
    assert compare.horizon(datetime(2026, 1, 31, tzinfo=UTC)) == datetime(2027, 2, 28, tzinfo=UTC)
