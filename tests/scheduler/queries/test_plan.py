"""Upcoming runs: totals over thousands of schedules equal the slots of each schedule."""

import dataclasses
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from targcc_scheduler.features.timeline.upcoming import coming_nights, grouped, nights, planned
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.jobs.definition import JobDefinition
from targcc_scheduler.schedules.cron import CronSchedule
from targcc_scheduler.schedules.dst import Kind
from timed import timed

BERLIN, JERUSALEM = "Europe/Berlin", "Asia/Jerusalem"
DAY = timedelta(days=1)
NIGHTS = {  # the clock changes of 2027
    BERLIN: (datetime(2027, 3, 28, 1, tzinfo=UTC), datetime(2027, 10, 31, 1, tzinfo=UTC)),
    JERUSALEM: (datetime(2027, 3, 26, 0, tzinfo=UTC), datetime(2027, 10, 30, 23, tzinfo=UTC)),
}
TEXTS = (
    "0 2 * * *",
    "30 2 * * *",
    "0 3 * * *",
    "*/15 * * * *",
    "*/7 2-4 * * *",
    "30 * * * *",
    "0 0 * * 0",
    "15 23 L * *",
    "5 0,12 * * 1-5",
    "10,40 30 2 * * *",
    "59 59 23 * * *",
    "*/30 * 2 * * *",
)
INTERVALS = ("15m", "90m", "11m", "1d", "7h")


def work() -> None:
    """A job's work."""


def job(name: str, schedule: str | None = None, zone: str = BERLIN, **more: Any) -> JobDefinition:
    return define(work, schedule, name=name, timezone=zone, **more)


def every_kind(zone: str) -> list[JobDefinition]:
    jobs = [job(f"{zone} {text}", text, zone) for text in TEXTS]
    jobs += [job(f"{zone} every {text}", None, zone, every=text) for text in INTERVALS]
    once = job(f"{zone} once", None, zone, at="2027-03-28T02:30")
    return [*jobs, job(f"{zone} 30 2 again", "30 2 * * *", zone), once]


def test_what_is_added_up_is_what_each_schedule_says_also_when_clocks_change():
    """Cover both nights of two zones and a zone without clock changes.

    The view starts off the full hour, in a zone with a half-hour offset.
    """
    for zone, changes in NIGHTS.items():
        jobs = [*every_kind(zone), *every_kind("Asia/Kolkata")]
        for change in changes:
            start, end = change - timedelta(hours=20, minutes=23), change + timedelta(hours=6)
            counted = planned(grouped(jobs), start, end, listed=24)
            minutes, hours = defaultdict(list), Counter()
            for entry in jobs:
                slots = list(entry.schedule.between(start, end, entry.timezone))
                base = start.replace(minute=0)
                hours.update((slot - base) // timedelta(hours=1) for slot in slots)
                if entry.name in counted.frequent:
                    assert counted.frequent[entry.name] == len(slots), entry.name
                    continue
                for slot in slots:
                    minutes[slot.astimezone(UTC).replace(second=0)].append(entry.name)
            assert {entry.at: entry.jobs for entry in counted.in_order()} == {
                at: tuple(sorted(names)) for at, names in minutes.items()
            }
            assert counted.hours == [hours[n] for n in range(len(counted.hours))]
    assert {name.partition(" ")[2] for name in counted.frequent} == {
        "*/15 * * * *",
        "*/7 2-4 * * *",
        "*/30 * 2 * * *",
        "every 15m",
        "every 11m",
    }


def test_crowded_minutes_are_named_with_the_frequent_jobs_that_fall_on_them():
    jobs = [job(f"Night{n:02}", "0 2 * * *") for n in range(14)]
    jobs += [job("Often", "*/10 * * * *"), job("Seldom", "1 2 * * *"), job("Even", every="5m")]
    start = datetime(2026, 11, 25, tzinfo=UTC)
    [crowd] = planned(grouped(jobs), start, start + DAY, listed=24).crowds()
    assert crowd.at == datetime(2026, 11, 25, 1, tzinfo=UTC)
    assert (len(crowd.jobs), crowd.frequent, crowd.number) == (14, 2, 16)


def test_jobs_that_begin_later_or_count_from_their_runs():
    start = datetime(2026, 11, 25, tzinfo=UTC)
    jobs = [job("Later", "0 * * * *"), job("Chain", every="1h", after="completion")]
    counted = planned(
        grouped(jobs), start, start + DAY, listed=24, later={"Later": start + DAY / 2}
    )
    assert [minute.at.hour for minute in counted.in_order()] == list(range(12, 24))
    assert counted.after_run == ["Chain"]


def test_both_nights_say_what_becomes_of_each_job():
    for zone, (spring, autumn) in NIGHTS.items():
        jobs = every_kind(zone)
        result = nights(
            grouped(jobs), datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
        )
        assert [night.change.at for night in result] == [spring, autumn]
        forward, back = (
            {entry.job.removeprefix(f"{zone} "): entry.effect for entry in night.jobs}
            for night in result
        )
        repeated = "30 1 * * *" if zone == JERUSALEM else "30 2 * * *"
        assert forward["30 2 * * *"].kind is Kind.MOVED
        assert forward["30 2 * * *"].words == "it runs at 03:00"
        assert forward["30 * * * *"].kind is Kind.MOVED
        assert forward["*/15 * * * *"].kind is Kind.SKIPPED
        assert len(forward["*/15 * * * *"].touched) == 4
        assert forward["every 90m"].kind is Kind.SHIFTED
        assert "0 3 * * *" not in forward
        assert back["*/15 * * * *"].kind is Kind.TWICE
        [again] = nights(grouped([job("A", repeated, zone)]), spring, autumn + DAY)[1:]
        assert [(entry.effect.kind, entry.effect.words) for entry in again.jobs] == [
            (Kind.ONCE, f"it runs once, at the first 0{repeated[3]}:30")
        ]
        assert {night.change.at for night in coming_nights(grouped(jobs), spring)} >= {autumn}


@pytest.mark.slow
def test_ten_thousand_schedules_are_added_up_in_a_third_of_what_asking_each_takes():
    first = job("First", "0 2 * * *")
    jobs = [
        dataclasses.replace(
            first,
            name=f"Job{n}",
            schedule=CronSchedule.parse(f"{n % 60} {n // 60 % 24} * * *"),
            timezone=(BERLIN, JERUSALEM, "UTC")[n % 3],
        )
        for n in range(10_000)
    ]
    start = datetime(2026, 11, 23, 10, tzinfo=UTC)
    end = start + 7 * DAY

    def ask_each() -> int:
        return sum(
            1
            for definition in jobs[::10]
            for _ in definition.schedule.between(start, end, definition.timezone)
        )

    added, separate = timed(
        lambda: sum(planned(grouped(jobs), start, end, listed=24).hours)
    ), timed(ask_each)
    assert (added[0], separate[0]) == (70_000, 7_000)
    assert added[1] < separate[1] * 10 / 3
