"""Contract of every engine (see ``kernel/engine/port.py``); both adapters pass these tests."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa
from engine_rig import MakeNode, Node, nodes_on, until
from targcc_scheduler.core.actor import Actor
from targcc_scheduler.core.states import RunState
from targcc_scheduler.kernel import pauses
from targcc_scheduler.kernel.engine.port import Submission
from targcc_scheduler.kernel.engine.submit import hand_over
from targcc_scheduler.kernel.node import nodes
from targcc_scheduler.kernel.runs import claim as run_claim
from targcc_scheduler.kernel.runs import operate, settle, values

BY = Actor("Manual", "dana")
SOON, LATER = timedelta(seconds=0.4), timedelta(hours=1)


@pytest.fixture
async def make(migrated_url: str) -> AsyncIterator[MakeNode]:
    """Return a function that makes nodes on one database."""
    async with nodes_on(migrated_url) as make:
        yield make


@pytest.fixture
async def node(make: MakeNode) -> Node:
    """A node that does not claim runs yet."""
    return await make()


async def test_a_run_is_performed_once_its_transaction_commits(node):
    node.work()
    async with node.store.write() as connection:
        run_id = await node.create(connection=connection)
        assert node.begun == []
    node.engine.wake()
    await until(lambda: node.ended == [run_id], "the run is performed")
    assert await node.state(run_id) == RunState.SUCCEEDED


async def test_a_run_whose_transaction_rolls_back_never_was(node):
    async def order_that_fails():
        async with node.store.write() as connection:
            await node.create("Lost", connection=connection)
            raise RuntimeError("the order failed")

    node.work()
    with pytest.raises(RuntimeError, match="the order failed"):
        await order_that_fails()
    kept = await node.create("Kept")
    await until(lambda: kept in node.ended, "the other run is performed")
    assert node.jobs == ["Kept"]


async def test_a_worker_is_woken_long_before_it_polls(make):
    node = await make(poll=60)
    node.work()
    first = await node.create()
    await until(lambda: first in node.ended, "the first run is performed")
    second = await node.create()
    await until(lambda: second in node.ended, "a run of an idle worker is performed")


async def test_what_waited_before_the_worker_came_is_performed(node):
    waiting = [await node.create() for _ in range(3)]
    node.work()
    await until(lambda: sorted(node.ended) == waiting, "all are performed")


async def test_a_delayed_run_is_performed_at_its_time_and_not_before(node):
    node.work()
    due = node.clock.now() + SOON
    run_id = await node.create(due=SOON)
    await until(lambda: run_id in node.ended, "the run is performed")
    assert node.started[run_id] >= due


async def test_the_highest_priority_goes_first_and_then_the_oldest(node):
    low = await node.create(priority=-5)
    first = await node.create()
    second = await node.create()
    high = await node.create(priority=10)
    node.work(default=1)
    await until(lambda: len(node.ended) == 4, "all are performed")
    assert node.begun == [high, first, second, low]


async def test_what_becomes_due_while_more_wait_than_there_are_workers_has_its_turn(node):
    node.may_end.clear()
    for _ in range(3):
        await node.create()
    due = node.clock.now() + SOON
    urgent = await node.create(due=SOON, priority=10)
    node.work(default=1, critical=1)
    await until(lambda: node.begun and node.clock.now() > due, "one has begun, and that is due")
    node.may_end.set()
    await until(lambda: len(node.ended) == 4, "all are performed")
    assert urgent in node.begun[:2]  # due before the first claim where a claim takes its time


async def test_each_queue_has_its_own_workers(node):
    node.may_end.clear()
    many = [await node.create() for _ in range(4)]
    urgent = await node.create(queue="critical")
    foreign = await node.create(queue="other")
    node.work(default=2, critical=1)
    await until(lambda: len(node.begun) == 3, "three have begun")
    assert sorted(node.begun) == sorted([*many[:2], urgent])
    node.may_end.set()
    await until(lambda: len(node.ended) == 5, "the others follow")
    assert await node.state(foreign) == RunState.ENQUEUED


@pytest.mark.parametrize("is_lost", [False, True], ids=["ends", "lost"])
async def test_what_its_jobs_limit_held_up_goes_before_what_came_later(make, is_lost):
    node, other = await make(limits={"Work": 1}), await make("other", limits={"Work": 1})
    node.may_end.clear()
    first = await node.create()
    node.work()
    await until(lambda: node.begun, "the job is at its limit")
    held_up = [await node.create() for _ in range(3)]
    await _nothing_is_offered(node)
    node.engine.drain()
    later = [await node.create() for _ in range(3)]
    if is_lost:
        await _is_lost(node, other)
    else:
        node.may_end.set()
        await node.drained()
    other.work(default=1)
    again = [first] if is_lost else []
    await until(lambda: len(other.ended) == len(again) + 6, "all are performed")
    assert (node.begun, other.begun) == ([first], [*again, *held_up, *later])


async def test_what_is_next_in_its_job_is_left_to_others_where_it_cannot_be_performed(
    make, monkeypatch
):
    node = await make(limits={"Work": 1})
    unfit, offered = await node.create(), await node.create()
    monkeypatch.setattr(node, "_why_not", lambda _job, _text, run: "no" if run == unfit else None)
    offer = values.Offer(runs=[values.OfferedRun(offered, "Work")])
    async with node.store.write() as connection:
        claimed = await run_claim.claim(connection, offer, node.terms())
    assert [entry.run_id for entry in claimed.claims] == [offered]
    assert [entry.run_id for entry in claimed.misfits] == [unfit]


async def test_a_run_that_is_withdrawn_is_not_performed(node):
    cancelled = await node.create()
    delayed = await node.create(due=SOON)
    async with node.store.write() as connection:
        for run_id in (cancelled, delayed):
            await operate.cancel(connection, run_id, "dana", node.clock.now())
        await node.engine.withdraw(connection, [cancelled, delayed])
    node.work()
    last = await node.create(due=SOON * 2)
    await until(lambda: last in node.ended, "a later run is performed")
    assert node.begun == [last]


async def test_offering_a_run_again_does_not_run_it_again(node):
    run_id = await node.create()
    node.work()
    for _ in range(5):
        async with node.store.write() as connection:
            again = Submission(run_id, "default", 0, node.clock.now())
            await node.engine.submit(connection, [again])
        node.engine.wake()
    last = await node.create(priority=-1)
    await until(lambda: last in node.ended, "a later run is performed")
    assert node.begun == [run_id, last]


async def test_runs_that_are_created_by_two_are_performed_once_by_two(make):
    first, second = await make("first"), await make("second")
    first.work()
    second.work()
    created = [await node.create() for _ in range(40) for node in (first, second)]
    await until(lambda: len(first.ended) + len(second.ended) >= 80, "all are performed")
    assert sorted(first.begun + second.begun) == sorted(created)


async def test_a_job_at_its_limit_goes_on_as_its_runs_end(make):
    node = await make(limits={"Work": 1})
    waiting = [await node.create() for _ in range(8)]
    node.work()
    await until(lambda: sorted(node.ended) == waiting, "all are performed")
    assert node.most_at_once == 1


async def test_a_limit_is_used_up_again_after_several_runs_ended_together(make):
    node = await make(limits={"Work": 3})
    node.may_end.clear()
    for _ in range(9):
        await node.create()
    node.work(default=5)
    for running in (3, 6, 9):
        await until(partial(_has, node.begun, running), "three are running")
        node.may_end.set()
        await until(partial(_has, node.ended, running), "they end")
        node.may_end.clear()
    assert node.most_at_once == 3


async def test_a_limit_holds_across_nodes(make):
    first = await make("first", limits={"Work": 2})
    second = await make("second", limits={"Work": 2})
    first.may_end.clear()
    second.may_end.clear()
    created = [await first.create() for _ in range(6)]
    first.work()
    second.work()
    await until(lambda: len(first.begun + second.begun) == 2, "two have begun")
    first.may_end.set()
    second.may_end.set()
    await until(lambda: sorted(first.ended + second.ended) == created, "all are performed")
    assert first.most_at_once + second.most_at_once <= 4


async def test_a_queues_limit_holds_across_nodes_whatever_jobs_are_in_it(make):
    events: list[str] = []
    nodes = [await make(name, queue_limits={"tasks": 1}, limits={"A": 1}) for name in ("1", "2")]
    for node in nodes:
        node.begun, node.may_end = Told(events), Working(events)
    created = [await nodes[0].create(job, queue="tasks") for job in "ABACBA"]
    for node in nodes:
        node.work(tasks=2)
    await until(lambda: sorted(nodes[0].ended + nodes[1].ended) == created, "all are performed")

    assert events == ["begins", "ends"] * 6


class Told(list):
    """List of started runs that several nodes append to."""

    def __init__(self, told):
        super().__init__()
        self.told = told

    def append(self, run_id):
        self.told.append("begins")
        super().append(run_id)


class Working(asyncio.Event):
    """Event that ends a run; setting the event is recorded before any other node can notice."""

    def __init__(self, told):
        super().__init__()
        self.told = told

    async def wait(self):
        await asyncio.sleep(0.02)
        self.told.append("ends")
        return True


async def test_a_paused_queue_waits_until_it_is_resumed(node):
    async with node.store.write() as connection:
        await pauses.pause_queue(
            connection, "default", BY, node.clock.now(), reason="stocktaking", until=None
        )
    node.work(default=5, critical=1)
    held = [await node.create() for _ in range(3)]
    other = await node.create(queue="critical")
    await until(lambda: other in node.ended, "another queue goes on")
    assert node.begun == [other]
    async with node.store.write() as connection:
        await pauses.resume_queue(connection, "default")
        await node.engine.release(connection, queue="default")
    node.engine.wake()
    await until(lambda: len(node.ended) == 4, "the queue goes on")
    assert sorted(node.begun[1:]) == held


async def test_a_delayed_run_that_is_hurried_goes_at_once(node):
    node.work()
    run_id = await node.create(due=LATER)
    async with node.store.write() as connection:
        now = node.clock.now()
        assert await operate.run_now(connection, run_id, "dana", now)
        await node.engine.submit(connection, [Submission(run_id, "default", 0, now)])
    node.engine.wake()
    await until(lambda: run_id in node.ended, "the run is performed")


async def test_a_run_that_goes_on_later_is_offered_again_then(node):
    """Retry: the settling transaction submits the run again while the run is still claimed."""
    run_id = await node.create()
    async with node.store.write() as connection:
        now = node.clock.now()
        claim = await _claim(connection, node, run_id)
        retry = values.Settlement(claim=claim, state=RunState.RETRYING, due_at=now + SOON)
        await settle.settle(connection, [retry], now)
        await node.engine.submit(connection, [Submission(run_id, "default", 0, now + SOON)])
    node.work()
    await until(lambda: run_id in node.ended, "the second attempt is performed")
    assert node.started[run_id] - now >= SOON


async def test_the_run_of_a_lost_node_goes_to_another(make):
    gone, alive = await make("lost"), await make("alive")
    gone.may_end.clear()
    run_id = await gone.create()
    gone.work()
    await until(lambda: gone.begun == [run_id], "the node that will be lost has begun")
    alive.work()
    async with alive.store.write() as connection:
        now = alive.clock.now()
        await nodes.deregister(connection, "lost")
        rescued = await nodes.rescue(connection, now, limits={})
        lost = await hand_over(alive.engine, connection, rescued, now)
    await alive.engine.rescue(lost)
    alive.engine.wake()
    await until(lambda: run_id in alive.begun + gone.begun[1:], "the run is taken again")
    gone.may_end.set()
    await until(
        lambda: (alive.ended + gone.ended).count(run_id) == 2, "both of its attempts have ended"
    )
    assert await alive.state(run_id) == RunState.SUCCEEDED


async def test_a_drained_engine_finishes_what_it_has_and_leaves_the_rest(make):
    first, second = await make("first"), await make("second")
    first.may_end.clear()
    running = await first.create()
    first.work(default=1)
    await until(lambda: first.begun == [running], "the first has begun")
    waiting = await first.create()
    first.engine.drain()
    first.may_end.set()
    await first.drained()
    assert first.ended == [running]
    assert await first.state(waiting) == RunState.ENQUEUED
    second.work()
    await until(lambda: second.ended == [waiting], "another takes the rest")


async def test_a_run_whose_entry_was_lost_is_found(node):
    lost = await node.create(due=-timedelta(seconds=30))
    delayed = await node.create(due=-timedelta(seconds=20))
    if node.store.engine.dialect.name == "postgresql":
        async with node.store.write() as connection:
            await connection.execute(sa.text("DELETE FROM procrastinate_jobs"))
    node.work()
    async with asyncio.timeout(30):
        while sorted(node.ended) != [lost, delayed]:
            await node.engine.rescue([])  # as the heartbeat does
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("seconds", [-300, 300], ids=["behind", "ahead"])
async def test_a_node_whose_clock_is_wrong_takes_runs_all_the_same(make, seconds):
    right, wrong = await make("right"), await make("wrong", shift=timedelta(seconds=seconds))
    wrong.work()
    created = [await right.create(), await wrong.create()]
    await until(lambda: sorted(wrong.ended) == created, "both are performed")


async def test_a_delayed_run_is_not_lost_on_a_node_whose_clock_is_behind(make):
    right, late = await make("right"), await make("late", shift=-timedelta(seconds=2))
    late.work()
    run_id = await right.create(due=SOON)
    await until(lambda: run_id in late.ended, "the run is performed")


def _has(items, count):
    return len(items) >= count


async def test_a_run_whose_job_was_renamed_since_it_was_offered_is_offered_again(make):
    node = await make()
    node.unknown = frozenset({"Before"})
    run_id = await node.create("Work")

    async def offer(_):
        return values.Offer(runs=[values.OfferedRun(run_id, "Before")])

    assert await node.claim(offer) == []
    assert node.refused == [run_id]
    node.work()
    await until(lambda: node.ended == [run_id], "it was not refused as what it is now")


async def test_a_run_that_a_worker_refused_goes_to_one_that_did_not_and_never_comes_back(make):
    first, other = await make("one"), await make("other")
    first.unknown = frozenset({"New"})
    first.work()
    run_ids = [await first.create("New") for _ in range(20)]
    last = await first.create("Old")
    await until(lambda: first.ended == [last], "the other run is performed")
    other.work()
    if first.store.dialect.has_lease:  # one node at a time is active
        first.engine.drain()
    await until(lambda: sorted(other.ended) == run_ids, "those that it refused are, elsewhere")
    assert first.begun == [last]
    assert sorted(first.refused) == run_ids  # each run once


async def test_a_worker_that_holds_takes_nothing(make):
    held, free = await make("held"), await make("free")
    held.holds = True
    held.work()
    free.work()
    run_ids = [await held.create() for _ in range(20)]
    await until(lambda: sorted(free.ended) == run_ids, "the other takes all")
    assert held.begun == []


async def _claim(connection, node, run_id):
    offer = values.Offer(runs=[values.OfferedRun(run_id, "Work")])
    (claim,) = (await run_claim.claim(connection, offer, node.terms())).claims
    return claim


async def _is_lost(node: Node, other: Node) -> None:
    """Let a node declare another node lost."""
    async with other.store.write() as connection:
        now = other.clock.now()
        await nodes.deregister(connection, node.name)
        rescued = await nodes.rescue(connection, now, limits=other.limits)
        await hand_over(other.engine, connection, rescued, now)


async def _nothing_is_offered(node: Node) -> None:
    """Wait until the engine has no queue entries left (PostgreSQL only)."""
    if node.store.engine.dialect.name == "postgresql":
        entries = sa.text("SELECT count(*) FROM procrastinate_jobs")
        async with asyncio.timeout(30), node.store.read() as connection:
            while await connection.scalar(entries):  # noqa: ASYNC110 - it is in the database
                await asyncio.sleep(0.01)
