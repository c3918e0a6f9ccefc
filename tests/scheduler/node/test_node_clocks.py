"""Schedules follow the database's clock, even when the node's own clock is wrong."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from guarantee_rig import Ledger, SettableClock, schedulers, until
from rt_tools import QUICK
from targcc_scheduler import JobContext, Scheduler, Settings
from targcc_scheduler.core.clock import DatabaseClock
from targcc_scheduler.kernel.queries import system

HOUR = timedelta(hours=1)
EACH_SECOND = {"overlap": "allow", "misfire": "run_all"}
"""Options with which a busy machine misses no slot."""


@pytest.fixture
async def make(migrated_postgresql_url):
    async with schedulers(migrated_postgresql_url, __name__) as made:
        yield made


async def _nothing(ctx: JobContext) -> None:
    """A job's work."""


@pytest.mark.parametrize("wrong", [HOUR, -HOUR])
async def test_a_node_whose_clock_is_an_hour_off_takes_no_slot_from_the_others(
    make, migrated_postgresql_url, wrong
):
    ledger = Ledger(migrated_postgresql_url)
    events = []

    async def notify(event) -> None:
        events.append(event)

    clock = SettableClock()
    clock.shift = wrong
    nodes = [make(), make(clock=DatabaseClock(clock), notify=notify)]
    for node in reversed(nodes):
        node.add_recurring("Tick", _nothing, "* * * * * *", **EACH_SECOND)
        await node.start()
    started = datetime.now(UTC)
    await until(lambda: len(ledger.runs("Tick")) >= 4, "slots run")
    slots = [row.ScheduledFor for row in ledger.runs("Tick")]
    assert max(slots) <= datetime.now(UTC)
    assert min(slots) > started - timedelta(seconds=20)
    assert len(slots) == (max(slots) - min(slots)) / timedelta(seconds=1) + 1
    assert {row.State for row in ledger.runs("Tick")} <= {"succeeded", "running", "enqueued"}
    (event,) = [event for event in events if event.kind == "node"]
    assert (
        f"3600.0 s {'ahead of' if wrong > timedelta() else 'behind'} the database's"
        in event.message
    )
    shown = await nodes[0].read(system.read_servers)
    assert sum("the database's" in server.trouble for server in shown) == 1


async def test_a_clock_that_is_set_while_a_node_works_changes_no_slot(
    make, migrated_postgresql_url
):
    ledger = Ledger(migrated_postgresql_url)
    clock = SettableClock()
    node = make(clock=DatabaseClock(clock))
    node.add_recurring("Tick", _nothing, "* * * * * *", **EACH_SECOND)
    await node.start()
    await until(lambda: len(ledger.runs("Tick")) >= 1, "slots run")
    for shift in (HOUR, -HOUR, timedelta()):
        clock.shift = shift
        count = len(ledger.runs("Tick"))
        await until(lambda count=count: len(ledger.runs("Tick")) > count, "slots run")
    rows = ledger.runs("Tick")
    assert max(row.ScheduledFor for row in rows) <= datetime.now(UTC)
    assert {row.State for row in rows} <= {"succeeded", "running", "enqueued"}


async def test_whoever_creates_runs_goes_by_the_databases_clock_too(make, migrated_postgresql_url):
    ledger = Ledger(migrated_postgresql_url)
    clock = SettableClock()
    clock.shift = HOUR
    client = make(clock=DatabaseClock(clock))
    client.add_recurring("Tick", _nothing, "0 0 1 1 *")
    run_id = await client.schedule("Tick", delay=timedelta(seconds=1))
    assert abs(ledger.run(run_id).DueAt - datetime.now(UTC)) < timedelta(seconds=30)


async def test_a_clock_that_is_set_is_told_where_the_database_has_no_other(migrated_sqlite_url):
    events = []

    async def notify(event) -> None:
        events.append(event)

    clock = SettableClock()
    settings = Settings(_env_file=None, database_url=migrated_sqlite_url, **QUICK)
    node = Scheduler(settings, jobs_package=__name__, clock=DatabaseClock(clock), notify=notify)
    await node.start()
    try:
        await asyncio.sleep(0)
        first = await node.read(_last_beat)
        while await node.read(_last_beat) == first:
            pass
        clock.shift = HOUR
        await until(lambda: events, "it is told")
    finally:
        await node.stop()
    assert "was set forward by 3600.0 s" in events[0].message


async def _last_beat(connection):
    return await connection.scalar(sa.text("SELECT HeartbeatAt FROM c_JobServer"))
