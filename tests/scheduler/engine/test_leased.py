"""The lease of the active node: one node claims runs, and a standby takes over."""

import asyncio
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from targcc_scheduler.core.clock import SystemClock
from targcc_scheduler.core.errors import LeaseLost
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.tables import ACTIVE_NODE, job_server, job_setting
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel.engine import leased
from targcc_scheduler.kernel.engine.leased import Lease


class Locks:
    """The locks of a server: each belongs to a session, and ends with it."""

    def __init__(self):
        self.owners = {}

    async def try_lease(self, connection, name):
        """Lock a name for a session unless another session has the lock."""
        owner = self.owners.get(name)
        if owner is None or owner.closed or owner.invalidated:
            self.owners[name] = connection
        return self.owners[name] is connection


@pytest.fixture
def locks(monkeypatch, migrated_url):
    made = Locks()
    dialect = known.for_url(migrated_url)
    if not dialect.has_lease:
        monkeypatch.setattr(dialect, "try_lease", made.try_lease)
    monkeypatch.setattr(leased, "_CHECK_SECONDS", 0.0)
    return made


@pytest.fixture
async def make_lease(migrated_url, locks):
    del locks
    stores, leases = [], []

    def make():
        stores.append(Store(migrated_url))
        leases.append(Lease(stores[-1].engine, SystemClock()))
        return leases[-1]

    yield make
    for lease in leases:
        await lease.close()
    for store in stores:
        await store.dispose()


@pytest.fixture
async def store(migrated_url):
    made = Store(migrated_url)
    yield made
    await made.dispose()


async def test_one_node_is_active_and_stays_so(make_lease):
    first, second = make_lease(), make_lease()
    assert [await first.is_held(), await second.is_held()] == [True, False]
    assert [await second.is_held(), await first.is_held()] == [False, True]


async def test_the_database_names_the_active_node(make_lease, store):
    first, second = make_lease(), make_lease()
    names = []
    await _are_up(store, "a:1", "a:2", "b:1")
    for lease, server in ((first, "a:1"), (second, "b:1"), (first, "a:2")):
        await lease.is_held(server)
        async with store.read() as connection:
            value = await connection.scalar(
                sa.select(job_setting.c.Value).where(job_setting.c.Name == ACTIVE_NODE)
            )
        names.append(value.split(" ")[1])
    assert names == ["a:1", "a:1", "a:2"]  # the node registered again
    async with store.write() as connection:
        await first.prove(connection)


async def test_a_standby_becomes_active_when_the_active_node_has_ended(make_lease):
    first, second = make_lease(), make_lease()
    await first.is_held()
    await first.close()
    assert [await second.is_held(), await first.is_held()] == [True, False]


async def test_a_claim_of_the_active_node_goes_on(make_lease, store):
    lease = make_lease()
    await lease.is_held()
    async with store.write() as connection:
        await lease.prove(connection)


async def test_a_claim_of_a_node_that_lost_the_lease_unnoticed_is_refused(make_lease, store):
    first, second = make_lease(), make_lease()
    await first.is_held()
    await first._connection.invalidate()  # the server ends the session
    assert await second.is_held()
    with pytest.raises(LeaseLost, match="another node has become active"):
        async with store.write() as connection:
            await first.prove(connection)
    assert not await first.is_held()


async def test_a_takeover_waits_for_the_transaction_that_the_former_node_has_begun(
    make_lease, store
):
    first, second = make_lease(), make_lease()
    await first.is_held()
    async with store.write() as connection:
        await first.fence(connection)
        await first._connection.invalidate()  # the server ends the session
        takeover = asyncio.create_task(second.is_held())
        done, _ = await asyncio.wait({takeover}, timeout=0.5)
        assert not done
    assert await takeover


async def test_a_write_of_the_former_node_is_refused_once_and_then_goes_on_as_that_of_a_standby(
    make_lease, store
):
    first, second = make_lease(), make_lease()
    store.fence = first.fence
    await first.is_held()
    await first._connection.invalidate()
    assert await second.is_held()
    with pytest.raises(LeaseLost):
        async with store.write():
            pass
    async with store.write() as connection:
        assert not await first.is_held()
        with pytest.raises(LeaseLost):
            await first.prove(connection)


async def test_a_node_that_leaves_takes_the_lease_no_more(make_lease):
    lease = make_lease()
    await lease.is_held()
    await lease.leave()
    assert not await lease.is_held()


async def test_a_node_whose_session_is_lost_asks_again_later(make_lease):
    lease = make_lease()
    await lease.is_held()
    await lease.close()
    assert await lease.is_held()


async def _are_up(store, *servers):
    now = datetime.now(UTC)
    row = {"ProcessId": 1, "Queues": "", "Workers": 1, "Version": ""}
    row |= {"StartedAt": now, "HeartbeatAt": now}
    async with store.write() as connection:
        for server in servers:
            named = {"Id": server, "Name": server}
            await connection.execute(sa.insert(job_server).values(row | named))


async def _is_declared_lost(store, server):
    async with store.write() as connection:
        await connection.execute(sa.delete(job_server).where(job_server.c.Id == server))


async def test_a_standby_takes_over_from_a_lost_node_whose_session_lives_on(make_lease, store):
    first, second, third = make_lease(), make_lease(), make_lease()
    await _are_up(store, "a:1", "a:2", "b:1", "c:1")
    assert [await first.is_held("a:1"), await second.is_held("b:1")] == [True, False]
    await _is_declared_lost(store, "a:1")
    assert [await second.is_held("b:1"), await third.is_held("c:1")] == [True, False]
    with pytest.raises(LeaseLost):  # it thaws
        async with store.write() as connection:
            await first.prove(connection)
    assert [await first.is_held("a:2"), await second.is_held("b:1")] == [False, True]
    await second.close()
    assert [await first.is_held("a:2"), await second.is_held("b:1")] == [True, False]


async def test_of_two_takeovers_that_meet_one_is_refused(make_lease, store, monkeypatch):
    first, second, third = make_lease(), make_lease(), make_lease()
    await _are_up(store, "a:1", "b:1", "c:1")
    await first.is_held("a:1")
    await _is_declared_lost(store, "a:1")
    write, both = Lease._write_mark, asyncio.Barrier(2)

    async def write_together(lease, server):
        await both.wait()
        return await write(lease, server)

    monkeypatch.setattr(Lease, "_write_mark", write_together)
    held = await asyncio.gather(second.is_held("b:1"), third.is_held("c:1"))
    assert sorted(held) == [False, True]
