"""Statistics equal the history in every case, and percentiles are within their stated precision."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from targcc_scheduler.core.states import FINAL, RunState
from targcc_scheduler.db.tables import job_run, job_setting, job_stat, logged_job
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel import statistics
from targcc_scheduler.kernel.node.pruner import count_history, fold_statistics, prune
from targcc_scheduler.kernel.queries.statistics import ended_runs, job_stats
from targcc_scheduler.kernel.runs import create, operate
from targcc_scheduler.kernel.runs.claim import claim_of
from targcc_scheduler.kernel.runs.settle import settle
from targcc_scheduler.kernel.runs.values import (
    AttemptRecord,
    Claim,
    Ending,
    NewRun,
    Settlement,
    bucket_of,
    duration_of,
)

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
JOBS = ("invoice", "Invoice", "Report")
KATHMANDU = ZoneInfo("Asia/Kathmandu")  # UTC+5:45


@pytest.fixture
async def store(migrated_url: str) -> AsyncIterator[Store]:
    made = Store(migrated_url)
    yield made
    await made.dispose()


def test_a_class_stands_for_its_durations_within_five_per_cent():
    every = [*range(1, 20_000), *(random.Random(1).randrange(20_000, 2**31) for _ in range(20_000))]
    assert max(abs(duration_of(bucket_of(ms)) - ms) / ms for ms in every) <= 0.05
    assert (duration_of(bucket_of(0)), duration_of(bucket_of(None))) == (0, 0)
    assert bucket_of(None) < bucket_of(0) < bucket_of(1)


class History:
    """Create random runs as the scheduler would, on a clock that advances by itself."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        # a database whose collation ignores case takes the first two names for the same
        self.jobs = JOBS[1:] if store.dialect.has_lease else JOBS
        self.random = random.Random(seed)
        self.now = BEGIN

    def pass_time(self) -> datetime:
        self.now += timedelta(seconds=self.random.expovariate(1 / 700))
        return self.now

    async def make(self, runs: int) -> None:
        for _ in range(runs):
            kind = self.random.random()
            if kind < 0.1:
                await self.slot()
            else:
                await self.run(cancelled=kind < 0.2)

    async def slot(self) -> None:
        """Record a missed or skipped slot; a second node that is too late writes nothing."""
        run = self.new(self.random.choice([RunState.MISSED, RunState.SKIPPED]))
        for _ in range(2):
            async with self.store.write() as connection:
                await create.insert_slots(connection, [run], self.now)

    async def run(self, *, cancelled: bool) -> None:
        async with self.store.write() as connection:
            [run_id] = await create.insert_many(connection, [self.new(RunState.ENQUEUED)], self.now)
        if cancelled:
            async with self.store.write() as connection:
                await operate.cancel(connection, run_id, "CLI", self.pass_time())
            return
        state = RunState.ENQUEUED
        while state not in FINAL and self.random.random() < 0.95:
            state = await self.attempt(run_id)

    async def attempt(self, run_id: int) -> RunState:
        state = self.random.choice(
            [RunState.SUCCEEDED] * 5
            + [RunState.FAILED, RunState.CANCELLED, RunState.RETRYING, RunState.ENQUEUED]
        )
        await self.attempt_as(run_id, state)
        return state

    async def attempt_as(self, run_id: int, state: RunState) -> None:
        claim = await self.claim(run_id)
        took = int(self.random.lognormvariate(6, 3))
        ended = AttemptRecord(
            ended_at=self.pass_time(),
            success=state is RunState.SUCCEEDED,
            server="node",
            duration_ms=took,
        )
        for _ in range(self.random.choice([1, 1, 2])):  # repeat after a lost commit response
            async with self.store.write() as connection:
                done = Settlement(claim=claim, state=state, attempt=ended)
                await settle(connection, [done], self.now)

    async def claim(self, run_id: int) -> Claim:
        condition = job_run.c.Id == run_id
        begins = {
            "ServerId": "node",
            "StartedAt": self.pass_time(),
            "Attempt": job_run.c.Attempt + 1,
        }
        async with self.store.write() as connection:
            await connection.execute(
                sa.update(job_run).where(condition).values({"State": "running", **begins})
            )
            row = (await connection.execute(sa.select(job_run).where(condition))).one()
        return claim_of(row, {})

    def new(self, state: RunState) -> NewRun:
        return NewRun(
            job_name=self.random.choice(self.jobs),
            job_type="Recurring",
            queue="default",
            priority=0,
            due_at=self.pass_time(),
            scheduled_for=self.now if state in FINAL else None,
            triggered_by="System",
            state=state,
        )


async def brute_force(store: Store) -> Counter[tuple[str, datetime, str]]:
    """Count every finished run and every non-final attempt, read one by one: job, instant, outcome."""
    counts: Counter[tuple[str, datetime, str]] = Counter()
    async with store.engine.connect() as connection:
        attempts: dict[int, list[Any]] = {}
        for row in await connection.execute(sa.select(logged_job).order_by(logged_job.c.Attempt)):
            attempts.setdefault(int(row.JobId), []).append(row)
        for run in await connection.execute(sa.select(job_run)):
            run_attempts = attempts.get(run.Id, [])
            last = run_attempts.pop() if run_attempts and run.State in FINAL else None
            for attempt in run_attempts:
                counts[run.JobName, attempt.StartedAt, "retrying"] += 1
            if run.State in FINAL:
                at = last.StartedAt if last is not None else run.ScheduledFor or run.CompletedAt
                counts[run.JobName, at, run.State] += 1
    return counts


async def counted(store: Store) -> Counter[tuple[str, datetime, str]]:
    c = job_stat.c
    async with store.engine.connect() as connection:
        rows = await connection.execute(sa.select(c.JobName, c.BeginsAt, c.Outcome, c.Count))
        counts: Counter[tuple[str, datetime, str]] = Counter()
        for *key, number in rows:
            counts[tuple(key)] += number
    return counts


def by_quarter(found: Counter[tuple[str, datetime, str]]) -> Counter[tuple[str, datetime, str]]:
    quarters: Counter[tuple[str, datetime, str]] = Counter()
    for (job, at, outcome), number in found.items():
        begins = at - timedelta(
            minutes=at.minute % 15, seconds=at.second, microseconds=at.microsecond
        )
        quarters[job, begins, outcome] += number
    return quarters


@pytest.mark.slow
async def test_every_ending_counts_once_however_it_came(store: Store):
    history = History(store, seed=20)
    await history.make(100)
    truth = await brute_force(store)
    assert len({outcome for _, _, outcome in truth}) == 6
    assert await counted(store) == by_quarter(truth)
    async with store.engine.connect() as connection:
        summary = await ended_runs(connection, BEGIN, history.now)
    assert summary.total == sum(n for (_, _, outcome), n in truth.items() if outcome != "retrying")


@pytest.mark.slow
async def test_figures_equal_those_of_the_history(store: Store):
    history = History(store, seed=4)
    await history.make(100)
    async with store.engine.connect() as connection:
        figures = await job_stats(
            connection, "Invoice", since=BEGIN, until=history.now, zone=KATHMANDU
        )
        rows = await connection.execute(
            sa.select(logged_job.c.DurationMs)
            .where(logged_job.c.JobName == "Invoice", logged_job.c.Success)
            .order_by(logged_job.c.DurationMs)
        )
        times = list(rows.scalars())
    runs: Counter[str] = Counter()
    days: Counter[tuple[Any, str]] = Counter()
    for (job, at, outcome), number in (await brute_force(store)).items():
        if job == "Invoice":
            runs[outcome] += number
            days[at.astimezone(KATHMANDU).date(), outcome] += number
    assert figures.succeeded == runs["succeeded"] == len(times)
    assert (figures.failed, figures.cancelled) == (runs["failed"], runs["cancelled"])
    assert (figures.missed, figures.skipped) == (runs["missed"], runs["skipped"])
    assert {day.day: (day.succeeded, day.failed) for day in figures.days} == {
        day.day: (days[day.day, "succeeded"], days[day.day, "failed"]) for day in figures.days
    }
    assert sum(day.succeeded for day in figures.days) == figures.succeeded
    assert (figures.average_ms, figures.longest_ms) == (round(sum(times) / len(times)), times[-1])
    for share, quantile in ((0.5, figures.p50_ms), (0.95, figures.p95_ms)):
        assert quantile == pytest.approx(times[-int(-len(times) * share // 1) - 1], rel=0.05)


async def test_what_was_there_before_the_statistics_is_counted_afterwards(store: Store):
    """Also when counting stops in between while new runs end and are counted at their end."""
    history = History(store, seed=9)
    await history.make(60)
    async with store.write() as connection:
        [open_run] = await create.insert_many(
            connection, [history.new(RunState.ENQUEUED)], history.now
        )
    await history.attempt_as(open_run, RunState.RETRYING)
    await forget_statistics(store, history.now)
    await history.attempt_as(open_run, RunState.SUCCEEDED)
    steps: list[int] = []

    def stop_once(rows: int) -> None:
        steps.append(rows)
        if len(steps) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await count_history(store, progress=stop_once)
    assert await counted(store) != by_quarter(await brute_force(store))
    await count_history(store)
    assert len(steps) == 2
    assert await counted(store) == by_quarter(await brute_force(store))


async def forget_statistics(store: Store, now: datetime) -> None:
    """Put the database in the state right after the migration from release 0.1."""
    async with store.write() as connection:
        await connection.execute(sa.delete(job_stat))
        for name, key in (("attempts", logged_job.c.ID), ("runs", job_run.c.Id)):
            newest = await connection.scalar(sa.select(sa.func.max(key)))
            row = {"Name": f"uncounted {name}", "Value": str(newest), "UpdatedAt": now}
            await connection.execute(job_setting.insert().values(row))


async def test_statistics_go_after_their_own_time(store: Store):
    history = History(store, seed=2)
    await history.make(40)
    border = BEGIN + timedelta(hours=4)
    before = await counted(store)
    removed = await prune(store, before=BEGIN, keep_last=100, statistics_before=border)
    assert removed["statistics"] > 0
    assert await counted(store) == Counter(
        {key: number for key, number in before.items() if key[1] >= border}
    )


@pytest.mark.slow
async def test_rows_of_nodes_are_put_together_and_nothing_is_lost(store: Store):
    ending = Ending(job="Report", at=BEGIN, outcome=RunState.SUCCEEDED, duration_ms=50)
    async with store.write() as connection:
        for shard in range(300):
            await statistics.add(connection, [ending], shard)
    before = await counted(store)
    await fold_statistics(store, BEGIN + timedelta(days=2))
    assert await counted(store) == before
    async with store.engine.connect() as connection:
        [row] = await connection.execute(sa.select(job_stat))
    assert (row.Shard, row.Count, row.SumMs, row.MaxMs) == (0, 300, 15_000, 50)


async def test_a_pass_reads_the_rows_since_the_last_pass(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    async with store.write() as connection:
        for hour in range(48):
            at = BEGIN + timedelta(hours=hour)
            ending = Ending(job="Report", at=at, outcome=RunState.SUCCEEDED, duration_ms=50)
            await statistics.add(connection, [ending], 7)
    read: list[int] = []
    fold = statistics.fold

    async def counted_fold(connection: Any, *, since: datetime, before: datetime, most: int) -> int:
        c = job_stat.c
        rows = sa.select(sa.func.count()).where(c.BeginsAt >= since, c.BeginsAt < before)
        read.append(await connection.scalar(rows))
        return await fold(connection, since=since, before=before, most=most)

    monkeypatch.setattr(statistics, "fold", counted_fold)
    await fold_statistics(store, BEGIN + timedelta(days=2))
    assert Counter(read) == {0: 112, 6: 8}  # of 29 days; rows are moved, then none is left
    read.clear()
    await fold_statistics(store, BEGIN + timedelta(days=2, hours=3))
    assert read == [3, 3]
    read.clear()
    await fold_statistics(store, BEGIN + timedelta(days=2, hours=3))
    assert read == []
    async with store.engine.connect() as connection:
        shards = await connection.scalars(sa.select(job_stat.c.Shard).order_by(job_stat.c.BeginsAt))
        assert list(shards) == [0] * 27 + [7] * 21


LATER = BEGIN + timedelta(hours=1)


def _attempt(run="7", key=1, attempt=1, *, success=True):
    return SimpleNamespace(
        ID=key,
        JobName="Invoice",
        JobId=run,
        Attempt=attempt,
        StartedAt=BEGIN,
        Success=success,
        DurationMs=12,
    )


def _run(state, completed=BEGIN):
    return {"7": SimpleNamespace(State=state, CompletedAt=completed)}


async def test_rows_are_put_together_from_the_first_instant_to_before_the_last(store: Store):
    hour = timedelta(hours=1)
    async with store.write() as connection:
        for number in range(4):
            at = BEGIN + number * hour
            ending = Ending(job="Report", at=at, outcome=RunState.SUCCEEDED, duration_ms=5)
            await statistics.add(connection, [ending], 7)
        moved = await statistics.fold(
            connection, since=BEGIN + hour, before=BEGIN + 3 * hour, most=10
        )
        rows = await connection.execute(sa.select(job_stat.c.BeginsAt, job_stat.c.Shard))
        assert dict(rows.all()) == {BEGIN + number * hour: 7 if number in {0, 3} else 0 for number in range(4)}  # fmt: skip
    assert moved == 2


@pytest.mark.parametrize(("values", "left"), [((), 0), (("0",), 1), (("7",), 7), (("3", "0"), 4)])
async def test_at_least_one_row_is_left_of_each_kind_that_is_not_counted_yet(store, values, left):
    names = (statistics._ATTEMPTS, statistics._RUNS)
    async with store.write() as connection:
        for name, value in zip(names, values, strict=False):
            row = {"Name": name, "Value": value, "UpdatedAt": BEGIN}
            await connection.execute(sa.insert(job_setting).values(row))
        assert await statistics.left(connection) == left


@pytest.mark.parametrize(
    ("attempt", "runs", "outcome", "retried"),
    [
        # The last attempt has the outcome of its run.
        (_attempt(), _run("succeeded"), "succeeded", False),
        (_attempt(attempt=2), _run("succeeded"), "succeeded", True),
        (_attempt(success=False), _run("cancelled"), "cancelled", False),
        (_attempt(attempt=3, success=False), _run("failed"), "failed", True),
        # Attempts before the last one, and attempts of a run that goes on, were retried.
        (_attempt(key=2, success=False), _run("failed"), "retrying", False),
        (_attempt(key=2, attempt=2, success=False), _run("failed"), "retrying", False),
        (_attempt(success=False), _run("retrying", None), "retrying", False),
        (_attempt(success=False), _run("enqueued", None), "retrying", False),
        # A run that ended after the statistics began is counted with its end.
        (_attempt(attempt=2), _run("succeeded", LATER), "retrying", False),
        (_attempt(), _run("succeeded", BEGIN), "succeeded", False),
        (_attempt(), _run("failed", None), "failed", False),
        # Without a run, the attempt says what is known.
        (_attempt(), {}, "succeeded", False),
        (_attempt(success=False), {}, "failed", False),
        (_attempt(key=2, success=False), {}, "retrying", False),
        (_attempt(run=None, key=2), _run("failed"), "succeeded", False),
        (_attempt(run=None, key=2, attempt=2, success=False), {}, "failed", True),
    ],
)
def test_an_old_attempt_counts_by_its_run(attempt, runs, outcome, retried):
    ending = statistics._ending(attempt, {1}, runs, BEGIN)
    assert (ending.job, ending.at, ending.outcome) == ("Invoice", BEGIN, outcome)
    assert ending.retried is retried
    assert ending.duration_ms == (12 if attempt.Success else None)


@pytest.mark.parametrize(
    ("state", "started", "slot", "completed", "at"),
    [
        ("missed", None, LATER, BEGIN, LATER),
        ("skipped", None, LATER, BEGIN, LATER),
        ("missed", None, None, BEGIN, BEGIN),
        ("cancelled", None, LATER, BEGIN, BEGIN),
        ("cancelled", BEGIN, None, BEGIN, None),  # counted with its attempt
        ("missed", None, LATER, None, None),
        ("missed", None, LATER, LATER, None),  # ended after the statistics began
        ("scheduled", None, LATER, BEGIN, None),
    ],
)
def test_an_old_run_without_an_attempt_counts_at_its_slot(state, started, slot, completed, at):
    row = SimpleNamespace(
        JobName="Report", State=state, StartedAt=started, ScheduledFor=slot, CompletedAt=completed
    )
    endings = list(statistics._without_attempt([row], BEGIN))
    assert [(item.job, item.at, item.outcome) for item in endings] == (
        [("Report", at, state)] if at else []
    )
