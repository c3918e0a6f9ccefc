"""Model of concurrent transactions: batches, flows, dependencies, unique keys and limits, explored in all interleavings.

A transaction is a tuple of steps. A step locks a row, or reads committed rows and writes to the transaction's own buffer; the last step
commits. Rows are what PostgreSQL's READ COMMITTED shows: a reader sees its own writes and committed rows. The programs follow the order of
locks in the kernel: runs by id, then batches and flows, inner before outer, then keys of limits. A deleted run leaves its unique key first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any, NamedTuple


class Run(NamedTuple):
    """A run; ``group`` is its batch, or the step of a flow, as in ``flow:1/a``."""

    state: str
    group: str | None = None
    limit: str | None = None


class Batch(NamedTuple):
    """A batch with its counts; ``parent`` is its outer batch."""

    pending: int
    failed: int
    total: int
    state: str = "running"
    parent: str | None = None


class Part(NamedTuple):
    """A step of a flow: the steps before it, its state, its last run, and the number of its runs so far."""

    name: str
    after: tuple[str, ...]
    state: str
    run: str | None = None
    tries: int = 0


Rows = Mapping[str, Any]
"""Rows by key: ``run:1``, ``batch:1``; ``flow:1`` is a tuple of steps, ``link:2`` is ``(parent, outcome)``, ``key:1`` is ``(run,)``."""
ACTIVE = {"awaiting", "enqueued", "running"}
QUEUED = {"awaiting", "enqueued"}
OVER = {"succeeded", "failed", "cancelled", "deleted"}
LIMIT = 1


class LockedError(Exception):
    """The step needs a lock that another transaction holds."""


class Actor(NamedTuple):
    """A transaction in progress, with a program, the number of the next step and the uncommitted writes."""

    program: str
    step: int = 0
    writes: tuple[tuple[str, Any], ...] = ()
    locks: frozenset[str] = frozenset()
    over: bool = False


class Table(dict[str, Any]):
    """Committed rows. :data:`table` makes equal tables the same object, so that worlds are compared quickly."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


table = cache(Table)


class World(NamedTuple):
    """Committed rows and the actors."""

    table: Table
    actors: tuple[Actor, ...]


class View:
    """What a step of an actor sees and changes. ``following`` is the next step; ``ends`` rolls the transaction back."""

    def __init__(self, world: World, number: int) -> None:
        self.actor = world.actors[number]
        self.rows = world.table
        self.others = [other for place, other in enumerate(world.actors) if place != number]
        self.writes: dict[str, Any] = dict(self.actor.writes)
        self.locks = set(self.actor.locks)
        self.ends = False
        self.following = self.actor.step + 1

    def lock(self, key: str | None) -> None:
        if any(key in other.locks for other in self.others):
            raise LockedError
        if key is not None:
            self.locks.add(key)

    def get(self, key: str | None) -> Any:
        return self.writes[key] if key in self.writes else self.rows.get(key or "")

    def put(self, key: str, row: Any) -> None:
        self.lock(key)
        self.writes[key] = row

    def all(self, kind: str) -> Iterator[tuple[str, Any]]:
        every = {**self.rows, **self.writes}
        return ((key, row) for key, row in sorted(every.items()) if row and key.startswith(kind))


Step = Callable[[View], None]


def state_of(row: Any) -> str:
    """Return the state of a run or batch; ``deleted`` without a row."""
    return "deleted" if row is None else row.state


def _group(view: View, key: str | None) -> str | None:
    """Return the batch or flow of a run or batch, as committed."""
    row = view.rows.get(key or "")
    group = row.group if isinstance(row, Run) else row.parent if isinstance(row, Batch) else None
    return group and group.partition("/")[0]


def _resolve(view: View, parent: str | None) -> None:
    """Lock the children of a parent, write the outcome into their links, and decide about each."""
    outcome = state_of(view.get(parent)) if parent and not parent.startswith("flow") else "running"
    for key, (waits_for, heard) in list(view.all("link:")) if outcome in OVER else ():
        child = f"run:{key.partition(':')[2]}"
        if waits_for != parent or heard is not None:
            continue
        view.lock(child)
        run = view.get(child)
        view.put(key, (parent, outcome))
        if state_of(run) == "awaiting":
            goes = "enqueued" if outcome == "succeeded" else "cancelled"
            view.put(child, run._replace(state=goes))


def _count(view: View, key: str | None) -> None:
    """Count a run or batch that went from active to over, or away, in its group; end the group with its last member."""
    before, after, group = view.rows.get(key or ""), view.get(key), _group(view, key)
    if group is None or before.state not in ACTIVE or state_of(after) in ACTIVE:
        return
    view.lock(group)
    if group.startswith("flow"):
        _advance(view, group, before.group)
    elif (batch := view.get(group)) is not None:
        gone, failed = after is None, after is not None and after.state != "succeeded"
        batch = Batch(batch.pending - 1, batch.failed + failed, batch.total - gone, *batch[3:])
        if not batch.pending and batch.state == "running":
            batch = batch._replace(state="failed" if batch.failed else "succeeded")
        view.put(group, batch)


def _advance(view: View, flow: str, group: str) -> None:
    """Write the outcome of a step without an active run into a locked flow, and go on."""
    if not any(run.group == group and run.state in ACTIVE for _, run in view.all("run:")):
        parts = {part.name: part for part in view.get(flow)}
        part = parts[group.partition("/")[2]]
        if part.state == "running":
            parts[part.name] = part._replace(state=state_of(view.get(part.run)))
        _go_on(view, flow, parts)


def _go_on(view: View, flow: str, parts: dict[str, Part]) -> None:
    """Start the waiting steps of a locked flow whose earlier steps have succeeded; cancel those that never can."""
    for name, part in parts.items():
        before = {parts[item].state for item in part.after}
        if part.state != "waiting" or not before <= OVER:
            continue
        parts[name] = part._replace(state="cancelled")
        if before <= {"succeeded"}:
            run = f"run:{name}{part.tries + 1}"
            parts[name] = part._replace(state="running", run=run, tries=part.tries + 1)
            view.put(run, Run("enqueued", f"{flow}/{name}"))
    view.put(flow, tuple(parts.values()))


def _effects(key: str) -> tuple[Step, ...]:
    """Resolve the children of a run, count the run in its group, and so on with the group and the outer batch."""
    outer = lambda view: _group(view, _group(view, key))  # noqa: E731
    return (
        lambda view: _resolve(view, key) if state_of(view.rows.get(key)) in ACTIVE else None,
        lambda view: _count(view, key),
        lambda view: _resolve(view, _group(view, key)),
        lambda view: _count(view, _group(view, key)),
        lambda view: _resolve(view, outer(view)),
    )


def _settle(run: str, state: str) -> tuple[Step, ...]:
    def end(view: View) -> None:
        row = view.get(run)
        if state_of(row) not in ACTIVE:
            view.ends = True  # another transaction was faster: the call is refused
        else:
            view.put(run, row._replace(state=state))

    return lambda view: view.lock(run), end, *_effects(run)


def _delete(run: str) -> tuple[Step, ...]:
    def leave_key(view: View) -> None:
        if state_of(view.get(run)) in {"running", "deleted"}:
            view.ends = True
        for key, (owner,) in list(view.all("key:")):
            if owner == run:
                view.put(key, None)

    return (
        lambda view: view.lock(run),
        leave_key,
        lambda view: view.put(run, None),
        *_effects(run),
    )


def _add(batch: str, key: str, row: Any, *more: tuple[str, Any]) -> tuple[Step, ...]:
    """Add a run or an inner batch to a running batch: the count and the rows are written under the lock of the batch."""

    def grow(view: View) -> None:
        counts = view.get(batch)
        if state_of(counts) != "running":
            view.ends = True
            return
        view.put(batch, Batch(counts.pending + 1, counts.failed, counts.total + 1, *counts[3:]))

    added = ((key, row), *more)
    puts = tuple(lambda view, item=item: view.put(*item) for item in added)
    return lambda view: view.lock(batch), grow, *puts


def _follow(parent: str, child: str) -> tuple[Step, ...]:
    """Create a dependent: lock the parent, then insert by its state."""

    def insert(view: View) -> None:
        state = state_of(view.get(parent))
        if state == "deleted":
            view.ends = True
            return
        goes = {"succeeded": "enqueued"}.get(state, "cancelled" if state in OVER else "awaiting")
        view.put(child, Run(goes))
        link = f"link:{child.partition(':')[2]}"
        view.put(link, (parent, state if state in OVER else None))

    return lambda view: view.lock(parent), insert


def _rerun(run: str, new: str) -> tuple[Step, ...]:
    """Rerun an ended run: its batch loses the old run, counts the new run as pending, and is running again, as its outer batch is."""

    def leave(view: View) -> None:
        row = view.get(run)
        if state_of(row) not in OVER - {"deleted"}:
            view.ends = True
            return
        view.put(run, row._replace(group=None))

    def reopen(view: View, key: str) -> None:
        group, ended = _group(view, key), view.rows.get(key)
        if group is None or ended.state in ACTIVE:
            return
        view.lock(group)
        batch = view.get(group)
        failed = batch.failed - (ended.state != "succeeded")
        view.put(group, batch._replace(pending=batch.pending + 1, failed=failed, state="running"))

    return (
        lambda view: view.lock(run),
        leave,
        lambda view: reopen(view, run),
        lambda view: reopen(view, _group(view, run) or ""),
        lambda view: view.put(new, Run("enqueued", _group(view, run))),
    )


def _claim(run: str, limit: str | None = None) -> tuple[Step, ...]:
    """Claim a run, if it exists: the runs that take capacity of its limit are counted under the lock of the key."""

    def begin(view: View) -> None:
        row = view.get(run)
        taking = sum(item.state == "running" and item.limit == limit for _, item in view.all("run"))
        if state_of(row) != "enqueued":
            view.ends = True
        elif not limit or taking < LIMIT:
            view.put(run, row._replace(state="running"))

    return lambda view: view.lock(run), lambda view: view.lock(limit), begin


def _insert_key(view: View, key: str) -> None:
    """Insert a key without a row; wait for another transaction that writes the key."""
    if any(key in dict(other.writes) for other in view.others):
        raise LockedError
    if view.rows.get(key) is None:
        view.put(key, (None,))


def unique(key: str, run: str, holds: AbstractSet[str], *, undoes: bool = True) -> tuple[Step, ...]:
    """Create a run with a unique key: insert the key, or look at its run, lock the key of a run that does not hold it, and take it over.

    Where a run holds its key only while it waits, it gets the arguments of the new run. A lock counts only if the row is still as it was:
    PostgreSQL keeps the lock in any case, so that it is undone before the next look.
    """

    def look(view: View) -> None:
        if key not in view.writes and (row := view.rows.get(key)) is not None:
            is_held = state_of(view.rows.get(row[0])) in holds
            view.writes |= {"note:holder": row[0], "note:held": is_held}
            view.ends = is_held and holds is ACTIVE  # that run stands for the new run

    def take(view: View) -> None:
        holder, is_held = view.writes.get("note:holder"), view.writes.get("note:held")
        if key in view.writes:
            return
        view.lock(holder if is_held else key)
        if is_held and state_of(row := view.rows.get(holder)) in holds:
            view.put(holder, row)
            view.following += 1
        elif is_held or view.rows.get(key) != (holder,):
            view.writes, view.following = {}, 0
            view.locks -= view.locks if undoes else set()

    def give(view: View) -> None:
        view.put(run, Run("enqueued"))
        view.put(key, (run,))

    return lambda view: _insert_key(view, key), look, take, give


def _of_flow(flow: str, *, again: bool) -> tuple[Step, ...]:
    """Rerun the failed steps of a flow and the steps after them, or cancel its waiting steps."""

    def change(view: View) -> None:
        parts = {part.name: part for part in view.get(flow)}
        bad = {"failed", "cancelled", "deleted"} if again else {"waiting"}
        chosen: set[str] = set()
        for name, part in parts.items():
            if part.state in bad or chosen & {*part.after}:
                chosen.add(name)
        groups = {f"{flow}/{name}" for name in chosen}
        busy = any(run.group in groups and run.state in ACTIVE for _, run in view.all("run:"))
        view.ends = not chosen or busy or any(parts[name].state == "running" for name in chosen)
        for name in () if view.ends else chosen:
            parts[name] = parts[name]._replace(state="waiting" if again else "cancelled")
        _go_on(view, flow, parts)

    return lambda view: view.lock(flow), change


START: dict[str, Any] = {
    "batch:1": Batch(3, 2, 5), "run:1": Run("enqueued", "batch:1"), "run:2": Run("enqueued", "batch:1"), "run:3": Run("failed", "batch:1"),
    "run:4": Run("awaiting"), "link:4": ("run:1", None), "run:5": Run("awaiting"), "link:5": ("batch:1", None),
    "limit:1": (LIMIT,), "run:6": Run("enqueued", None, "limit:1"), "run:7": Run("enqueued", None, "limit:1"),
    "batch:2": Batch(1, 0, 1, parent="batch:1"), "run:8": Run("enqueued", "batch:2"),
    "batch:3": Batch(0, 1, 1, "failed", "batch:1"), "run:9": Run("failed", "batch:3"),
    "key:1": ("run:1",), "key:3": ("run:21",), "run:21": Run("running"),
    "flow:1": (Part("a", (), "failed", "run:a1", 1), Part("b", (), "running", "run:b1", 1), Part("c", ("a", "b"), "waiting")),
    "run:a1": Run("failed", "flow:1/a"), "run:b1": Run("enqueued", "flow:1/b"),
}  # fmt: skip
"""A batch with active, failed and inner members, dependents, runs under a limit, unique keys, and a flow whose step a has failed."""
PROGRAMS: dict[str, tuple[Step, ...]] = {
    "settle 1": _settle("run:1", "succeeded"),
    "fail 2": _settle("run:2", "failed"),
    "cancel 1": _settle("run:1", "cancelled"),
    "delete 1": _delete("run:1"),
    "delete 2": _delete("run:2"),
    "delete 3": _delete("run:3"),
    "add": _add("batch:1", "run:10", Run("enqueued", "batch:1")),
    "follow 1": _follow("run:1", "run:11"),
    "follow batch": _follow("batch:1", "run:12"),
    "rerun 3": _rerun("run:3", "run:13"),
    "claim 6": _claim("run:6", "limit:1"),
    "claim 7": _claim("run:7", "limit:1"),
    "settle 8": _settle("run:8", "succeeded"),
    "delete 8": _delete("run:8"),
    "add inner": _add("batch:2", "run:14", Run("enqueued", "batch:2")),
    "nest": _add("batch:1", "batch:4", Batch(1, 0, 1, parent="batch:1"), ("run:15", Run("enqueued", "batch:4"))),
    "rerun 9": _rerun("run:9", "run:16"),
    "unique": unique("key:1", "run:17", ACTIVE),
    "unique too": unique("key:1", "run:18", ACTIVE),
    "new key": unique("key:2", "run:19", ACTIVE),
    "new key too": unique("key:2", "run:20", ACTIVE),
    "replace": unique("key:3", "run:22", QUEUED),
    "replace too": unique("key:3", "run:23", QUEUED),
    "begin 22": _claim("run:22"),
    "settle 21": _settle("run:21", "failed"),
    "settle b": _settle("run:b1", "succeeded"),
    "delete b": _delete("run:b1"),
    "rerun flow": _of_flow("flow:1", again=True),
    "cancel flow": _of_flow("flow:1", again=False),
}  # fmt: skip
