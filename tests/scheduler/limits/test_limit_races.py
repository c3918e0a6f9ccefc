"""Races of claims, settlements and renames: a value that was read may have changed before the write."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from engine_rig import Node, nodes_on, while_it_waits
from limits_tools import add_key, change, claim, keyed, rows
from targcc_scheduler import Settings
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.dialects.frequent import FrequentStatement
from targcc_scheduler.db.tables import job_batch, job_limit
from targcc_scheduler.kernel import limit_claims, limit_renames, limits, on_settled
from targcc_scheduler.kernel.jobs.declaration import declare
from targcc_scheduler.kernel.jobs.options import LimitPolicy
from targcc_scheduler.kernel.node.releases import Aliases
from targcc_scheduler.kernel.runs import claim as run_claim
from targcc_scheduler.kernel.runs import settle
from targcc_scheduler.kernel.runs.values import Claim, Offer, OfferedRun, Settlement, Tie
from targcc_scheduler.kernel.worker.claimer import Claimer
from targcc_scheduler.kernel.worker.node_services import NodeServices
from targcc_scheduler.project import current


def work(k: str = "") -> None:
    """Do nothing."""


def services_of(node: Node) -> NodeServices:
    settings = Settings(_env_file=None, database_url="postgresql://here/jobs")
    return NodeServices(node.store, node.engine, node.clock, settings, lambda _: None)


@pytest.fixture
async def node(migrated_postgresql_url: str) -> AsyncIterator[Node]:
    """A node that does not claim runs; PostgreSQL only, because SQLite has one writer."""
    async with nodes_on(migrated_postgresql_url) as make:
        yield await make()


async def look_ahead(node: Node, most: int) -> None:
    async with node.store.write() as connection:
        terms = {"Work": LimitPolicy(most=most)}
        await limit_claims.look_ahead(connection, "default", terms, node.clock.now())


LATE = "SELECT pg_advisory_xact_lock(7)"
"""Holds the lock that :func:`late` statements wait for."""


def late(statement: FrequentStatement) -> FrequentStatement:
    """Return the statement with a wait for a lock after its snapshot. Later changes are visible only in the rows that the statement
    locks.
    """
    waits = sa.text("0 <= (SELECT count(*) FROM (SELECT pg_advisory_xact_lock_shared(7)) AS waits)")
    return FrequentStatement(statement._statement.where(waits))


async def test_a_run_that_has_gone_on_since_a_look_ahead_began_gets_no_room(node, monkeypatch):
    [run_id] = await keyed(node, "a")
    monkeypatch.setattr(limit_claims, "_AHEAD", late(limit_claims._AHEAD))

    async def go_on(_holder):
        due = node.clock.now() + timedelta(hours=1)
        await change(node, [run_id], State="retrying", DueAt=due)

    await while_it_waits(node, look_ahead(node, 1), go_on, LATE)
    [row] = await rows(node, [run_id])
    assert (row.State, row.RoomAt) == ("retrying", None)


async def test_a_run_that_another_claim_has_taken_is_not_chosen_where_waiting_counts(
    node, monkeypatch
):
    first, second = await node.create_many(2)
    statement = late(run_claim._next_aged(node.store.engine.dialect.name))
    monkeypatch.setattr(run_claim, "_next_aged", lambda _: statement)

    async def choose():
        async with node.store.write() as connection:
            offer = Offer(wanted={"default": 2}, aging={"default": 300})
            return await run_claim.next_waiting(connection, offer, node.terms())

    async def take(_holder):
        assert await claim(node, [first]) == [first]

    choice = await while_it_waits(node, choose(), take, LATE)
    assert choice.run_ids == [second]


async def test_none_of_many_runs_waits_while_there_is_room(node):
    ids = await keyed(node, "a", 250)
    await look_ahead(node, 1_000)
    stored_runs = await rows(node, ids)
    assert {row.State for row in stored_runs} == {"enqueued"}
    assert all(row.RoomAt for row in stored_runs)


async def test_two_claims_that_make_keys_in_opposite_order_do_not_wait_for_each_other(node):
    ids = [*await keyed(node, "a"), *await keyed(node, "b")]
    first, second = await rows(node, ids)
    capacities = [
        limit_claims.KeyCapacities({"Work": LimitPolicy(most=1)}, node.clock.now())
        for _ in range(2)
    ]
    async with node.store.write() as connection, node.store.write() as other:
        await capacities[0].look(connection, [first])
        await capacities[1].look(other, [second])
        await asyncio.gather(
            capacities[0].look(connection, [second]), capacities[1].look(other, [first])
        )
        assert capacities[0].is_held_up(second)
        assert capacities[1].is_held_up(first)


@pytest.mark.parametrize("untied", [True, False], ids=["at once", "in a transaction"])
async def test_an_end_during_a_rename_lets_those_go_that_wait(node, untied):
    [ends] = await keyed(node, "a")
    [waits] = await keyed(node, "a", State="awaiting")
    await change(node, [waits], Ties=int(Tie.LIMITED | Tie.ASKS))
    await add_key(node, "a", Most=1, IsAwaited=True)
    now = node.clock.now()
    await change(node, [ends], State="running", ServerId=node.name, StartedAt=now, Attempt=1)
    [row] = await rows(node, [ends])
    outcome = Settlement(claim=run_claim.claim_of(row, {}), state=RunState.SUCCEEDED)

    async def end():
        begin = node.store.write_at_once if untied else node.store.write
        async with begin() as connection:
            settled = await settle.settle(connection, [outcome], now, untied=untied)
            return settled, await limits.on_settled(connection, settled, now)

    async def rename(holder):
        await limit_renames.lead_on(holder, "Task", "Work", now)

    lock = f"SELECT Id FROM c_JobRun WHERE Id = {ends} FOR UPDATE"
    settled, consequences = await while_it_waits(node, end(), rename, lock)
    if untied:
        assert settled == []
        assert await node.state(ends) == "running"
    else:
        assert [run.run_id for run in consequences.ready] == [waits]
        assert await node.state(waits) == "enqueued"


async def test_a_key_has_its_room_once_while_its_job_gets_another_name(node):
    now = node.clock.now()
    [begun] = await keyed(node, "a", State="running", ServerId=node.name, StartedAt=now, Attempt=1)
    [waits] = await keyed(node, "a")
    await add_key(node, "a", Most=1)
    task = declare(work, name="Task", aliases=["Work"], limit={"key": "k", "running": 1})
    aliases = Aliases(services_of(node), {"Task": task.complete(current())}, lambda: "1")

    async def claim_another(_holder):
        assert await claim(node, [waits]) == []

    lock = f"SELECT Id FROM c_JobRun WHERE Id = {begun} FOR UPDATE"
    await while_it_waits(node, aliases.start(), claim_another, lock)
    [late] = await keyed(node, "a")  # as a node inserts that has not seen the new name
    await aliases.start()
    stored_runs = await rows(node, [begun, waits, late])
    assert [row.LimitKey for row in stored_runs] == ["Task k=a"] * 3
    assert [row.State for row in stored_runs] == ["running", "awaiting", "enqueued"]


async def test_what_begins_while_its_job_waits_for_another_name_goes_along(node):
    [begun] = await keyed(node, "a")
    late = []

    async def begin_another(_holder):
        late.extend(await keyed(node, "b"))
        assert await claim(node, late) == late

    async def rename(connection):
        await limit_renames.lead_on(connection, "Task", "Work", node.clock.now())

    lock = f"SELECT Id FROM c_JobRun WHERE Id = {begun} FOR UPDATE"
    await while_it_waits(node, node.store.change(rename), begin_another, lock)
    stored_runs = await rows(node, [begun, *late])
    assert [row.LimitKey for row in stored_runs] == ["Task k=a", "Task k=b"]


async def test_the_run_that_waits_for_the_next_token_gets_it_before_younger_ones(node):
    ids = await keyed(node, "a", 3, State="awaiting")
    await change(node, ids, Ties=int(Tie.LIMITED | Tie.ASKS))
    now = node.clock.now()
    hour = {"IntervalMs": 3_600_000.0, "Burst": 1, "IsAwaited": True}
    await add_key(node, "a", **hour, NextAt=now + timedelta(hours=1))
    async with node.store.write() as connection:
        [woken] = await limits.admit(connection, ["Work k=a"], now)
    assert woken.run_id == ids[0]
    await change(node, ids[:1], State="enqueued", DueAt=now)
    async with node.store.write() as connection:
        await connection.execute(sa.update(job_limit).values(NextAt=now - timedelta(hours=1)))
        terms = replace(node.terms(), keyed={"Work": LimitPolicy(interval_ms=3_600_000.0, burst=1)})
        offer = Offer(runs=[OfferedRun(ids[0], "Work")])
        claimed = await run_claim.claim(connection, offer, terms)
    assert [claim.run_id for claim in claimed.claims] == ids[:1]
    assert [row.State for row in await rows(node, ids)] == ["running", "scheduled", "awaiting"]


@pytest.fixture
async def expires(node: Node) -> int:
    """Create a run of a batch that has passed its expiry time."""
    now = node.clock.now()
    batch = {"Id": 1, "Name": "some", "Kind": "batch", "State": "running", "Total": 1}
    batch |= {"CreatedBy": "dana", "CreatedAt": now, "Pending": 1}
    async with node.store.write() as connection:
        await connection.execute(sa.insert(job_batch).values(batch))
    [run_id] = await keyed(node, "b", ExpiresAt=now - timedelta(seconds=1), BatchId=1)
    await change(node, [run_id], Ties=int(Tie.LIMITED | Tie.BATCH))
    return run_id


def claims_of(node: Node, run_ids: list[int]) -> Awaitable[list[Claim]]:
    """Claim on a node that offers itself these runs."""
    terms = replace(node.terms(), keyed={"Work": LimitPolicy(most=1)})
    known = {"Work": declare(work, name="Work").complete(current())}
    claimer = Claimer(
        services_of(node),
        known,
        terms=lambda *_: terms,
        give_back=lambda *_: asyncio.sleep(0),
        refused=lambda: None,
    )

    async def offer(_connection):
        return Offer(runs=[OfferedRun(run_id, "Work") for run_id in run_ids])

    return claimer.claim(offer)


async def test_a_claim_holds_no_key_while_it_ends_what_has_expired(node, expires):
    [begins] = await keyed(node, "a")
    await add_key(node, "a", Most=1)

    async def look(holder):
        free = sa.select(job_limit.c.LimitKey).with_for_update(skip_locked=True)
        assert list(await holder.scalars(free)) == ["Work k=a"]

    work = claims_of(node, [begins, expires])
    lock = "SELECT Id FROM c_JobBatch FOR UPDATE"
    claims = await while_it_waits(node, work, look, lock)
    assert [claim.run_id for claim in claims] == [begins]
    assert await node.state(expires) == "cancelled"


async def test_what_could_not_be_ended_ends_later_and_what_was_claimed_begins(
    node, expires, monkeypatch
):
    [begins] = await keyed(node, "a")

    async def fail(*_):
        raise ValueError("whatever")

    with monkeypatch.context() as patched:
        patched.setattr(on_settled, "end", fail)
        claims = await claims_of(node, [begins, expires])
    assert [claim.run_id for claim in claims] == [begins]
    assert await node.state(expires) == "enqueued"
    assert await claims_of(node, [expires]) == []
    assert await node.state(expires) == "cancelled"


@pytest.mark.parametrize("chore", ["look_ahead", "deferred_keys.begun"])
async def test_whatever_fails_after_a_claim_what_was_claimed_begins(node, monkeypatch, chore):
    first, second = await keyed(node, "a", 2)
    await change(node, [first], Ties=int(Tie.LIMITED | Tie.KEYED))
    await add_key(node, "a", Most=1)
    failed = []

    async def fail(*_):
        failed.append(chore)
        raise ValueError("whatever")

    monkeypatch.setattr(f"targcc_scheduler.kernel.worker.claimer.{chore}", fail)
    assert [claim.run_id for claim in await claims_of(node, [first, second])] == [first]
    assert failed == [chore]
    assert [row.State for row in await rows(node, [first, second])] == ["running", "awaiting"]
