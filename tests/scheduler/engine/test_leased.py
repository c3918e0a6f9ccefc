"""The lease of the active node: one node claims runs, and a standby takes over."""

import asyncio

import pytest
from targcc_scheduler.core.clock import SystemClock
from targcc_scheduler.core.errors import LeaseLost
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel.engine import leased
from targcc_scheduler.kernel.engine.leased import Lease


class Locks:
    """The locks of a server: each belongs to a session, and ends with it."""

    def __init__(self):
        self.owner = None

    async def try_lease(self, connection, name):
        """Lock a name for a session unless another session has the lock."""
        del name
        if self.owner is None or self.owner.closed or self.owner.invalidated:
            self.owner = connection
        return self.owner is connection


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
