"""Order between queues that share workers, and the value of waiting time, against slow reference models."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from targcc_scheduler.core.pools import (
    LEAST_PLAIN,
    MOST_SECONDS,
    Pool,
    Turns,
    Workers,
    entry_priority,
    workers_of,
)
from targcc_scheduler.project import Project

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RUNS = st.lists(
    st.tuples(st.integers(-1000, 1000), st.integers(0, 10_000_000)), min_size=2, max_size=8
)


class Backlog:
    """Waiting runs by queue, and the order in which runs begin."""

    def __init__(self, **waiting: int) -> None:
        self.left = Counter(waiting)
        self.begun: list[str] = []

    async def ask(self, queue: str, count: int) -> tuple[int, bool]:
        taken = min(count, self.left[queue])
        self.left[queue] -= taken
        self.begun += [queue] * taken
        return taken, taken == count

    async def fill(self, turns: Turns, free: int) -> int:
        return await turns.fill(free, set(turns.pool.queues), self.ask)


@given(RUNS, st.integers(1, MOST_SECONDS), st.integers(0, 10_000_000))
def test_the_number_of_an_entry_orders_runs_as_their_points_do_at_any_instant(runs, aging, later):
    at = NOW + timedelta(seconds=later)

    def points(run: tuple[int, int]) -> int:
        priority, waited = run
        return priority * aging + int((at - (NOW - timedelta(seconds=waited))).total_seconds())

    def number(run: tuple[int, int]) -> int:
        priority, waited = run
        return entry_priority(priority, NOW - timedelta(seconds=waited), aging, first=False)

    # still within the range of exact numbers
    near = [run for run in runs if number(run) < LEAST_PLAIN - 1]
    assert sorted(near, key=points) == sorted(near, key=lambda run: (number(run), points(run)))


@given(st.integers(-(10**6), 10**6), st.integers(1, MOST_SECONDS), st.booleans())
def test_the_number_fits_its_column_and_tells_whether_waiting_counts(priority, aging, first):
    for due in (datetime(2025, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC)):
        assert -(2**31) <= entry_priority(priority, due, aging, first=first) < LEAST_PLAIN
    plain = entry_priority(min(max(priority, -1000), 1000), NOW, None, first=first)
    assert plain >= LEAST_PLAIN


def test_a_run_that_had_its_turn_goes_before_the_others_of_its_number():
    for aging in (None, 300):
        first, other = (entry_priority(3, NOW, aging, first=had_turn) for had_turn in (True, False))
        assert first == other + 1


async def test_starts_go_by_weight_among_queues_that_have_work():
    turns = Turns(Pool("main", 10, {"critical": 5, "reports": 3, "bulk": 1}))
    backlog = Backlog(critical=10_000, reports=10_000, bulk=10_000)
    for _ in range(100):  # one slot at a time, then many slots at once
        await backlog.fill(turns, 1)
    for _ in range(80):
        await backlog.fill(turns, 10)
    counts = Counter(backlog.begun)
    assert {queue: round(count / 100) for queue, count in counts.items()} == {
        "critical": 5,
        "reports": 3,
        "bulk": 1,
    }


@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.dictionaries(st.sampled_from("abc"), st.integers(0, 9))),
        max_size=30,
    ),
    st.booleans(),
)
async def test_no_worker_is_idle_while_any_queue_has_work(rounds, strict):
    turns = Turns(Pool("main", 12, {"a": 5, "b": 3, "c": 1}, strict))
    backlog = Backlog()
    for free, came in rounds:
        backlog.left.update(came)
        waiting = backlog.left.total()
        assert await backlog.fill(turns, free) == min(free, waiting)
        assert backlog.left.total() == waiting - min(free, waiting)


async def test_a_queue_that_was_idle_saves_no_turns_up():
    turns = Turns(Pool("main", 1, {"busy": 1, "idle": 1}))
    backlog = Backlog(busy=1000)
    for _ in range(100):
        await backlog.fill(turns, 1)
    backlog.left["idle"] = 1000
    backlog.begun.clear()
    for _ in range(20):
        await backlog.fill(turns, 1)
    assert Counter(backlog.begun) == {"busy": 10, "idle": 10}


async def test_in_strict_order_a_queue_waits_for_those_before_it():
    turns = Turns(Pool("main", 4, {"first": 1, "second": 1, "third": 1}, strict=True))
    backlog = Backlog(third=5, second=3, first=2)
    while await backlog.fill(turns, 4):
        pass
    assert backlog.begun == ["first"] * 2 + ["second"] * 3 + ["third"] * 5


POOLS = {"main": {"workers": 4, "order": "weighted", "queues": {"critical": 5, "bulk": 1}}}
PROJECT = Project(
    name="acme", package="acme", queues={"default": 2, "critical": 4, "bulk": 4}, pools=POOLS
)


@pytest.mark.parametrize(
    ("wanted", "alone", "shared"),
    [
        (None, {"default": 2, "rare": 1}, ("critical", "bulk")),
        (["bulk", "default"], {"default": 2}, ("bulk",)),
        (["rare"], {"rare": 1}, ()),
    ],
)
def test_a_node_has_the_workers_of_the_queues_it_takes_from(wanted, alone, shared):
    workers = workers_of(PROJECT, named=["rare", "bulk"], wanted=wanted)
    assert dict(workers.alone) == alone
    assert [pool.queues for pool in workers.pools] == ([shared] if shared else [])
    assert workers.count == sum(alone.values()) + (4 if shared else 0)
    assert sorted(workers.queues) == sorted([*alone, *shared])


def test_a_node_without_jobs_has_no_workers():
    assert (Workers().queues, Workers().count) == ((), 0)
