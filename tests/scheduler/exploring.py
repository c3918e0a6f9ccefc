"""Explore all interleavings of programs of the model, and check the rows at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from interleavings import (
    ACTIVE,
    LIMIT,
    OVER,
    PROGRAMS,
    QUEUED,
    START,
    Actor,
    Batch,
    LockedError,
    Part,
    Rows,
    Step,
    View,
    World,
    state_of,
    table,
)


def advance(world: World, number: int, programs: Mapping[str, tuple[Step, ...]]) -> World | None:
    """Take the next step of an actor; ``None`` if the actor has to wait. The step after the last commits."""
    actor, committed = world.actors[number], world.table
    steps = programs[actor.program]
    if actor.step < len(steps):
        view = View(world, number)
        try:
            steps[actor.step](view)
        except LockedError:
            return None
        writes = () if view.ends else tuple(sorted(view.writes.items(), key=lambda item: item[0]))
        step = len(steps) if view.ends else view.following
        after = actor._replace(step=step, writes=writes, locks=frozenset(view.locks))
    else:
        new = {**committed, **dict(actor.writes)}
        rows = sorted((key, row) for key, row in new.items() if row and key[:5] != "note:")
        committed = table(tuple(rows))
        after = Actor(actor.program, actor.step, over=True)
    return World(committed, (*world.actors[:number], after, *world.actors[number + 1 :]))


@dataclass
class Explored:
    """Result of an exploration: the number of states, and the wrong ends with the order of steps that led there."""

    states: int
    wrong: list[tuple[list[str], tuple[int, ...]]]


def explore(
    names: Iterable[str], programs: Mapping[str, tuple[Step, ...]] | None = None
) -> Explored:
    """Explore all interleavings of some programs; each state is visited once."""
    programs = programs or PROGRAMS
    first = World(table(tuple(sorted(START.items()))), tuple(Actor(name) for name in names))
    seen, left = {first}, [(first, ())]
    result = Explored(0, [])
    while left:
        world, path = left.pop()
        moves = [number for number, actor in enumerate(world.actors) if not actor.over]
        after = [(number, advance(world, number, programs)) for number in moves]
        if not moves:
            if wrong := complaints(world.table):
                result.wrong.append((wrong, path))
        elif all(item is None for _, item in after):
            result.wrong.append((["the transactions wait for each other"], path))
        for number, item in after:
            if item is not None and item not in seen:
                seen.add(item)
                left.append((item, (*path, number)))
    result.states = len(seen)
    return result


def complaints(rows: Rows) -> list[str]:
    """Return the broken rules of committed rows at rest."""
    runs = {key: row for key, row in rows.items() if key.startswith("run:")}
    taking = sum(run.state == "running" and run.limit is not None for run in runs.values())
    wrong = [f"{taking} runs take a limit of {LIMIT}"] * (taking > LIMIT)
    checks = {"batch": _of_batch, "link": _of_link, "flow": _of_flow, "key": _of_key}
    for key, row in rows.items():
        if check := checks.get(key.partition(":")[0]):
            wrong += check(rows, runs, key, row)
    return wrong


def _of_batch(rows: Rows, runs: Rows, key: str, batch: Batch) -> Iterator[str]:
    members = [run.state for run in runs.values() if run.group == key]
    members += [row.state for row in rows.values() if isinstance(row, Batch) and row.parent == key]
    pending = sum(state in ACTIVE for state in members)
    failed = sum(state in OVER - {"succeeded"} for state in members)
    if batch.pending != pending or batch.failed < failed or batch.total < len(members):
        yield f"{key} counts {batch[:3]}, its members are {members}"
    if (batch.state == "running") != (pending > 0):
        yield f"{key} is {batch.state} with {pending} pending members"


def _of_link(rows: Rows, runs: Rows, key: str, link: tuple[str, str | None]) -> Iterator[str]:
    parent, outcome = link
    state = state_of(rows.get(parent))
    waits = state_of(runs.get(f"run:{key.partition(':')[2]}")) == "awaiting"
    if waits and outcome is None and state in OVER:
        yield f"{key} waits for {parent}, which is {state}"


def _of_flow(_: Rows, runs: Rows, key: str, parts: tuple[Part, ...]) -> Iterator[str]:
    states = {part.name: part.state for part in parts}
    for part in parts:
        own = [name for name, run in runs.items() if run.group == f"{key}/{part.name}"]
        active = [name for name in own if runs[name].state in ACTIVE]
        if active != [part.run] * (part.state == "running"):
            yield f"step {part.name} of {key} is {part.state} with active runs {active}"
        if part.state == "waiting" and all(states[name] in OVER for name in part.after):
            yield f"step {part.name} of {key} waits for steps that are over"


def _of_key(_: Rows, runs: Rows, key: str, owner: tuple[str]) -> Iterator[str]:
    others = KEYED[key] - {owner[0]}
    holds = QUEUED if key in WHILE_QUEUED else ACTIVE
    if active := [name for name in others if state_of(runs.get(name)) in holds]:
        yield f"{key} belongs to {owner[0]}, and {active} are active"


KEYED = {
    "key:1": {"run:1", "run:17", "run:18"},
    "key:2": {"run:19", "run:20"},
    "key:3": {"run:21", "run:22", "run:23", "run:24"},
}
"""The runs that may have a key."""
WHILE_QUEUED = frozenset({"key:3"})
"""Keys that a run leaves when it begins."""
APART = (
    {"claim 6", "claim 7"},
    {"new key", "new key too"},
    {"replace", "replace too", "begin 22", "settle 21"},
    {"settle b", "delete b", "rerun flow", "cancel flow"},
)
"""Programs that share rows with each other alone."""


@cache
def locks_of(program: str) -> frozenset[str]:
    """Return the rows that a program locks if it runs alone."""
    world = World(table(tuple(sorted(START.items()))), (Actor(program),))
    locks: frozenset[str] = frozenset()
    while not world.actors[0].over:
        after = advance(world, 0, PROGRAMS)
        assert after is not None
        world, locks = after, locks | after.actors[0].locks
    return locks


def sets_of_programs() -> Iterator[tuple[str, ...]]:
    """Return all pairs of programs, and all sets of three that may share rows."""
    yield from combinations(PROGRAMS, 2)
    rest = set(PROGRAMS).difference(*APART)
    for group in (rest, *APART):
        yield from combinations([name for name in PROGRAMS if name in group], 3)
