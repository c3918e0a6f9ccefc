"""New runs, as far as none is there already that stands for them: by a unique key, or by what their caller named the call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ....core.states import WAITING, RunState
from ...runs import create
from ...runs.values import NewRun, RunId
from ..consequences import Ready
from . import calls, unique
from .unique import Pair, Standing


@dataclass(frozen=True, slots=True)
class Inserted:
    """What came of runs that were asked for.

    Args:
        ids: For each the run that was made, or stands for it.
        new: Those that were made, with their ids.
        moved: Those that stand for others, and wait until another time.
    """

    ids: list[RunId]
    new: list[tuple[RunId, NewRun]]
    moved: list[Ready]

    @property
    def ready(self) -> list[Ready]:
        """Those that wait for a worker from now on, or until another time, for the engine."""
        new = [
            Ready(run_id, run.queue, run.priority, run.due_at)
            for run_id, run in self.new
            if run.state in WAITING
        ]
        return new + self.moved


async def insert_many(
    connection: AsyncConnection, runs: Sequence[NewRun], now: datetime
) -> Inserted:
    """Create runs without slots, unless others stand for them.

    Raises:
        IdempotencyError: a call's name is that of another call.
    """
    if not any(run.unique or run.call for run in runs):
        return await _insert(connection, runs, now)
    by_call = sorted(
        enumerate(runs), key=_call_of
    )  # in one order, so that no two wait for each other
    called = {
        place: run_id
        for place, run in by_call
        if (run_id := await calls.take(connection, run, now)) is not None
    }
    left = {place: run for place, run in enumerate(runs) if place not in called}
    ids, new, moved = await _insert_keyed(connection, left, now)
    named = {run.call.key: ids[place] for place, run in left.items() if run.call is not None}
    await calls.give(connection, named)
    ids |= {place: RunId.of(run_id, existing=True) for place, run_id in called.items()}
    return Inserted([ids[place] for place in range(len(runs))], new, moved)


async def _insert_keyed(
    connection: AsyncConnection, runs: dict[int, NewRun], now: datetime
) -> tuple[dict[int, RunId], list[tuple[RunId, NewRun]], list[Ready]]:
    """Insert runs by their places; those with the same key are one run. The id for each place, what is new, and what has moved."""
    places, wanted = _by_key(runs)
    outcomes = await unique.take(connection, wanted, now)
    new = {place: run for place, run in runs.items() if run.unique is None}
    standing = {}
    for pair, outcome in outcomes.items():
        if isinstance(outcome, Standing):
            standing[pair] = outcome
        else:
            new[places[pair][0]] = outcome
    order = sorted(new)
    made = await _insert(connection, [new[place] for place in order], now)
    ids = dict(zip(order, made.ids, strict=True))
    await unique.give(connection, {run_id: new[place] for place, run_id in ids.items()})
    for pair, mine in places.items():
        run_id = standing[pair].run_id if pair in standing else ids[mine[0]]
        others = mine if pair in standing else mine[1:]
        ids |= {place: RunId.of(run_id, existing=True) for place in others}
    return ids, made.new, [one.moved for one in standing.values() if one.moved]


def _call_of(placed: tuple[int, NewRun]) -> str:
    call = placed[1].call
    return "" if call is None else call.key


def _by_key(
    runs: dict[int, NewRun],
) -> tuple[dict[Pair, list[int]], dict[Pair, NewRun]]:
    """The places of the runs with each key, and the one run that they are together."""
    places: dict[Pair, list[int]] = {}
    wanted: dict[Pair, NewRun] = {}
    for place, run in runs.items():
        if run.unique is None:
            continue
        pair = run.job_name, run.unique.key
        places.setdefault(pair, []).append(place)
        first, rule = wanted.setdefault(pair, run), run.unique.rule
        if rule is not None and rule.duplicate != "skip":
            wanted[pair] = replace(first, arguments_json=run.arguments_json, contents=run.contents)
    return places, wanted


async def _insert(connection: AsyncConnection, runs: Sequence[NewRun], now: datetime) -> Inserted:
    made = await create.insert_many(connection, runs, now) if runs else []
    ids = [RunId(run_id) for run_id in made]
    return Inserted(ids, list(zip(ids, runs, strict=True)), [])


async def insert_slots(
    connection: AsyncConnection,
    runs: Sequence[NewRun],
    now: datetime,
    *,
    record_skipped: bool = True,
) -> dict[create.Slot, int]:
    """Create the runs of slots; the ids of those that are new, by slot. One whose key another run has is left out.

    It is recorded as skipped, unless ``record_skipped`` is false.
    """
    made: dict[create.Slot, int] = {}
    while runs:
        some, runs = _one_of_each_key(runs)
        wanted = {pair: run for run in some if (pair := _pair(run)) is not None}
        outcomes = await unique.take(connection, wanted, now)
        held = {
            pair: outcome.run_id
            for pair, outcome in outcomes.items()
            if isinstance(outcome, Standing)
        }
        rows = [
            _skipped(run, held[pair]) if (pair := _pair(run)) in held else run
            for run in some
            if record_skipped or _pair(run) not in held
        ]
        ids = await create.insert_slots(connection, rows, now)
        new = {ids[slot]: run for run in some if (slot := _slot(run)) in ids}
        goes = {run_id: run for run_id, run in new.items() if _pair(run) not in held}
        made |= {_slot(run): run_id for run_id, run in goes.items()}
        await unique.give(connection, goes)
        had_one = wanted.keys() - held.keys() - {_pair(run) for run in goes.values()}
        await unique.leave(connection, had_one)
    return made


def _one_of_each_key(runs: Sequence[NewRun]) -> tuple[list[NewRun], list[NewRun]]:
    """Those that can be decided about now, and those before which another with their key comes."""
    seen: set[Pair] = set()
    some: list[NewRun] = []
    later: list[NewRun] = []
    for run in runs:
        pair = _pair(run)
        (later if pair in seen else some).append(run)
        seen |= {pair} if pair is not None else set()
    return some, later


def _pair(run: NewRun) -> Pair | None:
    return None if run.unique is None else (run.job_name, run.unique.key)


def _slot(run: NewRun) -> create.Slot:
    assert run.scheduled_for is not None
    return run.job_name, run.scheduled_for


def _skipped(run: NewRun, holder: int) -> NewRun:
    """The slot of a run for which another stands."""
    note = f"run {holder} has its unique key"
    return replace(
        run,
        state=RunState.SKIPPED,
        note=note,
        blocked_by=holder,
        arguments_json=None,
        unique=None,
        expires_at=None,
    )
