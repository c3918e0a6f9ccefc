"""Prune a million rows beside a busy queue; run with ``-m soak -s`` for the figures."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from rt_tools import QUICK
from targcc_scheduler import JobContext, Scheduler, Settings, job
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.tables import job_run, job_server, logged_job

pytestmark = pytest.mark.soak

ROWS = 1_000_000
KEEP = 10
JOBS = 50
BEFORE = 100  # runs measured before the pruning begins
NUMBERS = {
    "sqlite": f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {ROWS}) ",
    "postgresql": f"WITH s(n) AS (SELECT generate_series(1, {ROWS})) ",
}
AT = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', '2025-01-01', (n * 10) || ' seconds')",
    "postgresql": "TIMESTAMPTZ '2025-01-01 00:00Z' + n * INTERVAL '10 seconds'",
}
FILL = """
    INSERT INTO c_LoggedJob (JobName, JobId, JobType, StartedAt, CompletedAt, DurationMs, Success,
        ResultMessage, ServerName, TriggeredBy)
    {numbers}SELECT 'Old' || (n % {jobs}), NULL, 'Recurring', {at}, {at}, n % 5000, n % 20 <> 0,
        'Processed ' || n || ' orders of the day', 'node-1', 'System' FROM s
"""


@job()
async def quick(ctx: JobContext) -> None:  # noqa: ARG001 - a job takes its context
    await asyncio.sleep(0.005)


@pytest.fixture
def filled(migrated_url: str) -> float:
    """Insert a million expired rows; return the seconds taken."""
    began = time.monotonic()
    with sync_engine(migrated_url) as engine, engine.begin() as connection:
        kind = connection.dialect.name
        statement = FILL.format(numbers=NUMBERS[kind], jobs=JOBS, at=AT[kind])
        if kind == "sqlite":  # SQLite has WITH before INSERT
            statement = statement.replace(NUMBERS[kind], "").replace(
                "    INSERT", NUMBERS[kind] + "INSERT"
            )
        connection.exec_driver_sql(statement.replace("%", "%%") if kind != "sqlite" else statement)
    return time.monotonic() - began


@pytest.fixture
async def busy(migrated_url: str, filled: float) -> AsyncIterator[Scheduler]:
    assert filled  # wait for the rows before any work begins
    options = {**QUICK, "heartbeat_seconds": 0.5, "lost_after_seconds": 20}
    scheduler = Scheduler(
        Settings(database_url=migrated_url, **options), jobs_package=__name__, notify=ignore
    )
    await scheduler.start(schedule=False)
    yield scheduler
    await scheduler.stop()


async def ignore(event: object) -> None:
    """Send no alerts."""


async def longest_gap(scheduler: Scheduler) -> float:
    """Watch the heartbeat until cancelled; return the longest gap in seconds."""
    longest, last, since = 0.0, None, time.monotonic()
    try:
        while True:
            beat = await scheduler.read(lambda db: db.scalar(sa.select(job_server.c.HeartbeatAt)))
            now = time.monotonic()
            if beat != last:
                last, since = beat, now
            longest = max(longest, now - since)
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        return longest


async def keep_busy(scheduler: Scheduler, ids: list[int]) -> None:
    while True:
        ids.append(await scheduler.enqueue(quick))
        await asyncio.sleep(0.02)


async def waits(scheduler: Scheduler, ids: list[int]) -> list[float]:
    """Return the waiting time of each run in milliseconds, shortest first."""
    for run_id in ids[-20:]:
        await scheduler.wait(run_id, 120)
    c = job_run.c
    rows = await scheduler.read(
        lambda db: db.execute(sa.select(c.DueAt, c.StartedAt).where(c.Id.between(ids[0], ids[-1])))
    )
    return sorted((row.StartedAt - row.DueAt).total_seconds() * 1000 for row in rows)


async def before(scheduler: Scheduler) -> tuple[float, float]:
    """Measure this machine without pruning: the longest gap in s, and the p99 of waiting times in ms."""
    ids: list[int] = []
    watching = asyncio.create_task(longest_gap(scheduler))
    for _ in range(BEFORE):
        ids.append(await scheduler.enqueue(quick))
        await asyncio.sleep(0.02)
    times = await waits(scheduler, ids)
    watching.cancel()
    return await watching, times[int(len(times) * 0.99)]


async def test_a_million_rows_go_and_nobody_waits(busy: Scheduler, filled: float):
    kind = busy.store.dialect.name
    usual_gap, usual_p99 = await before(busy)
    ids: list[int] = []
    watching = asyncio.create_task(longest_gap(busy))
    working = asyncio.create_task(keep_busy(busy, ids))
    began = time.monotonic()
    removed = await busy.prune(days=30, keep_last=KEEP)
    took = time.monotonic() - began
    working.cancel()
    watching.cancel()
    gap = await watching
    times = await waits(busy, ids)
    p50, p99 = (times[int(len(times) * share)] for share in (0.5, 0.99))
    left = await busy.read(
        lambda db: db.scalar(sa.select(sa.func.count()).where(logged_job.c.JobName.like("Old%")))
    )
    print(  # noqa: T201 - the figures are what it is run for
        f"\n{kind}: {removed['attempts']:,} rows in {took:.1f} s (written in {filled:.1f} s) beside"
        f" {len(ids)} runs; longest heartbeat gap {gap:.2f} s (before {usual_gap:.2f}); due to"
        f" started p50 {p50:.1f} ms, p99 {p99:.1f} ms (before {usual_p99:.1f}),"
        f" longest {times[-1]:.0f} ms"
    )
    assert (removed["attempts"], left) == (ROWS - JOBS * KEEP, JOBS * KEEP)
    assert took < 12 * filled
    assert gap < max(3, 4 * usual_gap)
    assert p99 < max(250, 10 * usual_p99)
