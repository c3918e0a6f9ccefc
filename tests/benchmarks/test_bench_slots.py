"""Slots per second that a node handles: 10,000 schedules, 3,000 of them each minute; run with `-m benchmark -n0 -s`."""

import statistics
import time
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from bench_results import OURS_LITE, OURS_PG, SLOTS, measured
from targcc_scheduler import migrate
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel.engine.factory import make_queue_engine
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.node.recurring import RecurringScheduler
from targcc_scheduler.kernel.worker.node_services import NodeServices
from targcc_scheduler.settings import Settings

pytestmark = pytest.mark.benchmark

JOBS, EACH_MINUTE, ROUNDS = 10_000, 3_000, 5


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


async def test_slots_per_second(url, request):
    migrate(url)
    store, clock = Store(url), ManualClock(datetime.now(UTC).replace(second=0, microsecond=0))
    _, first, thousand = await _started(store, clock, _definitions(1_000))
    await first.close()
    node, engine, start_up = await _started(store, clock, _definitions(JOBS))
    rates = []
    for _ in range(ROUNDS):
        clock.set(clock.now() + timedelta(minutes=1))
        started = time.perf_counter()
        await node.tick()
        rates.append(EACH_MINUTE / (time.perf_counter() - started))
        async with store.write() as connection:
            ended = await connection.execute(
                sa.text("UPDATE c_JobRun SET State = 'succeeded' WHERE State = 'enqueued'")
            )
            assert ended.rowcount >= EACH_MINUTE
    await engine.close()
    await store.dispose()
    rate, kind = statistics.median(rates), request.node.callspec.id
    name = {"sqlite": OURS_LITE, "postgresql": OURS_PG}[kind]
    measured(SLOTS, name, "slots handled", "slots/s", rates)
    measured(SLOTS, name, "start with 1,000 jobs", "s", [thousand])
    measured(SLOTS, name, "start with 10,000 jobs", "s", [start_up])
    print(  # noqa: T201 - what the benchmark is for
        f"\n{request.node.callspec.id}: {rate:,.0f} slots/s (median of {ROUNDS}, {min(rates):,.0f} to {max(rates):,.0f});"
        f" start-up with 1,000 jobs {thousand:.2f} s, with {JOBS:,} {start_up:.2f} s"
    )
    assert rate >= {"sqlite": 1_000, "postgresql": 2_000}[request.node.callspec.id]
