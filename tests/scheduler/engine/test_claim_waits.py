"""Claims that wait for a limit lock: the start time of a run is the end of the wait."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from engine_rig import Node, nodes_on, while_it_waits
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.kernel.runs import values

LONG, LONGER = timedelta(minutes=5), timedelta(minutes=10)


@pytest.fixture
async def node(migrated_postgresql_url: str) -> AsyncIterator[Node]:
    """A node on PostgreSQL; on SQLite a claim waits before it reads the clock."""
    async with nodes_on(migrated_postgresql_url) as make:
        yield await make(limits={"Work": 1}, queue_limits={"narrow": 1})


async def claim_slowly(node: Node, run_id: int, queue: str, lock: str) -> list[values.Claim]:
    """Claim a run while another transaction holds the limit's lock for ten minutes."""

    async def offer(_: object) -> values.Offer:
        return values.Offer(runs=[values.OfferedRun(run_id, "Work", queue=queue)])

    async def pass_by(_: object) -> None:
        node.clock._shift += LONGER

    locked = f"SELECT pg_advisory_xact_lock(hashtextextended('targcc/{lock}', 0))"
    return await while_it_waits(node, node.claim(offer), pass_by, locked)


PLACES = pytest.mark.parametrize(
    ("queue", "lock"), [("default", "Work"), ("narrow", "queue/narrow")], ids=["job", "queue"]
)


@PLACES
async def test_a_run_begins_when_its_claim_has_waited_for_the_limit(node, queue, lock):
    run_id, created_at = await node.create(queue=queue), node.clock.now()
    (claim,) = await claim_slowly(node, run_id, queue, lock)
    assert claim.started_at >= created_at + LONGER
    async with node.store.read() as connection:
        life = await connection.scalar(sa.select(job_run.c.LifeLog).where(job_run.c.Id == run_id))
    assert life.splitlines()[-1].startswith(
        f"{claim.started_at.isoformat(timespec='milliseconds')} running"
    )


@PLACES
async def test_a_run_whose_time_is_over_meanwhile_does_not_begin(node, queue, lock):
    run_id = await node.create(queue=queue)
    async with node.store.write() as connection:
        soon = sa.update(job_run).where(job_run.c.Id == run_id)
        await connection.execute(soon.values(ExpiresAt=node.clock.now() + LONG))
    assert await claim_slowly(node, run_id, queue, lock) == []
    assert await node.state(run_id) == RunState.ENQUEUED
