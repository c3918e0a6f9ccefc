"""Claims in one statement, on PostgreSQL: the same runs as a claim in a transaction takes, and nothing touched of the others."""

from collections.abc import AsyncIterator, Collection
from datetime import timedelta

import pytest
import sqlalchemy as sa
from engine_rig import Node, nodes_on, until
from psycopg import _queries
from targcc_scheduler.core.errors import NodeUnknown
from targcc_scheduler.engine.procrastinate import tasks
from targcc_scheduler.engine.procrastinate.entries import ENTRIES
from targcc_scheduler.storage.dialects.psycopg_driver import PsycopgStatement
from targcc_scheduler.storage.runs import claim as claiming
from targcc_scheduler.storage.runs import claim_at_once as at_once
from targcc_scheduler.storage.runs.claim_at_once import Taken, claim_at_once
from targcc_scheduler.storage.runs.values import POISON_AFTER, Offer, OfferedRun
from targcc_scheduler.storage.tables import job_run, job_server


@pytest.fixture
async def node(migrated_postgresql_url: str) -> AsyncIterator[Node]:
    """A node that does not work."""
    async with nodes_on(migrated_postgresql_url) as make:
        yield await make()


async def take(node: Node, plain: Collection[str] = ("Work",), count: int = 10) -> Taken:
    """Claim as the engine does."""
    asked = {"queue": "default", "refused": "", "count": count}
    async with node.store.write_at_once() as connection:
        return await claim_at_once(connection, ENTRIES, asked, node.terms(), plain)


async def entries(node: Node) -> int:
    """How many entries wait."""
    async with node.store.read() as connection:
        found = await connection.scalar(sa.text("SELECT count(*) FROM procrastinate_jobs"))
    return int(found or 0)


async def change(node: Node, run_id: int, **values: object) -> None:
    async with node.store.write() as connection:
        await connection.execute(sa.update(job_run).where(job_run.c.Id == run_id).values(**values))


async def test_the_most_urgent_runs_are_taken_and_their_entries_are_gone(node):
    late = await node.create("Work")
    urgent = await node.create("Work", priority=10)
    last = await node.create("Work")
    taken = await take(node, count=2)
    assert [claim.run_id for claim in taken.claims] == [urgent, late]
    assert (taken.count, taken.rest) == (2, False)
    assert await entries(node) == 1
    assert await node.state(last) == "enqueued"


async def test_a_claim_is_what_a_transaction_makes_of_it(node):
    one, other = [await node.create("Work") for _ in range(2)]
    (claim,) = (await take(node, count=1)).claims
    async with node.store.write() as connection:
        offer = Offer(runs=[OfferedRun(other, "Work")])
        (usual,) = (await claiming.claim(connection, offer, node.terms())).claims
    same = {name: getattr(claim, name) for name in claim.__dataclass_fields__}
    differs = {name: value for name, value in same.items() if value != getattr(usual, name)}
    assert set(differs) <= {"run_id", "created_at", "due_at", "started_at"}
    assert claim.run_id == one


@pytest.mark.parametrize(
    "values", [{"JobName": "Limited"}, {"LostWorkers": POISON_AFTER}], ids=["job", "poison"]
)
async def test_an_entry_of_another_run_stays_for_a_transaction(node, values):
    special, plain = await node.create("Work", priority=5), await node.create("Work")
    await change(node, special, **values)
    taken = await take(node)
    assert [claim.run_id for claim in taken.claims] == [plain]
    assert (taken.count, taken.rest) == (2, True)
    assert await node.state(special) == "enqueued"
    assert await entries(node) == 1


async def test_an_entry_of_a_run_that_is_over_goes(node):
    run_id = await node.create("Work")
    await change(node, run_id, State="cancelled")
    taken = await take(node)
    assert (taken.claims, taken.count, taken.rest) == ([], 1, False)
    assert await entries(node) == 0


@pytest.fixture
def bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are submitted together are bundled from a hundred on."""
    monkeypatch.setattr(tasks, "_AT_LEAST", 100)


@pytest.mark.usefixtures("bundles")
async def test_nothing_is_taken_that_comes_after_a_bundle(node):
    first = await node.create("Work")
    await node.create_many(250)
    last = await node.create("Work")
    taken = await take(node)
    assert [claim.run_id for claim in taken.claims] == [first]
    assert (taken.rest, taken.bundle) == (False, True)
    assert await node.state(last) == "enqueued"
    assert await entries(node) == 3  # two bundles, and the last


@pytest.mark.usefixtures("bundles")
async def test_the_runs_of_bundles_are_taken_in_their_order_between_what_came_before_and_after(
    node,
):
    runs = [await node.create("Work"), *await node.create_many(450), await node.create("Work")]
    urgent = await node.create("Work", priority=1)
    node.work(default=1)
    await until(lambda: len(node.ended) == len(runs) + 1, "all are performed")
    assert node.begun == [urgent, *runs]


@pytest.mark.usefixtures("bundles")
async def test_a_bundle_of_later_runs_waits_for_them(node):
    runs = await node.create_many(150, due=timedelta(hours=1))
    await node.create("Work")
    taken = await take(node)
    assert (len(taken.claims), taken.bundle) == (1, False)
    assert await node.state(runs[0]) == "scheduled"


@pytest.mark.parametrize("drained", [True, False], ids=["drained", "lost"])
async def test_a_node_without_a_place_takes_nothing(node, drained):
    run_id = await node.create("Work")
    me = job_server.c.Id == node.name
    gone = (
        sa.update(job_server).where(me).values(DrainRequestedAt=node.clock.now())
        if drained
        else sa.delete(job_server).where(me)
    )
    async with node.store.write() as connection:
        await connection.execute(gone)
    with pytest.raises(NodeUnknown):
        await take(node)
    assert await node.state(run_id) == "enqueued"
    assert await entries(node) == 1


async def test_a_run_that_is_not_due_yet_waits(node):
    await node.create("Work", due=timedelta(hours=1))
    assert (await take(node)).count == 0
    assert await entries(node) == 1


async def test_an_engine_claims_at_once_what_it_knows(node):
    for _ in range(30):
        await node.create("Work")
    node.work()
    await until(lambda: len(node.ended) == 30, "all are performed")
    assert node.at_once >= 20
    assert len(set(node.begun)) == 30


def test_psycopg_reads_the_statement_once():
    text = PsycopgStatement(at_once._statement(ENTRIES)._statement).text
    assert len(text) < _queries.MAX_CACHED_STATEMENT_LENGTH
