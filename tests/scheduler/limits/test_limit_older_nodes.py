"""Runs held by a node of an older release: the older node does not know capacity and leaves the old values in its rows."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from engine_rig import Node, nodes_on
from limits_tools import add_key, claim, keyed, rows
from targcc_scheduler.db.tables import job_limit
from targcc_scheduler.kernel.engine.procrastinate import ENTRIES
from targcc_scheduler.kernel.jobs.options import LimitPolicy
from targcc_scheduler.kernel.runs import claim as run_claim
from targcc_scheduler.kernel.runs.claim import claim_fast
from targcc_scheduler.kernel.runs.values import Offer


async def full_key(node: Node) -> int:
    """Create a run that waits for its retry with capacity in its row, while another run fills its key; return its id."""
    now = node.clock.now()
    await keyed(node, "a", State="running", ServerId=node.name, StartedAt=now, Attempt=1)
    later = now - timedelta(seconds=1)
    [retries] = await keyed(node, "a", State="retrying", Attempt=1, DueAt=later, RoomAt=now)
    await add_key(node, "a", Most=1)
    return retries


@pytest.fixture
async def node(migrated_url: str) -> AsyncIterator[Node]:
    """A node that does not claim runs."""
    async with nodes_on(migrated_url) as make:
        yield await make()


async def test_a_retry_asks_for_room_whatever_its_row_says(node):
    retries = await full_key(node)
    assert await claim(node, [retries]) == []
    [row] = await rows(node, [retries])
    assert (row.State, row.RoomAt) == ("awaiting", None)


async def test_a_run_that_changes_its_state_has_its_room_no_more(node):
    retries = await full_key(node)
    await node.stage()
    [row] = await rows(node, [retries])
    assert (row.State, row.RoomAt) == ("enqueued", None)


@pytest.mark.parametrize("keyed_jobs", [False, True])
async def test_a_claim_at_once_leaves_such_a_retry_alone(migrated_postgresql_url, keyed_jobs):
    async with nodes_on(migrated_postgresql_url) as make:
        node = await make()
        retries = await full_key(node)
        terms = replace(node.terms(), keyed={"Work": LimitPolicy(most=1)})
        parameters = {"queue": "default", "refused": "", "count": 10}
        async with node.store.write_at_once() as connection:
            taken = await claim_fast(
                connection, ENTRIES, parameters, terms, ["Work"], keyed=keyed_jobs
            )
        assert (taken.claims, taken.rest) == ([], True)
        assert await node.state(retries) == "retrying"


async def test_a_node_that_does_not_know_a_job_says_nothing_of_its_keys(node):
    """The node's row for a new key would allow any number of runs."""
    [run_id] = await keyed(node, "a")
    node.unknown = frozenset({"Work"})
    assert await claim(node, [run_id]) == []
    async with node.store.write() as connection:
        claimed = await run_claim.claim(connection, Offer(wanted={"default": 5}), node.terms())
    assert [item.run_id for item in claimed.misfits] == [run_id]
    async with node.store.read() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(job_limit)) == 0
