"""Model of concurrent transactions: batches, dependencies, unique keys and limits, explored in all interleavings.

A transaction is a tuple of steps. A step locks a row, or reads committed rows and writes to the transaction's own buffer; the last step
commits. Rows are what PostgreSQL's READ COMMITTED shows: a reader sees its own writes and committed rows. The programs follow the order of
locks in the kernel: runs by id, then batches, inner before outer, then keys of limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

Rows = Mapping[str, tuple]
"""Rows by key: ``run:1`` is ``(state, batch, limit)``, ``batch:1`` is ``(pending, failed, total, state)``, ``link:2`` is ``(parent, outcome)``."""
ACTIVE = {"awaiting", "enqueued", "running"}
OVER = {"succeeded", "failed", "cancelled", "deleted"}
LIMIT = 1


class LockedError(Exception):
    """The step needs a lock that another transaction holds."""


@dataclass(frozen=True)
class Actor:
    """A transaction in progress, with a program, the number of the next step and the uncommitted writes."""

    program: str
    step: int = 0
    writes: tuple[tuple[str, tuple | None], ...] = ()
    locks: frozenset[str] = frozenset()
    over: bool = False


@dataclass(frozen=True)
class World:
    """Committed rows and the actors."""

    rows: tuple[tuple[str, tuple], ...]
    actors: tuple[Actor, ...]


class View:
    """What a step of an actor sees and changes."""

    def __init__(self, world: World, number: int) -> None:
        self.actor = world.actors[number]
        self.rows = dict(world.rows)
        self.taken = {
            key
            for place, other in enumerate(world.actors)
            if place != number
            for key in other.locks
        }
        self.writes: dict[str, tuple | None] = dict(self.actor.writes)
        self.locks = set(self.actor.locks)
        self.ends = False

    def lock(self, key: str) -> None:
        if key in self.taken:
            raise LockedError
        self.locks.add(key)

    def get(self, key: str) -> tuple | None:
        return self.writes[key] if key in self.writes else self.rows.get(key)

    def put(self, key: str, row: tuple | None) -> None:
        self.lock(key)
        self.writes[key] = row

    def all(self, kind: str) -> Iterator[tuple[str, tuple]]:
        every = {**self.rows, **self.writes}
        return ((key, row) for key, row in sorted(every.items()) if row and key.startswith(kind))


Step = Callable[[View], None]


# Rules that several programs share.


def _end_run(view: View, run: str, state: str) -> None:
    """Write the end of a run whose row is locked."""
    row = view.get(run)
    if row is None or row[0] not in ACTIVE:
        view.ends = True  # another transaction was faster: the call is refused
        return
    view.put(run, (state, *row[1:]))


def _resolve(view: View, parent: str) -> None:
    """Lock the children of a parent, write the outcome into their links, and decide about each."""
    row = view.get(parent)
    outcome = "deleted" if row is None else row[3] if parent.startswith("batch") else row[0]
    if outcome not in OVER:
        return
    for key, (waits_for, heard) in list(view.all("link:")):
        child = f"run:{key.partition(':')[2]}"
        if waits_for != parent or heard is not None:
            continue
        view.lock(child)
        state = view.get(child)
        view.put(key, (parent, outcome))
        if state is None or state[0] != "awaiting":
            continue
        view.put(child, ("enqueued" if outcome == "succeeded" else "cancelled", *state[1:]))
        _count(view, child, state)


def _count(view: View, run: str, before: tuple) -> None:
    """Count a run that went from active to over, or away, in its batch; end the batch with its last member."""
    after, batch = view.get(run), before[1]
    if batch is None or before[0] not in ACTIVE or (after is not None and after[0] in ACTIVE):
        return
    view.lock(batch)
    row = view.get(batch)
    if row is None:
        return
    pending, failed, total, state = row
    gone, bad = after is None, after is not None and after[0] != "succeeded"
    pending, failed, total = pending - 1, failed + bad, total - gone
    if not pending and state == "running":
        state = "failed" if failed else "succeeded"
    view.put(batch, (pending, failed, total, state))


# Programs.


def _settle(run: str, state: str) -> tuple[Step, ...]:
    """End a run: lock it, write, resolve its children, count it in its batch, resolve the children of the batch."""
    batch_of = lambda view: (view.rows.get(run) or (None, None))[1]  # noqa: E731
    return (
        lambda view: view.lock(run),
        lambda view: _end_run(view, run, state),
        lambda view: _resolve(view, run),
        lambda view: _count(view, run, view.rows[run]),
        lambda view: _resolve(view, batch_of(view)) if batch_of(view) else None,
    )


def _delete(run: str) -> tuple[Step, ...]:
    def remove(view: View) -> None:
        row = view.get(run)
        if row is None or row[0] == "running":
            view.ends = True
        else:
            view.put(run, None)

    return (
        lambda view: view.lock(run),
        remove,
        lambda view: _resolve(view, run) if view.rows[run][0] in ACTIVE else None,
        lambda view: _count(view, run, view.rows[run]),
        lambda view: _resolve(view, view.rows[run][1]) if view.rows[run][1] else None,
    )


def _add(batch: str, run: str) -> tuple[Step, ...]:
    """Add a run to a running batch: the count and the row are written under the lock of the batch."""

    def grow(view: View) -> None:
        pending, failed, total, state = view.get(batch) or (0, 0, 0, "gone")
        if state != "running":
            view.ends = True
            return
        view.put(batch, (pending + 1, failed, total + 1, state))

    return (
        lambda view: view.lock(batch),
        grow,
        lambda view: view.put(run, ("enqueued", batch, None)),
    )


def _follow(parent: str, child: str) -> tuple[Step, ...]:
    """Create a dependent: lock the parent, then insert by its state."""

    def insert(view: View) -> None:
        row = view.get(parent)
        if row is None:
            view.ends = True
            return
        state = row[3] if parent.startswith("batch") else row[0]
        goes = {"succeeded": "enqueued"}.get(state, "cancelled" if state in OVER else "awaiting")
        view.put(child, (goes, None, None))
        link = f"link:{child.partition(':')[2]}"
        view.put(link, (parent, state if state in OVER else None))

    return lambda view: view.lock(parent), insert


def _rerun(run: str, new: str) -> tuple[Step, ...]:
    """Rerun an ended run: its batch loses the old run, counts the new run as pending, and is running again."""

    def leave(view: View) -> None:
        row = view.get(run)
        if row is None or row[0] not in OVER:
            view.ends = True
            return
        view.put(run, (row[0], None, row[2]))

    def reopen(view: View) -> None:
        state, batch, _ = view.rows[run]
        if batch is None:
            return
        view.lock(batch)
        pending, failed, total, _ = view.get(batch) or (0, 0, 0, "")
        view.put(batch, (pending + 1, failed - (state != "succeeded"), total, "running"))

    return (
        lambda view: view.lock(run),
        leave,
        reopen,
        lambda view: view.put(new, ("enqueued", view.rows[run][1], None)),
    )


def _claim(run: str, limit: str) -> tuple[Step, ...]:
    """Claim a run under a limit: the runs that take capacity are counted under the lock of the key."""

    def begin(view: View) -> None:
        row = view.get(run)
        taking = sum(item[0] == "running" and item[2] == limit for _, item in view.all("run:"))
        if row is None or row[0] != "enqueued":
            view.ends = True
        elif taking < LIMIT:
            view.put(run, ("running", *row[1:]))

    return lambda view: view.lock(run), lambda view: view.lock(limit), begin


START: dict[str, tuple] = {
    "batch:1": (2, 1, 3, "running"),
    "run:1": ("enqueued", "batch:1", None),
    "run:2": ("enqueued", "batch:1", None),
    "run:3": ("failed", "batch:1", None),
    "run:4": ("awaiting", None, None),
    "link:4": ("run:1", None),
    "run:5": ("awaiting", None, None),
    "link:5": ("batch:1", None),
    "run:6": ("enqueued", None, "limit:1"),
    "run:7": ("enqueued", None, "limit:1"),
    "limit:1": (LIMIT,),
}
"""A batch with two active members and a failed member, a dependent of a member and of the batch, and two runs under a limit of 1."""
PROGRAMS: dict[str, tuple[Step, ...]] = {
    "settle 1": _settle("run:1", "succeeded"),
    "fail 2": _settle("run:2", "failed"),
    "cancel 1": _settle("run:1", "cancelled"),
    "delete 1": _delete("run:1"),
    "delete 2": _delete("run:2"),
    "delete 3": _delete("run:3"),
    "add": _add("batch:1", "run:10"),
    "add more": _add("batch:1", "run:14"),
    "follow 1": _follow("run:1", "run:11"),
    "follow batch": _follow("batch:1", "run:12"),
    "rerun 3": _rerun("run:3", "run:13"),
    "claim 6": _claim("run:6", "limit:1"),
    "claim 7": _claim("run:7", "limit:1"),
}


# Exploration.


def advance(world: World, number: int, programs: Mapping[str, tuple[Step, ...]]) -> World | None:
    """Take the next step of an actor; ``None`` if the actor has to wait. The step after the last commits."""
    actor, view = world.actors[number], View(world, number)
    steps = programs[actor.program]
    rows = world.rows
    if actor.step < len(steps):
        try:
            steps[actor.step](view)
        except LockedError:
            return None
        after = replace(
            actor,
            step=len(steps) if view.ends else actor.step + 1,
            writes=(
                () if view.ends else tuple(sorted(view.writes.items(), key=lambda item: item[0]))
            ),
            locks=frozenset(view.locks),
        )
    else:
        new = {**dict(world.rows), **dict(actor.writes)}
        rows = tuple(sorted((key, row) for key, row in new.items() if row is not None))
        after = Actor(actor.program, actor.step, over=True)
    actors = (*world.actors[:number], after, *world.actors[number + 1 :])
    return World(rows, actors)


@dataclass
class Explored:
    """Result of an exploration: the number of states, and the wrong ends with the order of steps that led there."""

    states: int
    wrong: list[tuple[list[str], tuple[int, ...]]]


def explore(
    names: tuple[str, ...], programs: Mapping[str, tuple[Step, ...]] | None = None
) -> Explored:
    """Explore all interleavings of some programs; each state is visited once."""
    programs = programs or PROGRAMS
    first = World(tuple(sorted(START.items())), tuple(Actor(name) for name in names))
    seen, left = {first}, [(first, ())]
    result = Explored(0, [])
    while left:
        world, path = left.pop()
        moves = [number for number, actor in enumerate(world.actors) if not actor.over]
        after = [(number, advance(world, number, programs)) for number in moves]
        if not moves:
            if wrong := complaints(dict(world.rows)):
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
    wrong = []
    for key, row in rows.items():
        if key.startswith("batch:"):
            members = [run[0] for name, run in rows.items() if name[:4] == "run:" and run[1] == key]
            pending = sum(state in ACTIVE for state in members)
            failed = sum(state in OVER - {"succeeded"} for state in members)
            if row[0] != pending or row[1] < failed or row[2] < len(members):
                wrong.append(f"{key} counts {row[:3]}, its members are {members}")
            if (row[3] == "running") != (pending > 0):
                wrong.append(f"{key} is {row[3]} with {pending} pending members")
        if key.startswith("link:"):
            parent, outcome = row
            child = rows.get(f"run:{key.partition(':')[2]}")
            owner = rows.get(parent)
            state = "deleted" if owner is None else owner[3] if parent[0] == "b" else owner[0]
            if child and child[0] == "awaiting" and state in OVER and outcome is None:
                wrong.append(f"{key} waits for {parent}, which is {state}")
    taking = sum(row[0] == "running" for key, row in rows.items() if key[:4] == "run:")
    if taking > LIMIT:
        wrong.append(f"{taking} runs take a limit of {LIMIT}")
    return wrong


def triples() -> Iterator[tuple[str, str, str]]:
    """Return all sets of three programs."""
    return combinations(PROGRAMS, 3)
