"""Run and missed slots after downtimes of any length."""

from datetime import UTC, datetime, timedelta

import pytest
from projects import RIG
from targcc_scheduler import job
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.node.recurring import MOST_MISSED, MOST_RUNS, due_slots
from timed import timed

NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _job(cron="* * * * *", **options):
    return define(lambda: None, cron, **{"name": "Report", "timezone": "UTC", **options})


def _minutes_before_noon(*minutes):
    return tuple(NOON - minute * MINUTE for minute in minutes)


def test_nothing_is_due_between_slots():
    assert due_slots(_job(), NOON, NOON + timedelta(seconds=59)) is None


def test_a_slot_that_has_come_runs():
    due = due_slots(_job(), NOON - MINUTE, NOON)
    assert (due.run, due.missed, due.last) == ((NOON,), (), NOON)


def test_run_once_runs_the_newest_and_records_the_others():
    due = due_slots(_job(), NOON - 4 * MINUTE, NOON + timedelta(seconds=30))
    assert due.run == (NOON,)
    assert due.missed == _minutes_before_noon(3, 2, 1)


def test_run_all_runs_each():
    due = due_slots(_job(misfire="run_all"), NOON - 4 * MINUTE, NOON)
    assert due.run == _minutes_before_noon(3, 2, 1, 0)
    assert due.missed == ()


def test_skip_takes_a_slot_of_more_than_a_minute_ago_for_missed():
    due = due_slots(_job(misfire="skip"), NOON - 4 * MINUTE, NOON + timedelta(seconds=30))
    assert due.run == (NOON,)
    due = due_slots(_job("0 * * * *", misfire="skip"), NOON - MINUTE, NOON + 2 * MINUTE)
    assert (due.run, due.missed) == ((), (NOON,))


@pytest.mark.parametrize("misfire", ["run_once", "run_all", "skip"])
def test_a_slot_older_than_the_grace_is_missed_under_any_policy(misfire):
    hourly = _job("0 * * * *", misfire=misfire, misfire_grace="30m")
    due = due_slots(hourly, NOON - MINUTE, NOON + 31 * MINUTE)
    assert (due.run, due.missed) == ((), (NOON,))


def test_only_so_many_missed_slots_are_recorded_and_the_rest_is_counted():
    due = due_slots(_job(), NOON - 301 * MINUTE, NOON)
    assert len(due.missed) == MOST_MISSED
    assert due.missed[-1] == NOON - MINUTE
    assert (due.earlier, due.counted) == (200, True)


def test_run_all_goes_on_where_it_stopped():
    every_second = _job("* * * * * *", misfire="run_all")
    last, seen = NOON - timedelta(seconds=1200), []
    while due := due_slots(every_second, last, NOON):
        assert len(due.run) <= MOST_RUNS
        seen += due.run
        last = due.last
    assert len(seen) == len(set(seen)) == 1200


@pytest.mark.parametrize("misfire", ["run_once", "run_all", "skip"])
def test_a_year_of_downtime_of_a_job_of_every_second_costs_about_as_much_as_an_hour(misfire):
    every_second = _job("* * * * * *", misfire=misfire)
    hour, year = NOON - timedelta(hours=1), NOON - timedelta(days=365)
    _, of_ten_hours = timed(lambda: [due_slots(every_second, hour, NOON) for _ in range(10)], 1)
    due, of_a_year = timed(lambda: due_slots(every_second, year, NOON))
    assert of_a_year < of_ten_hours
    assert len(due.missed) == MOST_MISSED
    assert not due.counted
    assert due.earlier >= 1000


def test_the_decorator_says_the_same():
    @job("0 2 * * *", misfire="run_all", misfire_grace="2h")
    class ReportJob:
        def execute(self): ...

    assert ReportJob.__job__.complete(RIG).misfire == "run_all"
    assert ReportJob.__job__.complete(RIG).misfire_grace == timedelta(hours=2)


def test_without_a_limit_the_newest_slot_runs_however_late_it_is():
    monthly = _job("0 2 1 * *", misfire_grace="none")
    last, now = NOON - timedelta(days=200), NOON
    due = due_slots(monthly, last, now)

    assert [slot.isoformat() for slot in due.run] == ["2026-06-01T02:00:00+00:00"]
    assert len(due.missed) > 3
