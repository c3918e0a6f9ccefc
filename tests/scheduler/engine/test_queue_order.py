"""Order within queues and between queues, on both databases: the value of waiting time, and turns in a pool."""

import itertools
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from engine_rig import MakeNode, Node, nodes_on, until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.pools import Pool
from targcc_scheduler.core.states import RunState
from targcc_scheduler.features.triage import bulk
from targcc_scheduler.kernel import pauses
from targcc_scheduler.kernel.engine import procrastinate
from targcc_scheduler.kernel.engine.submit import hand_on, hand_over
from targcc_scheduler.kernel.runs import settle, values
from targcc_scheduler.kernel.runs.values import Effects

QUEUES = itertools.count()
MINUTE, AGING = timedelta(minutes=1), {"default": 300}
WEIGHTED = Pool("main", 1, {"critical": 5, "reports": 3, "bulk": 1})
STRICT = Pool("main", 1, {"critical": 1, "reports": 1, "bulk": 1}, strict=True)


@pytest.fixture
async def make(migrated_url: str) -> AsyncIterator[MakeNode]:
    """Return a function that makes nodes on one database."""
    async with nodes_on(migrated_url) as make:
        yield make


@pytest.fixture
async def node(make: MakeNode) -> Node:
    """A node whose queue adds priority for waiting time."""
    return await make(aging=AGING)


@pytest.mark.parametrize(("aging", "place"), [(AGING, 0), ({}, 30)], ids=["aged", "plain"])
async def test_urgent_runs_starve_the_others_only_where_waiting_counts_for_nothing(
    make, aging, place
):
    node = await make(aging=aging)
    async with node.store.write() as connection:
        for _ in range(30):
            await node.create(priority=10, connection=connection)
    low = await node.create(priority=0, ago=51 * MINUTE)  # 10.2 points
    node.work(default=1)
    await until(lambda: len(node.ended) == 31, "all are performed")
    assert node.begun.index(low) == place


@pytest.mark.parametrize("aging", [None, 60, 3600])
async def test_runs_go_by_their_points(make, aging):
    node = await make(aging={} if aging is None else {"default": aging})
    rows = [(0, 0), (0, 59), (1, 0), (1, 61), (-2, 170), (5, 7), (5, 9), (2, 3), (0, 241), (-9, 1)]
    now = node.clock.now().replace(microsecond=0)
    runs = {
        await node.create(priority=points, ago=waited * MINUTE, now=now): (points, waited)
        for points, waited in reversed(rows)
    }
    node.work(default=1)
    await until(lambda: len(node.ended) == len(rows), "all are performed")

    def points(run: tuple[int, int]) -> tuple[float, int]:
        priority, waited = run
        return (priority + (waited * 60 / aging if aging else 0), waited)

    if aging is None:  # PostgreSQL runs equal priorities in order of submission
        begun = [runs[run_id][0] for run_id in node.begun]
        assert begun == sorted(begun, reverse=True)
    else:
        assert [runs[run_id] for run_id in node.begun] == sorted(rows, key=points, reverse=True)


async def test_waiting_counts_among_the_runs_of_a_job_at_its_limit_too(make):
    node = await make(aging=AGING, limits={"Work": 1})
    low = await node.create(priority=0, ago=51 * MINUTE)  # 10.2 points
    urgent = [await node.create(priority=10) for _ in range(3)]
    node.work(default=1)
    await until(lambda: len(node.ended) == 4, "all are performed")
    assert node.begun == [low, *urgent]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 500)), min_size=1, max_size=12),
    st.sampled_from([1, 7, 60]),
    st.integers(1, 12),
)
async def test_what_a_claim_takes_is_what_a_model_takes(node, rows, aging, count):
    queue, now = f"q{next(QUEUES)}", node.clock.now().replace(microsecond=0)
    async with node.store.write() as connection:
        ids = [
            await node.create(
                priority=priority,
                queue=queue,
                ago=timedelta(seconds=waited),
                now=now,
                connection=connection,
            )
            for priority, waited in rows
        ]
    of = dict(zip(ids, rows, strict=True))

    async def offer(_: object) -> values.Offer:
        return values.Offer(wanted={queue: count}, aging={queue: aging})

    def points(run_id: int) -> tuple[int, int]:
        priority, waited = of[run_id]
        return (priority * aging + waited, waited)

    taken = [points(claim.run_id) for claim in await node.claim(offer)]
    assert taken == sorted(map(points, ids), reverse=True)[:count]


async def test_what_a_person_gives_another_priority_keeps_its_age(node):
    old = await node.create(priority=-10, ago=200 * MINUTE)  # 30 points
    other = await node.create(priority=25)
    fresh = await node.create(priority=21)
    moved = await node.create(priority=0, ago=100 * MINUTE)  # 20 points, then 22
    async with node.store.write() as connection:
        rows = await bulk.rows(connection, [moved])
        step = await bulk.move(connection, rows, priority=2)
        consequences = Effects(ready=step.submit)
        await hand_on(node.engine, connection, consequences, node.clock.now())
    node.work(default=1)
    await until(lambda: len(node.ended) == 4, "all are performed")
    assert node.begun == [old, other, moved, fresh]


async def test_a_run_that_was_released_keeps_its_age(node):
    released = await node.create(priority=0, ago=100 * MINUTE)  # 20 points
    node.may_end.clear()

    async def offer(_: object) -> values.Offer:
        return values.Offer(runs=[values.OfferedRun(released, "Work")])

    [claim] = await node.claim(offer)
    fresh = [await node.create(priority=priority) for priority in (21, 19)]
    async with node.store.write() as connection:
        now = node.clock.now()
        waits = values.Settlement(claim=claim, state=RunState.ENQUEUED, counts=False)
        settled = await settle.settle(connection, [waits], now)
        await hand_over(node.engine, connection, settled, now)
    node.may_end.set()
    node.work(default=1)
    await until(lambda: len(node.ended) == 3, "all are performed")
    assert node.begun == [fresh[0], released, fresh[1]]


async def test_runs_of_a_release_that_knows_no_ageing_are_performed_beside_the_others(make):
    before, now = await make("before"), await make("now", aging=AGING)
    ids = [await release_node.create(priority=p) for release_node in (before, now) for p in (0, 3)]
    now.work(default=1)
    await until(lambda: sorted(now.ended) == sorted(ids), "all are performed")
    before.work(default=1)
    ids += [await release_node.create(priority=p) for release_node in (before, now) for p in (0, 3)]
    await until(lambda: sorted(now.ended + before.ended) == sorted(ids), "and by both")


async def test_what_was_submitted_while_waiting_counted_waits_not_for_ever_when_it_does_not(make):
    before, after = await make("before", aging=AGING), await make("after")
    old = [await before.create(priority=value) for value in (0, 7)]
    after.may_end.clear()
    async with after.store.write() as connection:
        for _ in range(20):
            await after.create(priority=1, connection=connection)
    after.work(default=1)
    await until(lambda: after.begun, "it works")
    await after.engine.rescue([])  # as a heartbeat does while runs wait
    after.may_end.set()
    await until(lambda: len(after.ended) == 22, "all are performed")
    assert [after.begun.index(value) for value in old] in ([21, 1], [21, 0])


async def test_bundles_of_a_queue_with_ageing_wait_not_for_ever_either(make, monkeypatch):
    monkeypatch.setattr(procrastinate, "_AT_LEAST", 5)
    before, after = await make("before", aging=AGING), await make("after")
    old = await before.create_many(12)
    after.may_end.clear()
    async with after.store.write() as connection:
        for _ in range(4):
            await after.create(priority=1, connection=connection)
    after.work(default=1)
    await until(lambda: after.begun, "it works")
    await after.engine.rescue([])
    late = await after.create(priority=-1)
    after.may_end.set()
    await until(lambda: len(after.ended) == 17, "all are performed")
    assert after.begun[-13:] == [*old, late]


async def test_a_saturated_pool_starts_runs_by_weight(make):
    node = await make()
    for queue in WEIGHTED.queues:
        async with node.store.write() as connection:
            for _ in range(60):
                await node.create(queue=queue, connection=connection)
    node.work(Pool("main", 3, WEIGHTED.weights))
    await until(lambda: len(node.begun) >= 90, "90 have begun")
    counts = Counter(node.queues[:90])
    expected = {"critical": 50, "reports": 30, "bulk": 10}
    assert all(abs(counts[queue] - count) <= 4 for queue, count in expected.items()), counts
    await until(lambda: len(node.ended) == 180, "and nothing is left")
    assert node.most_at_once == 3


async def test_the_share_of_an_idle_queue_goes_to_the_others(make):
    node = await make()
    node.may_end.clear()
    for _ in range(4):
        await node.create(queue="bulk")
    node.work(Pool("main", 4, WEIGHTED.weights))
    await until(lambda: len(node.begun) == 4, "all workers are busy with the one queue")
    urgent = await node.create(queue="critical")
    node.may_end.set()
    await until(lambda: urgent in node.ended, "a queue that was idle has its turn")


async def test_in_strict_order_a_lower_queue_waits_for_the_higher(make):
    node = await make()
    for queue in ("bulk", "reports", "critical"):
        for _ in range(3):
            await node.create(queue=queue)
    node.work(STRICT)
    await until(lambda: len(node.ended) == 9, "all are performed")
    assert node.queues == ["critical"] * 3 + ["reports"] * 3 + ["bulk"] * 3


async def test_a_higher_queue_is_heard_of_while_a_lower_one_keeps_the_pool_busy(make):
    node = await make(poll=60)
    for _ in range(5):
        await node.create(queue="bulk")
    node.work(STRICT)
    await until(lambda: node.begun, "the lower queue has the worker")
    node.may_end.clear()
    begun = len(node.begun)
    urgent = await node.create(queue="critical")
    node.may_end.set()
    await until(lambda: urgent in node.ended, "the higher one has its turn")
    assert begun <= 5
    await until(lambda: len(node.ended) == 6, "and the lower one goes on")


async def test_limits_of_a_queue_hold_in_a_pool_and_leave_its_workers_to_the_others(make):
    node = await make(queue_limits={"critical": 1})
    node.may_end.clear()
    for queue in ("critical", "bulk"):
        for _ in range(3):
            await node.create(queue=queue)
    node.work(Pool("main", 3, WEIGHTED.weights))
    await until(lambda: len(node.begun) == 3, "all workers are busy")
    assert Counter(node.queues) == {"critical": 1, "bulk": 2}
    node.may_end.set()
    await until(lambda: len(node.ended) == 6, "the others follow")


@pytest.mark.parametrize("strict", [False, True], ids=["weighted", "strict"])
async def test_a_paused_queue_of_a_pool_leaves_its_workers_to_the_others(make, strict):
    node = await make()
    await _pause(node, "critical")
    node.may_end.clear()
    runs = {
        queue: [await node.create(queue=queue) for _ in range(3)] for queue in ("critical", "bulk")
    }
    node.work(Pool("main", 2, WEIGHTED.weights, strict))
    await until(lambda: len(node.begun) == 2, "all workers are busy")
    node.may_end.set()
    await until(lambda: len(node.ended) == 3, "the queue that is not paused has none left")
    assert sorted(node.begun) == runs["bulk"]
    assert {await node.state(run) for run in runs["critical"]} == {RunState.ENQUEUED}
    async with node.store.write() as connection:
        await pauses.resume_queue(connection, "critical")
        await node.engine.release(connection, queue="critical")
    node.engine.wake()
    await until(lambda: len(node.ended) == 6, "the other one goes on")
    assert sorted(node.begun[3:]) == runs["critical"]
    assert node.most_at_once == 2


@pytest.mark.parametrize("strict", [False, True], ids=["weighted", "strict"])
async def test_nothing_more_begins_in_a_queue_of_a_pool_that_is_paused_while_it_works(make, strict):
    node = await make()
    node.may_end.clear()
    for queue in ("critical", "bulk"):
        for _ in range(4):
            await node.create(queue=queue)
    node.work(Pool("main", 2, WEIGHTED.weights, strict))
    await until(lambda: len(node.begun) == 2, "all workers are busy")
    await _pause(node, "critical")
    before = node.queues.count("critical")
    node.may_end.set()
    await until(lambda: node.queues.count("bulk") == 4, "the other queue has the workers")
    assert 1 <= node.queues.count("critical") == before


async def _pause(node: Node, queue: str) -> None:
    async with node.store.write() as connection:
        now = node.clock.now()
        await pauses.pause_queue(connection, queue, SYSTEM, now, reason=None, until=None)


async def test_a_pool_and_a_queue_with_workers_of_its_own_do_not_meet(make):
    node = await make()
    node.may_end.clear()
    for queue in ("default", "critical", "bulk"):
        for _ in range(3):
            await node.create(queue=queue)
    node.work(Pool("main", 2, WEIGHTED.weights), default=1)
    await until(lambda: len(node.begun) == 3, "all workers are busy")
    assert Counter(node.queues)["default"] == 1
    node.may_end.set()
    await until(lambda: len(node.ended) == 9, "all are performed")
    async with node.store.read() as connection:
        rows = await bulk.rows(connection, node.ended)
    assert {row.State for row in rows} == {RunState.SUCCEEDED}
