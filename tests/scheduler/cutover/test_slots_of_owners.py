"""Slots of jobs by owner, with a clock that the test sets and a real database."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa
from rt_tools import until
from targcc_scheduler import Actor, ActorKind
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel import job_owner as owners
from targcc_scheduler.kernel.engine.sqlite import EmbeddedEngine
from targcc_scheduler.kernel.job_owner import Owner
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.node import recurring, slots
from targcc_scheduler.kernel.node.recurring import RecurringScheduler
from targcc_scheduler.kernel.poller import poller_of, see
from targcc_scheduler.kernel.worker.node_services import NodeServices
from targcc_scheduler.settings import Settings

NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DANA = Actor(ActorKind.MANUAL, "dana")


class World:
    """A database, a clock and the recurring scheduler of a node."""

    def __init__(self, url, *jobs, **settings):
        self.store = Store(url)
        self.clock = ManualClock(NOON)
        settings = Settings(_env_file=None, database_url=url)
        engine = EmbeddedEngine(None, self.clock)
        services = NodeServices(self.store, engine, self.clock, settings, lambda _: None)
        self.node = RecurringScheduler(services, {item.name: item for item in jobs})

    async def own(self, owner, name="Report"):
        async with self.store.write() as connection:
            await owners.put(connection, name, owner, DANA, self.clock.now())

    async def at(self, instant):
        self.clock.set(instant)
        self.node.see(await poller_of(self.store).look())
        return await self.node.tick()

    async def runs(self):
        query = sa.select(job_run.c.ScheduledFor).order_by(job_run.c.Id)
        async with self.store.read() as connection:
            return list(await connection.scalars(query))

    async def seen(self):
        async with self.store.read() as connection:
            recorded = await owners.recorded(connection, ["Report"], NOON, NOON + 99 * HOUR)
            return recorded["Report"]


def _job(cron="0 * * * *", **options):
    return define(lambda: None, cron, name="Report", timezone="UTC", **options)


@pytest.fixture
async def world(migrated_sqlite_url):
    made = World(migrated_sqlite_url, _job())
    await made.node.tick()
    yield made
    await made.store.dispose()


async def test_slots_of_a_job_that_the_old_server_runs_pass_silently(world):
    await world.own(Owner.OLD)
    assert await world.at(NOON + HOUR) == NOON + 2 * HOUR
    assert await world.runs() == await world.seen() == []


async def test_slots_of_a_job_in_shadow_are_written_down_once_and_run_nothing(world):
    await world.own(Owner.SHADOW)
    await world.at(NOON + HOUR)
    await world.at(NOON + HOUR)
    await world.at(NOON + 3 * HOUR)  # one slot falls in a downtime
    assert await world.seen() == [NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR]
    assert await world.runs() == []


async def test_a_slot_that_has_come_before_the_switch_runs_when_the_job_is_here(world):
    await world.own(Owner.SHADOW)
    await world.at(NOON + HOUR)
    async with world.store.write() as connection:
        await slots.go_on_from(connection, "Report", NOON + HOUR - timedelta(seconds=1))
    await world.own(Owner.NEW)
    await world.at(NOON + HOUR + timedelta(seconds=30))
    assert await world.runs() == [NOON + HOUR]


async def test_a_job_that_counts_from_its_runs_has_no_slots_in_shadow(migrated_sqlite_url):
    every = define(lambda: None, every="15m", after="completion", name="Report", timezone="UTC")
    world = World(migrated_sqlite_url, every)
    await world.own(Owner.SHADOW)
    await world.node.tick()
    await world.at(NOON + HOUR)
    assert await world.seen() == await world.runs() == []
    await world.store.dispose()


async def test_after_a_lost_connection_it_looks_again_though_its_clock_stands_still(
    world, monkeypatch
):
    looks = []

    async def tick():
        looks.append(world.clock.now())
        if len(looks) == 1:
            raise ConnectionResetError

    monkeypatch.setattr(world.node, "tick", tick)
    running = asyncio.create_task(world.node.run())
    await until(lambda: len(looks) >= 2)
    running.cancel()


async def test_a_change_of_owners_wakes_the_node_and_nothing_else_does(world, monkeypatch):
    woken, looks = [], []
    monkeypatch.setattr(recurring, "_OWNERS_SECONDS", 0.01)
    monkeypatch.setattr(world.node, "wake", lambda: woken.append(len(looks)))
    see = world.node.see
    monkeypatch.setattr(world.node, "see", lambda seen: (looks.append(seen), see(seen)))
    following = asyncio.create_task(world.node.follow_owners())
    await until(lambda: len(looks) >= 3)
    assert woken == []
    await world.own(Owner.OLD)
    await until(lambda: woken)
    count = len(looks)
    await until(lambda: len(looks) >= count + 3)
    assert len(woken) == 1
    following.cancel()


async def test_an_owner_that_was_written_at_an_earlier_instant_is_seen(world):
    """Of two transactions, the first to begin may be the last to commit, and clocks differ."""
    seen = []
    for owner, before in ((Owner.OLD, 0), (Owner.NEW, 1), (Owner.SHADOW, 2)):
        at = world.clock.now() - before * timedelta(milliseconds=1)
        async with world.store.write() as connection:
            await owners.put(connection, "Other", Owner.OLD, DANA, NOON + HOUR)
            await owners.put(connection, "Report", owner, DANA, at)
            seen.append((await see(connection)).owners)
    assert all(earlier != other for earlier, other in pairwise(seen))


async def test_slots_that_were_written_down_long_ago_are_pruned(world):
    await world.own(Owner.SHADOW)
    await world.at(NOON + 2 * HOUR)
    async with world.store.write() as connection:
        removed = [await owners.prune(connection, NOON + 2 * HOUR, NOON, 1) for _ in range(2)]
    assert removed == [1, 0]
    assert await world.seen() == [NOON + 2 * HOUR]


async def test_a_job_that_has_an_owner_before_it_is_seen_is_not_created_paused(migrated_sqlite_url):
    world = World(migrated_sqlite_url, _job(paused=True))
    await world.own(Owner.SHADOW)
    await world.node.tick()
    await world.at(NOON + HOUR)
    assert await world.seen() == [NOON + HOUR]
    await world.store.dispose()
