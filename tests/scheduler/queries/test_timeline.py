"""Timeline, trend and heat map compared with figures computed row by row; on both databases."""

import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.engines import make_engine
from targcc_scheduler.db.tables import job_run, job_schedule, logged_job
from targcc_scheduler.features.timeline.bars import STATEMENTS_KEPT, _attempts
from targcc_scheduler.features.timeline.gantt import (
    MOST_DRAWN,
    MOST_ROWS,
    Gantt,
    Row,
    _unseen,
    gantt,
)
from targcc_scheduler.features.timeline.history import DayCounts, heat, trend
from targcc_scheduler.features.timeline.upcoming import grouped, plan
from targcc_scheduler.kernel import statistics
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.jobs.definition import JobDefinition
from targcc_scheduler.kernel.queries import sharing
from targcc_scheduler.kernel.runs.values import Ending

NOW = datetime(2026, 10, 26, 8, 5, tzinfo=UTC)  # the morning after a clock change
BERLIN = ZoneInfo("Europe/Berlin")
EVENING = datetime(2026, 10, 25, 20, tzinfo=UTC)


def work() -> None:
    """A job's work."""


def job(name: str, schedule: str, **more: Any) -> JobDefinition:
    return define(work, schedule, name=name, timezone="Europe/Berlin", **more)


JOBS = [
    job("Nightly", "30 0 * * *"),
    job("Hourly", "0 * * * *", queue="critical"),
    job("Often", "*/10 * * * *"),
    job("Morning", "0 10 * * *", queue="critical"),
    job("Forgotten", "15 7 * * *"),
]


@dataclass(frozen=True)
class Past:
    """One past run."""

    id: int
    job: str
    slot: datetime
    start: datetime | None
    end: datetime
    state: RunState
    attempts: int = 1

    @property
    def ms(self) -> int:
        return (self.end - (self.start or self.end)) // timedelta(milliseconds=1)


def past(days: int) -> Iterator[Past]:
    """Yield the runs of the last days, the same each time."""
    dice, number = random.Random(7), 0
    for definition in JOBS[:3]:
        assert definition.schedule is not None
        for slot in definition.schedule.between(
            NOW - timedelta(days=days), NOW, definition.timezone
        ):
            number += 1
            at, drawn = slot.astimezone(UTC), dice.random()
            state = RunState.SUCCEEDED
            if drawn < 0.15:
                state = RunState.FAILED if drawn < 0.1 else RunState.MISSED
            start = at + timedelta(seconds=round(dice.expovariate(0.2), 3))
            took = dice.lognormvariate(4, 0.5) * (9 if dice.random() < 0.03 else 1)
            end = start + timedelta(milliseconds=round(took * 1000))
            if state is RunState.MISSED:
                yield Past(number, definition.name, at, None, at, state, attempts=0)
            elif end < NOW:
                yield Past(number, definition.name, at, start, end, state)


async def write(db: AsyncConnection, every: list[Past]) -> None:
    base = {"JobType": "Recurring", "TriggeredBy": "System", "LifeLog": "", "Queue": "default"}
    rows = [
        {**base, "Id": entry.id, "JobName": entry.job, "State": entry.state, "DueAt": entry.slot, "CreatedAt": entry.slot}
        | {"ScheduledFor": entry.slot, "StartedAt": entry.start, "CompletedAt": entry.end, "Attempt": entry.attempts}
        for entry in every
    ]  # fmt: skip
    attempts = [
        {"JobName": entry.job, "JobId": str(entry.id), "JobType": "Recurring", "StartedAt": entry.start, "Attempt": 1}
        | {"CompletedAt": entry.end, "DurationMs": entry.ms, "ScheduledFor": entry.slot, "CreatedAt": entry.end}
        | {"Success": entry.state is RunState.SUCCEEDED}
        for entry in every
        if entry.start is not None
    ]  # fmt: skip
    await db.execute(job_run.insert(), rows)
    await db.execute(logged_job.insert(), attempts)
    endings = [
        Ending(
            job=entry.job,
            at=entry.start or entry.slot,
            outcome=entry.state,
            duration_ms=entry.ms if entry.state is RunState.SUCCEEDED else None,
        )
        for entry in every
    ]
    for shard in (0, 1):  # the counters of two nodes
        await statistics.add(db, endings[shard::2], shard=shard)
    handled = {"Forgotten": NOW - timedelta(days=2)}
    for entry in JOBS:
        last = handled.get(entry.name, NOW)
        await db.execute(job_schedule.insert().values(JobName=entry.name, LastSlot=last))


@pytest.fixture
async def db(migrated_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection to either database with the runs of the last days."""
    engine = make_engine(migrated_url)
    async with engine.connect() as connection, connection.begin() as transaction:
        await write(connection, list(past(3)))
        yield connection
        await transaction.rollback()
    await engine.dispose()


def rows_of(found: Gantt) -> dict[str, Row]:
    return {row.job: row for group in found.groups for row in group.rows}


@pytest.mark.slow
async def test_the_timeline_shows_each_run_of_the_night_and_what_comes(db: AsyncConnection):
    until = NOW + timedelta(hours=2)
    chart = await gantt(db, JOBS, NOW, since=EVENING, until=until)
    rows = rows_of(chart)
    here = [run for run in past(3) if EVENING <= (run.start or run.slot) < until]
    assert (chart.number, chart.others) == (len(here), 0)
    assert chart.bad == sum(run.state is not RunState.SUCCEEDED for run in here)
    for name in ("Nightly", "Hourly"):
        ran = [run for run in past(3) if run.job == name and run.start is not None]
        inside = [run for run in ran if run.end >= EVENING]
        assert [(bar.run, bar.start, bar.end, bar.state) for bar in rows[name].bars] == [
            (run.id, run.start, run.end, run.state) for run in inside
        ]
        assert [bar.lateness for bar in rows[name].bars] == [run.start - run.slot for run in inside if run.start]  # fmt: skip
        missed = [m.at for m in rows[name].marks if m.kind == "missed"]
        assert missed == [run.slot for run in here if run.job == name and run.start is None]
    often = [run for run in here if run.job == "Often"]
    assert not rows["Often"].bars
    assert sum(sum(block.ended.values()) for block in rows["Often"].blocks) == len(often)
    assert [(m.kind, m.at) for m in rows["Morning"].marks] == [
        ("coming", datetime(2026, 10, 26, 9, tzinfo=UTC))
    ]
    assert [(m.kind, m.at) for m in rows["Forgotten"].marks] == [
        ("late", datetime(2026, 10, 26, 6, 15, tzinfo=UTC))
    ]
    assert [group.queue for group in chart.groups] == ["critical", "default"]
    await _overlap(db)
    await _tried_again(db)
    await _more_than_is_drawn(db)
    await _thousands(db)


async def _overlap(db: AsyncConnection) -> None:
    """Overlapping bars have lanes and a peak."""
    values = {"JobName": "Both", "JobType": "Manual", "CreatedAt": NOW, "Success": True}
    for minute, took in ((0, 30), (10, 5), (12, 40), (30, 2)):
        start = EVENING + timedelta(minutes=minute)
        end = start + timedelta(minutes=took)
        await db.execute(logged_job.insert().values(**values, StartedAt=start, CompletedAt=end))
        await statistics.add(
            db, [Ending(job="Both", at=start, outcome=RunState.SUCCEEDED)], shard=0
        )
    chart = await gantt(db, JOBS, NOW, since=EVENING, until=NOW, job="Both")
    [group] = chart.groups
    [row] = group.rows
    assert (group.queue, group.peak, group.peak_at) == ("", 3, EVENING + timedelta(minutes=12))
    assert ([bar.lane for bar in row.bars], row.lanes) == ([0, 1, 2, 0], 3)
    assert row.bars[0].run is None


async def _tried_again(db: AsyncConnection) -> None:
    """An attempt with a later attempt is marked."""
    tried = {"JobName": "Nightly", "JobId": "999", "JobType": "Recurring", "CreatedAt": NOW}
    for attempt in (1, 2):
        start = EVENING + timedelta(hours=attempt)
        end = start + timedelta(minutes=1)
        row = {**tried, "StartedAt": start, "CompletedAt": end, "Attempt": attempt}
        await db.execute(logged_job.insert().values(**row, Success=False))
    chart = await gantt(db, JOBS, NOW, since=EVENING, until=NOW, job="Nightly")
    bars = [bar for bar in rows_of(chart)["Nightly"].bars if bar.planned is None]
    assert [bar.state for bar in bars] == [RunState.RETRYING, RunState.FAILED]


async def _more_than_is_drawn(db: AsyncConnection) -> None:
    """Of many jobs with many runs, the first jobs have bars and the rest have counts per time span."""
    since, names = EVENING - timedelta(days=9), [f"Busy{n}" for n in range(8)]
    at = [since + n * timedelta(minutes=50) for n in range(50)]
    values = {"JobType": "Recurring", "CreatedAt": NOW, "Success": True}
    rows = [{**values, "JobName": name, "StartedAt": n, "CompletedAt": n} for name in names for n in at]  # fmt: skip
    await db.execute(logged_job.insert(), rows)
    endings = [Ending(job=name, at=n, outcome=RunState.SUCCEEDED) for name in names for n in at]
    await statistics.add(db, endings, shard=0)
    chart = await gantt(db, JOBS, NOW, since=since, until=since + timedelta(days=2))
    busy = [row for name, row in rows_of(chart).items() if name in names]
    assert sorted(len(row.bars) for row in busy) == [0, 0, 0, 0, *[50] * (MOST_DRAWN // 50)]
    for row in busy[-4:]:
        assert sum(sum(block.ended.values()) for block in row.blocks) == row.number == len(at)
        for block in row.blocks:
            assert block.until - block.at == timedelta(hours=2)
            within = sum(block.at <= n < block.until for n in at)
            assert dict(block.ended) == {RunState.SUCCEEDED: within}


async def _thousands(db: AsyncConnection) -> None:
    """Of thousands of jobs, only failed jobs are drawn, up to a maximum."""
    good = [Ending(job=f"Job{n}", at=EVENING, outcome=RunState.SUCCEEDED) for n in range(999)]
    bad = Ending(job="Job999", at=EVENING, outcome=RunState.FAILED)
    await statistics.add(db, [*good, bad], shard=0)
    chart = await gantt(db, JOBS, NOW, since=EVENING, until=NOW)
    rows = [row for group in chart.groups for row in group.rows]
    assert len(rows) == MOST_ROWS
    assert "Job999" in {row.job for row in rows}
    assert chart.others == 1000 + len({"Nightly", "Hourly", "Often", "Both"}) - MOST_ROWS
    assert chart.others_number + sum(row.number for row in rows) == chart.number


async def test_requests_share_the_counts_of_a_large_project_for_some_seconds(
    db: AsyncConnection, monkeypatch: pytest.MonkeyPatch
):
    async def at(seconds: int, **asked: Any) -> int:
        later = NOW + timedelta(seconds=seconds)
        since = EVENING + timedelta(seconds=seconds)
        return (await gantt(db, JOBS, later, since=since, until=later, **asked)).number

    async def add() -> None:
        ending = Ending(job="Often", at=EVENING + timedelta(hours=1), outcome=RunState.FAILED)
        await statistics.add(db, [ending], shard=0)

    number = await at(0)
    monkeypatch.setattr(sharing, "LARGE", 1)
    assert await at(1) == number
    of_job = await at(1, job="Often")
    await add()
    assert await at(2) == await at(10) == number
    assert await at(2, job="Often") == of_job + 1
    assert await at(11) == number + 1


async def test_the_trend_says_what_the_runs_say(db: AsyncConnection):
    result = await trend(db, "Often", NOW, days=3, zone=BERLIN)
    by_day: dict[date, list[Past]] = defaultdict(list)
    for run in past(3):
        if run.job == "Often":
            by_day[(run.start or run.slot).astimezone(BERLIN).date()].append(run)
    assert [day.day for day in result.days] == [date(2026, 10, 24) + timedelta(days=n) for n in range(3)]  # fmt: skip
    for day in result.days:
        runs = by_day[day.day]
        states = Counter(run.state for run in runs)
        good = sorted(run.ms for run in runs if run.state is RunState.SUCCEEDED)
        late = sorted((run.start - run.slot) // timedelta(milliseconds=1) for run in runs if run.start)  # fmt: skip
        assert (day.succeeded, day.failed, day.missed) == tuple(
            states[state] for state in (RunState.SUCCEEDED, RunState.FAILED, RunState.MISSED)
        )
        assert day.success_rate == pytest.approx(len(good) / len(runs))
        assert day.longest_ms == good[-1]
        assert day.p50_ms == pytest.approx(good[(len(good) - 1) // 2], rel=0.05)
        assert day.p95_ms == pytest.approx(good[-(-len(good) * 95 // 100) - 1], rel=0.05)
        assert (day.late_p50_ms, day.late_most_ms) == (late[(len(late) - 1) // 2], late[-1])
    times = {run.id: run.ms for day in result.days for run in by_day[day.day] if run.state is RunState.SUCCEEDED}  # fmt: skip
    usual = median(times.values())
    outliers = {run.run: run.duration_ms for run in result.outliers}
    assert outliers.items() <= times.items()
    longest = sorted(times, key=lambda key: -times[key])[:8]
    assert set(outliers) == {key for key in longest if times[key] > 3.2 * usual}
    await _slower(db)


async def _slower(db: AsyncConnection) -> None:
    """A job that has become slower is marked."""
    endings = [
        Ending(
            job="Slow",
            at=NOW - timedelta(days=day, hours=1),
            outcome=RunState.SUCCEEDED,
            duration_ms=2000 if day < 6 else 1000,
        )
        for day in range(20)
    ]
    await statistics.add(db, endings, shard=0)
    result = await trend(db, "Slow", NOW, days=30, zone=BERLIN)
    assert result.drift == pytest.approx(2, rel=0.1)
    assert (await trend(db, "Slow", NOW, days=6, zone=BERLIN)).drift is None


async def test_the_days_of_a_trend_are_those_of_the_clock_in_spring_too(db: AsyncConnection):
    change = datetime(2027, 3, 28, 1, tzinfo=UTC)
    hours = [change + n * timedelta(hours=1) for n in range(-48, 72)]
    endings = [Ending(job="Spring", at=at, outcome=RunState.FAILED) for at in hours]
    await statistics.add(db, endings, shard=0)
    result = await trend(db, "Spring", hours[-1], days=7, zone=BERLIN)
    by_day = Counter(at.astimezone(BERLIN).date() for at in hours)
    assert by_day[change.date()] == 23
    assert {day.day: day.failed for day in result.days if day.failed} == by_day


async def test_the_heat_map_counts_by_the_clock_of_a_zone_through_a_clock_change(db: AsyncConnection):  # fmt: skip
    kept = DayCounts()
    for zone in (BERLIN, ZoneInfo("Asia/Kolkata")):
        for _ in range(2):  # computed, then read from the cache
            result = await heat(db, NOW, weeks=1, zone=zone, kept=kept)
            inside = [item for item in past(3) if (item.start or item.slot) >= result.since]
            local = [(item, (item.start or item.slot).astimezone(zone)) for item in inside]
            number = Counter((at.weekday(), at.hour) for _, at in local)
            bad = Counter((at.weekday(), at.hour) for item, at in local if item.state is not RunState.SUCCEEDED)  # fmt: skip
            assert {(h.weekday, h.hour): (h.number, h.bad) for h in result.hours} == {
                (day, hour): (number[day, hour], bad[day, hour])
                for day in range(7)
                for hour in range(24)
            }
        longer = [
            (await heat(db, NOW, weeks=2, zone=zone, kept=item)).total for item in (kept, None)
        ]
        assert longer == [result.total] * 2
    assert result.since.astimezone(zone).hour == 0
    assert (await heat(db, NOW, weeks=1, zone=BERLIN, job="Nightly")).total == 3
    await _planned(db)


async def _planned(db: AsyncConnection) -> None:
    """A plan omits paused jobs and includes waiting runs."""
    rows = {"Nightly": (NOW, None), "Hourly": (NOW, NOW + timedelta(hours=3))}
    for name, (at, until) in rows.items():
        c = job_schedule.c
        await db.execute(
            job_schedule.update().where(c.JobName == name).values(PausedAt=at, PausedUntil=until)
        )
    waiting = {"JobName": "Mail", "JobType": "Delayed", "State": "scheduled", "Queue": "default"}
    due = {"DueAt": NOW + timedelta(hours=1), "CreatedAt": NOW, "TriggeredBy": "System"}
    await db.execute(job_run.insert().values(Id=100_000, **waiting, **due))
    result = await plan(
        db, grouped(JOBS), NOW, start=NOW - timedelta(days=1), end=NOW + timedelta(hours=5)
    )
    assert result.start == NOW
    assert [(minute.at.hour, minute.jobs) for minute in result.minutes] == [
        (9, ("Morning",)),
        (12, ("Hourly",)),
        (13, ("Hourly",)),
    ]
    assert result.paused == ("Nightly",)
    assert dict(result.frequent) == {"Often": 30}
    assert [run.job for run in result.waiting] == ["Mail"]


@pytest.mark.parametrize("statement", [_attempts, _unseen])
def test_few_statements_are_kept_however_many_numbers_of_jobs_were_shown(statement):
    for jobs in range(1, 2 * STATEMENTS_KEPT):
        statement(jobs)
    assert statement.cache_info().currsize <= STATEMENTS_KEPT
