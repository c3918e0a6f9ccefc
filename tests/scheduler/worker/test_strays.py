"""Detect orphaned runs: running on this node by the tables at two checks, but unknown to the node."""

import asyncio
import threading
from datetime import UTC, datetime

import pytest
from rt_tools import until
from targcc_scheduler import JobContext, RunState, job
from targcc_scheduler.kernel.worker.claimer import Orphans

FIRST = (1, 1, datetime(2026, 1, 1, tzinfo=UTC))
AGAIN = (1, 1, datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC))
"""The same run and attempt, released and claimed a second time."""


@pytest.fixture
def held():
    return {}


@pytest.fixture
def under_way():
    return set()


@pytest.fixture
def look(held, under_way):
    strays = Orphans(None, {}, held, under_way)

    def look(*running, meanwhile=lambda: None):
        strays.look()
        meanwhile()
        return strays.among(running)

    return look


def test_what_two_looks_find_is_a_stray(look):
    assert look(FIRST) == []
    assert look(FIRST) == [FIRST]


def test_what_the_node_has_is_none(look, held):
    held[FIRST] = None
    assert [look(FIRST) for _ in range(3)] == [[], [], []]


def test_what_the_node_gets_to_know_between_the_looks_is_none(look, held):
    look(FIRST)
    held[FIRST] = None
    assert look(FIRST) == []


def test_what_ends_while_the_tables_are_read_is_none(look, held):
    look(FIRST)
    held[FIRST] = None
    assert look(FIRST, meanwhile=held.clear) == []


def test_what_a_claim_under_way_may_have_taken_is_none_until_that_has_ended(look, under_way):
    under_way.add("claim")
    assert [look(FIRST) for _ in range(3)] == [[], [], []]
    under_way.clear()
    assert look(FIRST) == [FIRST]


def test_claims_that_began_later_hold_up_nothing(look, under_way):
    look(FIRST)
    under_way.add("another claim")
    assert look(FIRST) == [FIRST]


def test_another_claim_of_the_same_run_begins_anew(look):
    look(FIRST)
    assert look(AGAIN) == []
    assert look(AGAIN) == [AGAIN]


gates = {1: threading.Event(), 2: threading.Event()}
begun: list[int] = []


@job()
async def obstinate(ctx: JobContext) -> None:
    """Run until the gate of the attempt opens, ignoring the stop request."""
    begun.append(ctx.attempt)
    while not gates[ctx.attempt].is_set():  # noqa: ASYNC110 - it is a threading event
        await asyncio.sleep(0.005)


async def test_a_node_that_gets_its_lost_run_again_knows_the_two_attempts_apart(
    scheduler, database, caplog
):
    run_id = await scheduler.enqueue("obstinate")
    await until(lambda: begun == [1])
    database.change("DELETE FROM c_JobServer")  # as other nodes do for a lost node
    await until(lambda: begun == [1, 2], 30)
    gates[1].set()
    await until(lambda: "was lost to another node" in caplog.text, 30)
    looks = scheduler.node._heartbeat._looks
    await until(lambda: scheduler.node._heartbeat._looks > looks + 3, 30)
    assert database.run(run_id)["State"] == RunState.RUNNING
    gates[2].set()
    assert await scheduler.wait(run_id, 30) == RunState.SUCCEEDED
    assert begun == [1, 2]
