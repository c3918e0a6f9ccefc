"""All interleavings of three transactions keep counts, dependencies, flows, keys and limits; a sample is driven through PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import pytest
import sqlalchemy as sa
from exploring import APART, explore, locks_of, sets_of_programs
from guarantee_rig import Ledger, schedulers
from interleavings import PROGRAMS, QUEUED, unique
from projects import RIG
from soundness import complaints
from sqlalchemy.util import await_only
from targcc_scheduler import RunState, Scheduler, job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.clock import SystemClock
from targcc_scheduler.core.errors import (
    BatchError,
    FlowStateError,
    RunStateError,
    UnknownBatch,
    UnknownRun,
)
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.kernel.runs.claim import claim_of
from targcc_scheduler.kernel.runs.transition import state_line
from targcc_scheduler.kernel.runs.values import AttemptRecord, Settlement
from targcc_scheduler.kernel.worker.recorder import SettlementWriter

REFUSED = (BatchError, FlowStateError, RunStateError, UnknownBatch, UnknownRun)
"""Errors of an act when another act was faster."""


def _explored(sets: Iterable[tuple[str, ...]]) -> int:
    """Explore sets of programs and return the number of states; no set may end wrong."""
    states = 0
    for names in sets:
        explored = explore(names)
        assert explored.wrong == [], names
        states += explored.states
    return states


@pytest.mark.slow
def test_a_tenth_of_the_interleavings_is_sound():
    every = list(sets_of_programs())
    assert _explored(random.Random(27).sample(every, len(every) // 10)) > 10_000


@pytest.mark.slow
def test_all_interleavings_of_three_transactions_are_sound():
    assert _explored(sets_of_programs()) > 100_000


def test_programs_that_are_not_explored_together_lock_no_common_row():
    rest = set(PROGRAMS).difference(*APART)
    rows = [{row for name in group for row in locks_of(name)} for group in (rest, *APART)]
    assert all(first.isdisjoint(second) for first, second in combinations(rows, 2))


@pytest.mark.parametrize(
    ("names", "careless", "place"),
    [
        (("cancel 1", "follow 1", "add"), "follow 1", 0),
        (("settle 1", "follow 1", "rerun 3"), "follow 1", 0),
        (("claim 6", "claim 7", "add"), "claim 7", 1),
        (("settle 1", "unique", "unique too"), "unique", 2),  # the key is taken without its lock
        (("delete 8", "settle 1", "fail 2"), "delete 8", 6),  # the outer batch is not counted
        (("settle 8", "rerun 9", "fail 2"), "rerun 9", 3),  # the outer batch stays over
        (("settle b", "rerun flow", "cancel flow"), "settle b", 3),  # the flow does not go on
    ],
)
def test_a_program_without_one_of_its_steps_is_found_out(names, careless, place):
    steps = PROGRAMS[careless]
    programs = {**PROGRAMS, careless: (*steps[:place], *steps[place + 1 :])}
    assert explore(names).wrong == []
    assert explore(names, programs).wrong != []


def test_calls_that_keep_their_locks_while_they_look_again_wait_for_each_other():
    """A call has missed the key and waits for its run; another has missed the run, as it began, and waits for its key."""
    names = ("replace", "replace too", "replace three", "begin 22")
    third = {"replace three": unique("key:3", "run:24", QUEUED)}
    assert explore(names, PROGRAMS | third).wrong == []
    careless = {
        "replace too": unique("key:3", "run:23", QUEUED, undoes=False),
        "replace three": unique("key:3", "run:24", QUEUED, undoes=False),
    }
    wrong = explore(names, PROGRAMS | careless).wrong
    assert wrong[0][0] == ["the transactions wait for each other"]


# PostgreSQL: each actor has a scheduler whose commits wait for their turn.


@job()
async def book(number: int = 0) -> None:
    """Member of a batch, step of a flow, or dependent."""


@job(unique=True)
async def alone(number: int = 0) -> None:
    """Run with a unique key."""


FLOWS = {
    "Night": {
        "steps": {
            "a": {"job": "Book"},
            "b": {"job": "Book"},
            "c": {"job": "Book", "after": ["a", "b"]},
        }
    }
}


@dataclass
class Turns:
    """Decides which actor commits next.

    Args:
        ledger: Reads which transactions wait for a lock.
        order: The actors, the one that goes first first.
        commits: Number of commits that had a turn.
    """

    ledger: Ledger
    order: list[int]
    at_gate: set[int] = field(default_factory=set)
    open: set[int] = field(default_factory=set)
    over: set[int] = field(default_factory=set)
    commits: int = 0

    def gate(self, actor: int) -> Callable[[Any], None]:
        """Return a listener that holds a commit until the actor's turn."""

        def hold(_connection: Any) -> None:
            self.at_gate.add(actor)
            while actor not in self.open:
                await_only(asyncio.sleep(0.001))
            self.commits += 1
            self.open.discard(actor)
            self.at_gate.discard(actor)

        return hold

    async def run(self, acts: list[Callable[[], Awaitable[Any]]]) -> None:
        """Perform acts side by side. Once each is at its gate, waits for a lock or is over, the first in the order commits."""
        tasks = [asyncio.create_task(self._perform(*item)) for item in enumerate(acts)]
        async with asyncio.timeout(60):
            while not all(task.done() for task in tasks):
                if len(self.at_gate) + self._waiting() + len(self.over) >= len(tasks):
                    for actor in self.order:
                        if actor in self.at_gate - self.open:
                            self.open.add(actor)
                            break
                await asyncio.sleep(0.002)
        await asyncio.gather(*tasks)

    async def _perform(self, actor: int, act: Callable[[], Awaitable[Any]]) -> None:
        with contextlib.suppress(*REFUSED):
            await act()
        self.over.add(actor)

    def _waiting(self) -> int:
        query = (
            "SELECT count(*) AS waiting FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(self.ledger.rows(sa.text(query))[0].waiting)


@pytest.fixture
async def actors(
    migrated_postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Scheduler]]:
    monkeypatch.setattr(
        "targcc_scheduler.project._configured", replace(RIG, retries=0, flows=FLOWS)
    )
    async with schedulers(migrated_postgresql_url, __name__) as make:
        made = [make() for _ in range(4)]
        for scheduler in made:
            await scheduler.start(work=False, schedule=False)
        yield made


@dataclass
class Rows:
    """The rows of the model's start, created by the public API: runs by their names in the model, batches and the flow."""

    desk: Scheduler
    ledger: Ledger
    runs: dict[str, int] = field(default_factory=dict)
    batches: dict[str, int] = field(default_factory=dict)
    flow: int = 0

    async def create(self, serial: int) -> Rows:
        """Create the rows; ``serial`` makes the unique keys."""
        desk = self.desk
        async with desk.batch("batch", on_finish=book) as batch:
            batch.enqueue(alone, number=serial)
            batch.enqueue_many(book, [{"number": number} for number in (2, 3)])
        self.batches["1"] = batch.batch_id
        for name in ("2", "3"):
            async with desk.batch("inner", parent=batch.batch_id) as inner:
                inner.enqueue(book)
            self.batches[name] = inner.batch_id
        self.flow = await desk.start_flow("Night")
        for names, key in (("123", "1"), ("8", "2"), ("9", "3")):
            self._name(names, self.batches[key])
        self._name("ab", self.flow)
        for name in "39a":
            await desk.cancel(self.runs[name], by=SYSTEM)
        await desk.enqueue(book, after=self.runs["1"])
        await desk.enqueue(book, after=batch)
        now = SystemClock().now()
        begun = {"State": "running", "ServerId": "node", "Attempt": 1, "StartedAt": now}
        begun["LifeLog"] = job_run.c.LifeLog + state_line(now, RunState.RUNNING)
        self.ledger.change(sa.update(job_run).where(job_run.c.Id == self.runs["2"]).values(begun))
        return self

    def _name(self, names: str, key: int) -> None:
        members = sa.select(job_run.c.Id).where(job_run.c.BatchId == key).order_by(job_run.c.Id)
        self.runs |= dict(zip(names, (row.Id for row in self.ledger.rows(members)), strict=True))

    async def end(self, scheduler: Scheduler, state: RunState) -> None:
        """Settle run 2 as a worker does."""
        clock = SystemClock()
        claim = claim_of(self.ledger.run(self.runs["2"]), {})
        attempt = AttemptRecord(
            ended_at=clock.now(), success=state is RunState.SUCCEEDED, server="node", message=""
        )
        writer = SettlementWriter(scheduler.store, scheduler._host._engine, clock, lambda: True)
        await writer.settle(Settlement(claim=claim, state=state, attempt=attempt))
        await writer.close()


def acts_on(rows: Rows, serial: int) -> dict[str, Callable[[Scheduler], Awaitable[Any]]]:
    """Return the acts of people and of a worker, by the names of the model's programs where the model has them."""
    run, key, inner = rows.runs, rows.batches["1"], rows.batches["2"]
    acts: dict[str, Callable[[Scheduler], Awaitable[Any]]] = {
        "settle 2": lambda scheduler: rows.end(scheduler, RunState.SUCCEEDED),
        "fail 2": lambda scheduler: rows.end(scheduler, RunState.FAILED),
        "add": lambda scheduler: scheduler.batches.add(key, book, [{"number": 4}]),
        "add inner": lambda scheduler: scheduler.batches.add(inner, book, [{"number": 5}]),
        "nest": lambda scheduler: _nest(scheduler, key),
        "follow 1": lambda scheduler: scheduler.enqueue(book, after=run["1"]),
        "follow batch": lambda scheduler: scheduler.enqueue(book, after=InBatch(key)),
        "cancel batch": lambda scheduler: scheduler.batches.cancel(key, by=SYSTEM),
        "retry batch": lambda scheduler: scheduler.batches.retry_failed(key, by=SYSTEM),
        "rerun flow": lambda scheduler: scheduler.rerun_flow(rows.flow, by=SYSTEM),
        "cancel flow": lambda scheduler: scheduler.cancel_flow(rows.flow, by=SYSTEM),
    }
    for name in ("unique", "unique too"):
        acts[name] = lambda scheduler: scheduler.enqueue(alone, number=serial)
    for name in ("new key", "new key too"):
        acts[name] = lambda scheduler: scheduler.enqueue(alone, number=-serial)
    for name in "18b":
        acts[f"cancel {name}"] = lambda scheduler, id_=run[name]: scheduler.cancel(id_, by=SYSTEM)
    for name in "1389b":
        acts[f"delete {name}"] = lambda scheduler, id_=run[name]: scheduler.delete(id_, by=SYSTEM)
    for name in "39":
        acts[f"rerun {name}"] = lambda scheduler, id_=run[name]: scheduler.retry(id_, by=SYSTEM)
    return acts


@dataclass(frozen=True)
class InBatch:
    """A batch to wait for."""

    batch_id: int


async def _nest(scheduler: Scheduler, key: int) -> None:
    async with scheduler.batch("inner", parent=key) as inner:
        inner.enqueue(book, number=5)


async def drive(actors: list[Scheduler], url: str, count: int) -> None:
    """Drive a seeded sample of acts and orders of commits."""
    desk, *three = actors
    ledger, dice = Ledger(url), random.Random(27)
    turns = Turns(ledger, [0, 1, 2])
    for number, scheduler in enumerate(three):
        engine = scheduler.store.engine.sync_engine
        sa.event.listen(engine, "commit", turns.gate(number))
    every = list(combinations(acts_on(await Rows(desk, ledger).create(1), 1), 3))
    for serial, names in enumerate(dice.sample(every, count), 2):
        acts = acts_on(await Rows(desk, ledger).create(serial), serial)
        dice.shuffle(turns.order)
        turns.over.clear()
        pairs = zip(names, three, strict=True)
        await turns.run([lambda act=acts[name], on=on: act(on) for name, on in pairs])
        assert complaints(ledger) == [], (names, turns.order)
    assert turns.commits >= 2 * count


async def test_a_sample_of_interleavings_is_sound_on_postgresql(actors, migrated_postgresql_url):
    await drive(actors, migrated_postgresql_url, 12)


@pytest.mark.soak
async def test_many_interleavings_are_sound_on_postgresql(actors, migrated_postgresql_url):
    await drive(actors, migrated_postgresql_url, 150)
