"""All interleavings of three transactions keep counts, dependencies and limits; a seeded sample is driven through PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import pytest
import sqlalchemy as sa
from guarantee_rig import Ledger, schedulers
from interleavings import PROGRAMS, explore, triples
from soundness import complaints
from sqlalchemy.util import await_only
from targcc_scheduler import Scheduler, job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.errors import BatchError, RunStateError, UnknownBatch, UnknownRun
from targcc_scheduler.db.tables import job_run

REFUSED = (BatchError, RunStateError, UnknownBatch, UnknownRun)
"""Errors of an act when another act was faster."""


def test_all_interleavings_of_three_transactions_are_sound():
    states, wrong = 0, []
    for names in triples():
        explored = explore(names)
        states += explored.states
        wrong += [(names, *item) for item in explored.wrong]
    assert wrong == []
    assert states > 10_000


@pytest.mark.parametrize(
    ("names", "careless"),
    [
        (("cancel 1", "follow 1", "add"), "follow 1"),
        (("settle 1", "follow 1", "rerun 3"), "follow 1"),
        (("claim 6", "claim 7", "add"), "claim 7"),
    ],
)
def test_a_program_without_its_lock_is_found_out(names, careless):
    place = 1 if careless.startswith("claim") else 0
    steps = PROGRAMS[careless]
    programs = {**PROGRAMS, careless: (*steps[:place], *steps[place + 1 :])}
    assert explore(names).wrong == []
    assert explore(names, programs).wrong != []


# PostgreSQL: each actor has a scheduler whose commits wait for their turn.


@job()
async def book(number: int = 0) -> None:
    """Member of a batch, or dependent."""


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
async def actors(migrated_postgresql_url: str) -> AsyncIterator[list[Scheduler]]:
    async with schedulers(migrated_postgresql_url, __name__) as make:
        made = [make() for _ in range(4)]
        for scheduler in made:
            await scheduler.start(work=False, schedule=False)
        yield made


async def acts_on_a_new_batch(
    desk: Scheduler, ledger: Ledger
) -> dict[str, Callable[[Scheduler], Awaitable[Any]]]:
    """Create the rows of the model's start by the public API, and return the acts of people among its programs."""
    async with desk.batch("batch", on_finish=book) as batch:
        batch.enqueue_many(book, [{"number": number} for number in (1, 2, 3)])
    key = batch.batch_id
    members = sa.select(job_run.c.Id).where(job_run.c.BatchId == key).order_by(job_run.c.Id)
    one, two, three = (row.Id for row in ledger.rows(members))
    await desk.cancel(three, by=SYSTEM)
    await desk.enqueue(book, after=one)
    await desk.enqueue(book, after=batch)
    return {
        "cancel 1": lambda scheduler: scheduler.cancel(one, by=SYSTEM),
        "cancel 2": lambda scheduler: scheduler.cancel(two, by=SYSTEM),
        "delete 1": lambda scheduler: scheduler.delete(one, by=SYSTEM),
        "delete 2": lambda scheduler: scheduler.delete(two, by=SYSTEM),
        "delete 3": lambda scheduler: scheduler.delete(three, by=SYSTEM),
        "add": lambda scheduler: scheduler.batches.add(key, book, [{"number": 4}]),
        "nest": lambda scheduler: _nest(scheduler, key),
        "follow 1": lambda scheduler: scheduler.enqueue(book, after=one),
        "follow batch": lambda scheduler: scheduler.enqueue(book, after=batch),
        "rerun 3": lambda scheduler: scheduler.retry(three, by=SYSTEM),
        "cancel batch": lambda scheduler: scheduler.batches.cancel(key, by=SYSTEM),
        "retry batch": lambda scheduler: scheduler.batches.retry_failed(key, by=SYSTEM),
    }


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
    every = list(combinations(await acts_on_a_new_batch(desk, ledger), 3))
    for names in dice.sample(every, count):
        acts = await acts_on_a_new_batch(desk, ledger)
        dice.shuffle(turns.order)
        turns.over.clear()
        pairs = zip(names, three, strict=True)
        await turns.run([lambda act=acts[name], on=on: act(on) for name, on in pairs])
        assert complaints(ledger) == [], (names, turns.order)
    assert turns.commits >= 2 * count


async def test_a_sample_of_interleavings_is_sound_on_postgresql(actors, migrated_postgresql_url):
    await drive(actors, migrated_postgresql_url, 12)


@pytest.mark.soak
async def test_all_acts_of_people_in_threes_are_sound_on_postgresql(
    actors, migrated_postgresql_url
):
    await drive(actors, migrated_postgresql_url, 220)
