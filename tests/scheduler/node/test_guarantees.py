"""Guarantees of ``docs/guarantees.md`` about runs and jobs, on SQLite and PostgreSQL."""

# ruff: noqa: ARG001 - a job takes its context

import asyncio
import contextlib
import re
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from guarantee_rig import DANA, QUICK, Ledger, MakeScheduler, SettableClock, schedulers, until
from proofs import names_of_tests
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from targcc_scheduler import (
    ArgumentsError,
    JobContext,
    JobResult,
    JobType,
    RunState,
    Scheduler,
    job,
)
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.db.dialects.base import WRITES
from targcc_scheduler.db.engines import make_engine
from targcc_scheduler.db.tables import (
    job_audit,
    job_log_line,
    job_queue,
    job_run,
    job_schedule,
    logged_job,
)
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.hosting import Connection
from targcc_scheduler.kernel import pauses
from targcc_scheduler.kernel.engine.factory import make_queue_engine
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.node import slots
from targcc_scheduler.kernel.node.recurring import RecurringScheduler
from targcc_scheduler.kernel.queries import runs, system
from targcc_scheduler.kernel.queries.models import run_of
from targcc_scheduler.kernel.runs import transition
from targcc_scheduler.kernel.worker.executor import watch
from targcc_scheduler.kernel.worker.node_services import NodeServices
from targcc_scheduler.settings import Settings

NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class Gate:
    """Signals between tests and jobs."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.seen: list[object] = []

    async def passed(self) -> None:
        while not self.open.is_set():  # noqa: ASYNC110 - it is a threading event
            await asyncio.sleep(0.005)


gate = Gate()


@pytest.fixture(autouse=True)
def _new_gate():
    gate.open.clear()
    gate.seen.clear()
    yield
    gate.open.set()


@pytest.fixture
async def make(migrated_url: str, request: pytest.FixtureRequest):
    """Return a function that makes schedulers with the jobs of this module; check every run for consistency at the end."""
    async with schedulers(migrated_url, request.module.__name__) as make:
        yield make
    Ledger(migrated_url).assert_sound()


@pytest.fixture
async def scheduler(make: MakeScheduler) -> Scheduler:
    """A working scheduler that creates no recurring runs."""
    made = make()
    await made.start(schedule=False)
    return made


@pytest.fixture
def ledger(migrated_url: str) -> Ledger:
    return Ledger(migrated_url)


@job()
async def add(ctx: JobContext, a: int, b: int = 2) -> JobResult:
    return JobResult.success(f"{a + b}")


@job()
async def wait_for_gate(ctx: JobContext, mark: str = "") -> None:
    gate.seen.append(mark)
    await gate.passed()


@job(concurrency=2)
async def two_at_a_time(ctx: JobContext) -> None:
    gate.seen.append("in")
    await gate.passed()


@job(JobType.MANUAL, queue="alone")  # a queue that only a job names has one worker
async def in_order(ctx: JobContext, mark: str) -> None:
    gate.seen.append(mark)


@job(queue="critical")
async def critical(ctx: JobContext) -> None: ...


@job(retries=0)
async def fail_once(ctx: JobContext) -> None:
    raise RuntimeError("boom")


@job(retries=2, backoff="1h")
async def fail_for_hours(ctx: JobContext) -> None:
    raise RuntimeError("boom")


@job(retries=1, backoff="50ms")
async def fail_twice(ctx: JobContext) -> JobResult:
    return JobResult.failure("the books do not balance")


@job(retries=0, timeout="100ms")
def hang(ctx: JobContext) -> None:
    gate.open.wait(0.5)  # a thread cannot be stopped: it ends by itself


@job(retries=0, timeout="100ms")
async def take_too_long(ctx: JobContext) -> None:
    await asyncio.sleep(60)


@job(retries=0)
async def block_the_loop(ctx: JobContext) -> None:
    gate.open.wait(30)


@job()
async def tell(ctx: JobContext) -> None:
    ctx.log.info("half way", count=3)
    ctx.progress(1, 2)


# Creating runs.


@contextlib.asynccontextmanager
async def _transaction(engine: AsyncEngine, kind: str) -> AsyncIterator[Connection]:
    """Yield a transaction of the caller."""
    if kind == "connection":
        async with engine.begin() as connection:
            yield connection
        return
    async with AsyncSession(engine) as session, session.begin():
        yield session


@pytest.mark.parametrize("kind", ["connection", "session"])
async def test_a_run_exists_when_the_caller_commits_and_never_was_when_it_rolls_back(
    scheduler, ledger, kind
):
    engine = make_engine(ledger.url)
    with contextlib.suppress(ZeroDivisionError):
        async with _transaction(engine, kind) as connection:
            await scheduler.enqueue(add, connection=connection, a=1)
            await scheduler.schedule(add, delay="10ms", connection=connection, a=1)
            raise ZeroDivisionError
    async with _transaction(engine, kind) as connection:
        now = await scheduler.enqueue(add, connection=connection, a=40)
        later = await scheduler.schedule(add, delay="50ms", connection=connection, a=2)
    assert await scheduler.wait(now, 40) == RunState.SUCCEEDED
    assert await scheduler.wait(later, 40) == RunState.SUCCEEDED
    assert [row.Message for row in ledger.runs("Add")] == ["42", "4"]
    await engine.dispose()


@pytest.mark.parametrize("commits", [True, False], ids=["commit", "rollback"])
async def test_every_action_may_be_part_of_the_callers_transaction(scheduler, ledger, commits):
    first, second, third = [
        await scheduler.schedule(add, delay=delay, a=1) for delay in ("1h", "2h", "3h")
    ]
    engine = make_engine(ledger.url)
    connection = await (await engine.connect()).execution_options(**WRITES)
    try:
        options = {"by": DANA, "connection": connection}
        await scheduler.trigger("Add", {"a": 1}, **options)
        await scheduler.cancel(first, **options)
        await scheduler.retry(second, **options)
        await scheduler.delete(third, **options)
        await scheduler.pause("Add", reason="audit", **options)
        await scheduler.resume("Add", **options)
        await scheduler.pause_queue("critical", **options)
        await scheduler.resume_queue("critical", **options)
        await (connection.commit() if commits else connection.rollback())
    finally:
        await connection.close()
        await engine.dispose()
    if commits:
        await until(
            lambda: ledger.states() == {"cancelled": 1, "succeeded": 2}, "what was committed runs"
        )
    else:
        assert ledger.states() == {"scheduled": 3}
    assert len(ledger.rows(sa.select(job_audit))) == (8 if commits else 0)


async def test_a_running_job_is_cancelled_once_the_caller_commits(scheduler, ledger):
    run_id = await scheduler.enqueue(wait_for_gate)
    await until(lambda: gate.seen, "it has begun")
    engine = make_engine(ledger.url)
    async with engine.begin() as connection:
        state = await scheduler.cancel(run_id, by=DANA, connection=connection)
        assert state == RunState.RUNNING
    assert await scheduler.wait(run_id, 40) == RunState.CANCELLED
    await engine.dispose()


@pytest.mark.sqlite
@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
async def test_a_writer_between_two_statements_of_the_callers_transaction_is_kept_out(
    scheduler, ledger
):
    """On SQLite a transaction that has only read fails with "database is locked" if another process commits before it writes."""
    run_id = await scheduler.schedule(add, delay="1h", a=1)
    engine = make_engine(ledger.url)
    other = sqlite3.connect(sa.make_url(ledger.url).database, timeout=0)

    def write(*_: object) -> None:
        with contextlib.suppress(sqlite3.OperationalError), other:
            other.execute(
                "INSERT INTO c_JobLogLine (RunId, Attempt, At, Level, Message) VALUES (0, 1, '2026-06-10', 'info', '')"
            )

    event.listen(engine.sync_engine, "after_cursor_execute", write)
    try:
        async with engine.begin() as connection:
            state = await scheduler.cancel(run_id, by=DANA, connection=connection)
    finally:
        other.close()
        await engine.dispose()
    assert state == RunState.CANCELLED


UNFIT = [
    ({}, "a: field required"),
    ({"a": "x"}, "a: input should be a valid integer"),
    ({"a": 1, "c": 2}, "c: extra inputs are not permitted"),
]


async def test_arguments_that_do_not_fit_are_refused_before_there_is_a_run(scheduler, ledger):
    for arguments, message in UNFIT:
        with pytest.raises(ArgumentsError, match=message):
            await scheduler.enqueue(add, **arguments)
        with pytest.raises(ArgumentsError, match=message):
            await scheduler.schedule(add, delay="1h", **arguments)
        with pytest.raises(ArgumentsError, match=message):
            await scheduler.trigger("Add", arguments, by=DANA)
    assert ledger.states() == {}


async def test_a_function_that_is_registered_by_hand_goes_the_same_way(make, ledger):
    scheduler = make()
    await scheduler.start()
    done: list[int] = []
    options = {"overlap": "allow", "misfire": "run_all"}  # a busy machine misses no slot
    scheduler.add_recurring("custom-job", lambda: done.append(1), "* * * * * *", **options)
    await until(lambda: len(done) >= 2, "two slots run")
    first, second = ledger.runs("custom-job")[:2]
    assert (first.JobType, first.TriggeredBy) == ("Recurring", "System")
    assert second.ScheduledFor - first.ScheduledFor == timedelta(seconds=1)
    assert ledger.life(first.Id) == ["enqueued", "running", "succeeded"]
    assert [row.Success for row in ledger.attempts(first.Id)] == [True]
    await scheduler.pause("custom job", by=DANA, reason="stocktaking")
    (row,) = ledger.rows(sa.select(job_schedule).where(job_schedule.c.JobName == "custom-job"))
    assert (row.PausedBy, row.PauseReason) == ("Manual (dana)", "stocktaking")
    by_hand = await scheduler.trigger("custom-job", by=DANA)
    assert await scheduler.wait(by_hand, 40) == RunState.SUCCEEDED


async def test_a_job_that_is_registered_while_schedules_are_being_read_is_not_forgotten(
    world, monkeypatch
):
    node, load = world.node(), slots.load

    async def load_slowly(*arguments: object) -> object:
        result = await load(*arguments)
        if "Late" not in node._definitions:
            node._definitions["Late"] = define(lambda: None, "* * * * *", name="Late")
            node.wake()
        return result

    monkeypatch.setattr(slots, "load", load_slowly)
    await node.tick()
    await node.tick()
    known = {row.JobName for row in world.ledger.rows(sa.select(job_schedule))}
    assert known == {"Report", "Late"}


# Failures and retries.


async def test_a_job_without_retries_fails_at_once_and_may_be_done_again_and_deleted(
    scheduler, ledger
):
    first = await scheduler.enqueue(fail_once)
    assert await scheduler.wait(first, 40) == RunState.FAILED
    assert len(ledger.attempts(first)) == 1
    again = await scheduler.retry(first, by=DANA)
    assert again != first
    assert await scheduler.wait(again, 40) == RunState.FAILED
    await scheduler.delete(first, by=DANA)
    assert [row.Id for row in ledger.runs("FailOnce")] == [again]
    assert [row.ErrorMessage for row in ledger.attempts(first)] == ["RuntimeError: boom"]


async def test_a_run_between_its_attempts_waits_and_holds_no_worker(scheduler, ledger):
    # one more than the five workers
    failing = [await scheduler.enqueue(fail_for_hours) for _ in range(6)]
    await until(lambda: ledger.states() == {"retrying": 6}, "all wait for their second attempt")
    assert await scheduler.wait(await scheduler.enqueue(add, a=1), 10) == RunState.SUCCEEDED
    waits: set[int] = set()
    for run_id in failing:
        run, (attempt,) = ledger.run(run_id), ledger.attempts(run_id)
        wait = run.DueAt - attempt.CompletedAt
        assert timedelta(minutes=48) <= wait <= timedelta(minutes=72)  # one hour with jitter
        assert attempt.Success is False
        waits.add(round(wait.total_seconds()))
    assert len(waits) > 1, "what failed together does not come back together"


async def test_a_retry_by_hand_does_not_wait_for_its_time(scheduler, ledger):
    run_id = await scheduler.enqueue(fail_for_hours)
    await until(lambda: ledger.run(run_id).State == "retrying", "it waits")
    assert await scheduler.retry(run_id, by=DANA) == run_id
    await until(lambda: len(ledger.attempts(run_id)) == 2, "the second attempt is over")


async def test_a_returned_failure_is_a_failure_in_each_attempt(scheduler, ledger):
    run_id = await scheduler.enqueue(fail_twice)
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    attempts = [(row.Attempt, row.Success, row.ErrorMessage) for row in ledger.attempts(run_id)]
    error_text = "the books do not balance"
    assert attempts == [(1, False, error_text), (2, False, error_text)]
    assert ledger.run(run_id).Message == error_text


@pytest.mark.parametrize("name", ["Hang", "TakeTooLong"])
async def test_a_job_that_takes_too_long_is_failed_be_it_plain_or_async(scheduler, ledger, name):
    run_id = await scheduler.enqueue(name)
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    assert ledger.run(run_id).Message.startswith("timed out after ")
    assert await scheduler.wait(await scheduler.enqueue(add, a=1), 10) == RunState.SUCCEEDED


async def test_a_cancelled_run_is_cancelled_and_not_failed(scheduler, ledger):
    waiting = await scheduler.schedule(add, delay="1h", a=1)
    assert await scheduler.cancel(waiting, by=DANA) == RunState.CANCELLED
    running = await scheduler.enqueue(wait_for_gate)
    await until(lambda: gate.seen, "it has begun")
    await scheduler.cancel(running, by=DANA)
    assert await scheduler.wait(running, 40) == RunState.CANCELLED
    assert ledger.run(running).Message == "cancelled by Manual (dana)"


# Order and waiting.


async def test_no_more_runs_of_a_job_than_its_limit_and_the_queue_goes_on_for_others(
    scheduler, ledger
):
    ids = [await scheduler.enqueue(two_at_a_time) for _ in range(5)]
    await until(lambda: len(gate.seen) == 2, "two have begun")
    assert await scheduler.wait(await scheduler.enqueue(add, a=1), 10) == RunState.SUCCEEDED
    assert ledger.states() == {"running": 2, "enqueued": 3, "succeeded": 1}
    gate.open.set()
    for run_id in ids:
        assert await scheduler.wait(run_id, 40) == RunState.SUCCEEDED


async def test_no_more_runs_of_a_queue_than_its_workers_and_other_queues_go_on(scheduler, ledger):
    for _ in range(8):
        await scheduler.enqueue(wait_for_gate)
    await until(lambda: len(gate.seen) == 5, "all workers of the queue are busy")
    assert await scheduler.wait(await scheduler.enqueue(critical), 10) == RunState.SUCCEEDED
    assert ledger.states() == {"running": 5, "enqueued": 3, "succeeded": 1}


async def test_a_higher_priority_goes_first_whoever_came_first(make):
    scheduler = make()
    marks = {"low": -1, "normal": 0, "high": 9}
    ids = [
        await scheduler.enqueue(in_order, mark=mark, priority=priority)
        for mark, priority in marks.items()
    ]
    await scheduler.start(schedule=False)
    for run_id in ids:
        await scheduler.wait(run_id, 40)
    assert gate.seen == ["high", "normal", "low"]


async def test_a_paused_queue_says_why_and_goes_on_by_itself(scheduler, ledger):
    end = datetime.now(UTC) + timedelta(seconds=1)
    await scheduler.pause_queue("critical", by=DANA, reason="no paper", until=end)
    held = await scheduler.enqueue(critical)
    assert await scheduler.wait(await scheduler.enqueue(add, a=1), 10) == RunState.SUCCEEDED
    (row,) = ledger.rows(sa.select(job_queue))
    assert (row.Name, row.PausedBy, row.PauseReason) == ("critical", "Manual (dana)", "no paper")
    assert await scheduler.wait(held, 40) == RunState.SUCCEEDED
    assert ledger.run(held).StartedAt >= end


# Slots, with a clock that the test sets.


class World:
    """One database, one clock, and any number of nodes that create runs."""

    def __init__(self, url: str) -> None:
        self.store = Store(url)
        self.clock = ManualClock(NOON)
        self.ledger = Ledger(url)
        self.settings = Settings(_env_file=None, database_url=url)
        self.engine = make_queue_engine(self.settings, self.clock, self.store.engine)
        self.store.fence = self.engine.fence

    def node(self, **options: object) -> RecurringScheduler:
        """Return a node with one job that runs every minute."""
        values = {"name": "Report", "timezone": "UTC", **options}
        definition = define(lambda: None, "* * * * *", **values)
        jobs = {definition.name: definition}
        services = NodeServices(self.store, self.engine, self.clock, self.settings, lambda _: None)
        return RecurringScheduler(services, jobs)

    async def walk(self, nodes: list[RecurringScheduler], end: datetime) -> None:
        """Move the clock minute by minute; each run finishes before the next minute."""
        while self.clock.now() <= end:
            for node in nodes:
                await node.tick()
            over = {"State": "succeeded", "CompletedAt": self.clock.now()}
            waiting = job_run.c.State == "enqueued"
            self.ledger.change(sa.update(job_run).where(waiting).values(over))
            self.clock.advance(MINUTE)

    def slots(self, state: str) -> list[datetime]:
        """Return the slots whose runs are in a state, oldest first."""
        return sorted(row.ScheduledFor for row in self.ledger.runs("Report") if row.State == state)


@pytest.fixture
async def world(migrated_url: str):
    made = World(migrated_url)
    await made.engine.open()
    yield made
    await made.engine.close()
    await made.store.dispose()


async def test_a_paused_job_says_why_makes_no_runs_and_goes_on_by_itself(world):
    node = world.node()
    await node.tick()
    end = NOON + 5 * MINUTE
    async with world.store.write() as connection:
        await pauses.pause_job(connection, "Report", DANA, NOON, reason="audit", until=end)
    (row,) = world.ledger.rows(sa.select(job_schedule))
    assert (row.PausedBy, row.PauseReason, row.PausedUntil) == ("Manual (dana)", "audit", end)
    await world.walk([node], NOON + 7 * MINUTE)
    assert world.slots("succeeded") == [NOON + 6 * MINUTE, NOON + 7 * MINUTE]


async def test_a_job_that_is_resumed_before_its_first_node_starts_is_not_created_paused(world):
    async with world.store.write() as connection:
        await pauses.resume_job(connection, "Report", NOON)
    await world.walk([world.node(paused=True)], NOON + 2 * MINUTE)
    assert world.slots("succeeded") == [NOON + MINUTE, NOON + 2 * MINUTE]


async def test_a_clock_that_jumps_an_hour_forward_makes_one_run_and_records_the_rest(world):
    nodes = [world.node(), world.node()]
    await world.walk(nodes, NOON + 2 * MINUTE)
    world.clock.set(NOON + HOUR)
    for node in nodes:
        await node.tick()
    assert world.slots("enqueued") == [NOON + HOUR]
    assert world.slots("missed") == [NOON + minute * MINUTE for minute in range(3, 60)]


async def test_a_clock_that_jumps_an_hour_back_runs_nothing_twice_and_then_goes_on(world):
    nodes = [world.node(), world.node()]
    await world.walk(nodes, NOON + 5 * MINUTE)
    for minute in (-55, -30, 0, 3):
        world.clock.set(NOON + minute * MINUTE)
        for node in [*nodes, world.node()]:
            await node.tick()
    await world.walk(nodes, NOON + 7 * MINUTE)
    slots = world.slots("succeeded")
    assert set(Counter(slots).values()) == {1}
    assert [slot for slot in slots if slot > NOON] == [NOON + n * MINUTE for n in range(1, 8)]
    assert world.slots("enqueued") == []


async def test_a_slot_of_a_busy_job_is_skipped_and_names_the_run_in_its_way(world):
    node = world.node()
    await node.tick()
    for minute in (1, 2):
        world.clock.set(NOON + minute * MINUTE)
        await node.tick()
    first, second = world.ledger.runs("Report")
    assert (second.State, second.BlockedBy) == ("skipped", first.Id)
    assert second.Message == f"run {first.Id} was still busy"


async def test_a_running_node_outlives_a_clock_that_jumps_forward_and_back(make, ledger):
    clock = SettableClock()
    scheduler = make(clock=clock)
    done: list[datetime] = []

    async def note(ctx: JobContext) -> None:
        done.append(ctx.scheduled_for)

    scheduler.add_recurring("Tick", note, "* * * * * *", overlap="allow")
    await scheduler.start()
    await until(lambda: len(done) >= 2, "slots run")
    jumped, clock.shift = max(done), HOUR
    await until(lambda: max(done) > datetime.now(UTC) + HOUR - MINUTE, "it goes on an hour later")
    after = min(slot for slot in done if slot > jumped + HOUR / 2)
    clock.shift = timedelta()
    run_id = await scheduler.enqueue(add, a=1)
    assert await scheduler.wait(run_id, 40) == RunState.SUCCEEDED
    missed = [row.ScheduledFor for row in ledger.runs("Tick") if row.State == "missed"]
    of_the_hour = [slot for slot in missed if jumped + HOUR / 2 < slot < after]
    assert set(Counter(done).values()) == {1}
    assert len(done) < 20, "3,600 slots passed, and they did not run"
    assert len(of_the_hour) == 100  # the oldest missed run counts the slots before it
    assert [
        row.LostWorkers for row in ledger.rows(sa.select(job_run.c.LostWorkers).distinct())
    ] == [0]


# Retention.


async def test_every_transition_of_a_run_is_dated(scheduler, ledger):
    before = datetime.now(UTC) - timedelta(seconds=1)
    run_id = await scheduler.enqueue(fail_twice)
    await scheduler.wait(run_id, 40)
    life = run_of(ledger.run(run_id)).life
    states = [entry.state for entry in life]
    assert states[:3] == ["enqueued", "running", "retrying"]
    assert states[-2:] == ["running", "failed"]  # a worker may claim the run just as it becomes due
    assert all(first.at <= second.at for first, second in pairwise(life))
    assert before < life[0].at < life[-1].at < datetime.now(UTC) + timedelta(seconds=1)
    run = ledger.run(run_id)
    assert run.CreatedAt <= run.StartedAt <= run.CompletedAt
    for attempt in ledger.attempts(run_id):
        assert run.CreatedAt <= attempt.StartedAt <= attempt.CompletedAt <= run.CompletedAt


async def test_log_and_progress_are_kept_with_the_run(scheduler, ledger):
    run_id = await scheduler.enqueue(tell)
    await scheduler.wait(run_id, 40)
    (line,) = ledger.rows(sa.select(job_log_line).where(job_log_line.c.RunId == run_id))
    assert (line.Level, line.Message, line.Attempt) == ("info", "half way count=3", 1)
    run = ledger.run(run_id)
    assert (run.ProgressDone, run.ProgressTotal) == (1, 2)


async def test_the_newest_runs_of_each_job_stay_whatever_their_age(scheduler, ledger):
    many = [await scheduler.enqueue(add, a=1) for _ in range(6)]
    few = [await scheduler.enqueue(critical) for _ in range(2)]
    for run_id in [*many, *few]:
        await scheduler.wait(run_id, 40)
    waiting = await scheduler.schedule(add, delay="1h", a=1)
    ended = job_run.c.CompletedAt.is_not(None)
    ledger.change(sa.update(job_run).where(ended).values(CompletedAt=LONG_AGO))
    ledger.change(sa.update(logged_job).values(StartedAt=LONG_AGO, CompletedAt=LONG_AGO))
    removed = await scheduler.prune(days=30, keep_last=3)
    assert (removed["runs"], removed["attempts"]) == (3, 3)
    left = [row.Id for row in ledger.rows(sa.select(job_run).order_by(job_run.c.Id))]
    assert left == [*many[-3:], *few, waiting]


async def test_old_runs_are_removed_without_anybody_asking(make, ledger, monkeypatch):
    monkeypatch.setattr(
        "targcc_scheduler.kernel.node.node.random.uniform", lambda *_: 0.2
    )  # seconds, not minutes
    scheduler = make(
        settings=Settings(_env_file=None, database_url=ledger.url, history_keep=1, **QUICK)
    )
    old = [await scheduler.enqueue(add, a=1) for _ in range(3)]
    for run_id in old:
        await scheduler.cancel(run_id, by=DANA)
    ledger.change(sa.update(job_run).values(CompletedAt=LONG_AGO))
    await scheduler.start(schedule=False)
    await until(lambda: [row.Id for row in ledger.runs("Add")] == old[-1:], "the old ones are gone")


# Jobs renamed between two deployments.

OLD = "class InvoiceJob"
RENAMED = '@job(name="Invoice")\nclass BillingJob'
FORGOTTEN = "class BillingJob"


def deployed(folder: Path, monkeypatch: pytest.MonkeyPatch, head: str) -> str:
    """Write a package with one job; return its name."""
    package = f"deployed_{time.monotonic_ns()}"
    head = head if head.startswith("@") else f"@job()\n{head}"
    text = f"""from targcc_scheduler import JobContext, job


{head}:
    async def execute(self, ctx: JobContext, number: int) -> str:
        return f"{{type(self).__name__}} {{number}}"
"""
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text("")
    (folder / package / "invoices.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    return package


@pytest.fixture
async def history_of_an_old_job(make, tmp_path, monkeypatch):
    """Create a succeeded run and a waiting run of the job before its renaming."""
    old = make(jobs_package=deployed(tmp_path, monkeypatch, OLD))
    await old.start(schedule=False)
    done = await old.enqueue("Invoice", number=1)
    assert await old.wait(done, 40) == RunState.SUCCEEDED
    await old.stop()
    return done, await old.enqueue("Invoice", number=2)


async def test_a_renamed_job_that_keeps_its_name_keeps_its_runs(
    make, tmp_path, monkeypatch, history_of_an_old_job, ledger
):
    done, waiting = history_of_an_old_job
    new = make(jobs_package=deployed(tmp_path, monkeypatch, RENAMED))
    await new.start(schedule=False)
    assert await new.wait(waiting, 40) == RunState.SUCCEEDED
    assert [row.Message for row in ledger.runs("Invoice")] == ["InvoiceJob 1", "BillingJob 2"]
    assert new.find("Invoice").name == "Invoice"
    assert ledger.run(done).State == "succeeded"


async def test_a_waiting_run_of_a_job_that_is_gone_waits_on_and_its_history_stays(
    make, tmp_path, monkeypatch, history_of_an_old_job, ledger
):
    done, waiting = history_of_an_old_job
    new = make(jobs_package=deployed(tmp_path, monkeypatch, FORGOTTEN))
    await new.start(schedule=False)
    await until(lambda: ledger.run(waiting).UnknownSince, "it waits for a node that knows it")
    assert (ledger.run(waiting).State, ledger.run(waiting).Attempt) == ("enqueued", 0)

    async def read():
        async with new.store.read() as connection:
            return await system.history(connection, "Invoice"), await runs.get_run(connection, done)

    attempts, run = await new.call(read())
    assert [attempt.success for attempt in attempts] == [True]
    assert run.message == "InvoiceJob 1"


# Jobs that block the event loop.


async def test_a_job_that_blocks_its_loop_is_named_in_the_log_and_pages_go_on(
    scheduler, ledger, caplog
):
    watching = asyncio.create_task(scheduler.call(watch(scheduler.node._jobs, blocked_seconds=0.3)))
    run_id = await scheduler.enqueue(block_the_loop)
    named = f"blocked for 0 s by BlockTheLoop (run {run_id})"
    await until(lambda: named in caplog.text, "it is named")
    assert "gate.open.wait(30)" in caplog.text
    assert await scheduler.read(lambda db: transition.state_of(db, run_id)) == RunState.RUNNING
    gate.open.set()
    assert await scheduler.wait(run_id, 40) == RunState.SUCCEEDED
    await until(lambda: "turns again" in caplog.text, "that is said too")
    watching.cancel()


# The guarantees page itself.


def test_each_proof_that_the_page_names_is_a_test():
    root = Path(__file__).resolve().parents[3]
    page = (root / "docs" / "guarantees.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(test_\w+)`", page)) - names_of_tests() == set()
