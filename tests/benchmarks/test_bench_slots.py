"""Slots per second that a node handles, beside an INSERT of as many runs: 10,000 schedules, 3,000 of them each minute; run with `-m benchmark -n0 -s`."""

import statistics
import time
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from bench_results import OURS_LITE, OURS_PG, SLOTS, measured
from targcc_scheduler import migrate
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel.engine.factory import make_queue_engine
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.node.recurring import RecurringScheduler
from targcc_scheduler.kernel.worker.node_services import NodeServices
from targcc_scheduler.settings import Settings

pytestmark = pytest.mark.benchmark

JOBS, EACH_MINUTE, ROUNDS = 10_000, 3_000, 5
LEAST = {"sqlite": 0.18, "postgresql": 0.12}
"""Least ratio to the rate of the INSERT; 0.26 to 0.28 and 0.18 to 0.22 were measured."""


def _nothing() -> None:
    """A job's work."""


def _definitions(count: int) -> dict:
    every, daily = "* * * * *", "{} {} * * *"
    jobs = (
        define(
            _nothing,
            every if n < EACH_MINUTE else daily.format(n % 60, n % 24),
            name=f"job{n}",
        )
        for n in range(count)
    )
    return {job.name: job for job in jobs}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'slots.db'}"
    return request.getfixturevalue("postgresql_url")


async def _started(store, clock, jobs):
    """Start a node with these jobs; return the node, its engine, and the seconds of its start."""
    settings = Settings(_env_file=None, database_url=str(store.engine.url))
    engine = make_queue_engine(settings, clock, store.engine)
    await engine.open()
    services = NodeServices(store, engine, clock, settings, lambda _event: None)
    node, started = RecurringScheduler(services, jobs), time.perf_counter()
    await node.tick()
    return node, engine, time.perf_counter() - started


async def _inserted(store, at):
    """Insert runs by one call of SQLAlchemy, without schedules, statistics and the queue; return the seconds, and delete the runs."""
    rows = [
        {"JobName": f"row{n}", "JobType": "Recurring", "State": "succeeded", "Queue": "default", "Priority": 0}
        | {"ScheduledFor": at, "DueAt": at, "CreatedAt": at, "TriggeredBy": "x"}
        for n in range(EACH_MINUTE)
    ]  # fmt: skip
    started = time.perf_counter()
    async with store.write() as connection:
        await connection.execute(sa.insert(job_run), rows)
    seconds = time.perf_counter() - started
    async with store.write() as connection:
        await connection.execute(sa.delete(job_run).where(job_run.c.JobName.startswith("row")))
    return seconds


async def test_slots_per_second(url, request):
    migrate(url)
    store, clock = Store(url), ManualClock(datetime.now(UTC).replace(second=0, microsecond=0))
    _, first, thousand = await _started(store, clock, _definitions(1_000))
    await first.close()
    node, engine, start_up = await _started(store, clock, _definitions(JOBS))
    rates, ratios = [], []
    for _ in range(ROUNDS):
        floor = await _inserted(store, clock.now())
        clock.set(clock.now() + timedelta(minutes=1))
        started = time.perf_counter()
        await node.tick()
        seconds = time.perf_counter() - started
        rates.append(EACH_MINUTE / seconds)
        ratios.append(floor / seconds)
        async with store.write() as connection:
            ended = await connection.execute(
                sa.text("UPDATE c_JobRun SET State = 'succeeded' WHERE State = 'enqueued'")
            )
            assert ended.rowcount >= EACH_MINUTE
    await engine.close()
    await store.dispose()
    rate, ratio = statistics.median(rates), statistics.median(ratios)
    kind = request.node.callspec.id
    name = {"sqlite": OURS_LITE, "postgresql": OURS_PG}[kind]
    measured(SLOTS, name, "slots handled", "slots/s", rates)
    measured(SLOTS, name, "start with 1,000 jobs", "s", [thousand])
    measured(SLOTS, name, "start with 10,000 jobs", "s", [start_up])
    print(  # noqa: T201 - what the benchmark is for
        f"\n{kind}: {rate:,.0f} slots/s (median of {ROUNDS}, {min(rates):,.0f} to {max(rates):,.0f}), {ratio:.2f} of an INSERT of the runs;"
        f" start-up with 1,000 jobs {thousand:.2f} s, with {JOBS:,} {start_up:.2f} s"
    )
    assert ratio >= LEAST[kind]
