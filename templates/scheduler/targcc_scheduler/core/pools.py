"""Order within and between queues: pools of workers, turns, ageing.

A run of priority P that is due at d has P + (t - d) / aging points at the instant t. Of two runs the same one has more at every instant, so
that the order is P x aging - d: a number that a run has from the beginning, and that nobody has to raise.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

# What waiting is worth: in a queue with ageing, each ``aging`` seconds since a run was due count as one point of priority.

BEHIND_ALL = -(2**31)
"""The number of an entry for which no run can be claimed yet: whoever takes it looks for runs that ask for their keys."""
MOST_SECONDS = 86_400
"""The longest time that one point may take."""
LEAST_PLAIN = -1_000_000
"""Entries of queues without ageing have numbers from here on, those of queues with ageing lower ones."""
_SINCE = datetime(2024, 1, 1, tzinfo=UTC)
_LEAST = BEHIND_ALL + 1


def entry_priority(priority: int, due_at: datetime, aging: int | None, *, first: bool) -> int:
    """The number by which an engine's entries go, the highest first; entries of one number go by age.

    Args:
        priority: The run's.
        due_at: When it may start.
        aging: The seconds of a point in its queue; ``None``: waiting counts for nothing there.
        first: It had its turn already, and goes before all others of its number.
    """
    if aging is None:
        return 2 * priority + first
    half_seconds = 2 * (priority * aging - int((due_at - _SINCE).total_seconds())) + first
    return min(max(half_seconds, _LEAST), LEAST_PLAIN - 1)


# Workers: which a queue has for itself, and which queues share in a pool.


@dataclass(frozen=True)
class Pool:
    """Workers of a node that queues share.

    Args:
        name: What the project calls it; that of the queue for one that has its workers for itself.
        workers: How many runs of all its queues together go on at once on each node.
        weights: Its queues, in order, with their weights.
        strict: Whether a queue's runs start only while those before it have none that can; else starts go by weight.
    """

    name: str
    workers: int
    weights: Mapping[str, int]
    strict: bool = False

    @classmethod
    def of(cls, name: str, said: Mapping[str, Any]) -> Pool:
        """A pool as :class:`~...project.Project` has it."""
        return cls(name, said["workers"], dict(said["queues"]), said["order"] == "strict")

    @classmethod
    def alone(cls, queue: str, workers: int) -> Pool:
        """The workers of a queue that shares them with no other."""
        return cls(queue, workers, {queue: 1})

    @property
    def queues(self) -> tuple[str, ...]:
        """Its queues, in order."""
        return tuple(self.weights)

    def only(self, wanted: Collection[str]) -> Pool:
        """The same workers, for some of its queues."""
        weights = {queue: weight for queue, weight in self.weights.items() if queue in wanted}
        return Pool(self.name, self.workers, weights, self.strict)


@dataclass(frozen=True)
class Workers:
    """How many runs go on at once on a node, and of which queues.

    Args:
        alone: Queues with workers of their own.
        pools: The others.
    """

    alone: Mapping[str, int] = field(default_factory=dict)
    pools: tuple[Pool, ...] = ()

    @property
    def queues(self) -> tuple[str, ...]:
        """The names of all of them."""
        return (*self.alone, *(queue for pool in self.pools for queue in pool.queues))

    @property
    def count(self) -> int:
        """How many runs at once."""
        return sum(self.alone.values()) + sum(pool.workers for pool in self.pools)


def pools_of(said: Mapping[str, Mapping[str, Any]]) -> tuple[Pool, ...]:
    """The pools of a project."""
    return tuple(Pool.of(name, one) for name, one in said.items())


def pool_of(said: Mapping[str, Mapping[str, Any]], queue: str) -> Pool | None:
    """The pool of a queue; ``None``: it has workers of its own."""
    return next((pool for pool in pools_of(said) if queue in pool.weights), None)


class HasQueues(Protocol):
    """A project; see :class:`~...project.Project`."""

    @property
    def queues(self) -> Mapping[str, int]:
        """How many runs at a time from each queue."""

    @property
    def pools(self) -> Mapping[str, Mapping[str, Any]]:
        """The pools."""


def workers_of(
    project: HasQueues, *, named: Iterable[str], wanted: Iterable[str] | None
) -> Workers:
    """The workers of a node.

    Args:
        project: Says which workers its queues have.
        named: The queues that its jobs name; one that is not among the project's gets one worker.
        wanted: The queues that the node takes from; ``None``: all.
    """
    every = {**dict.fromkeys(named, 1), **project.queues}
    names = list(every) if wanted is None else list(dict.fromkeys(wanted))
    shared = [left for pool in pools_of(project.pools) if (left := pool.only(names)).weights]
    pooled = {queue for pool in shared for queue in pool.queues}
    alone = {name: every.get(name, 1) for name in names if name not in pooled}
    return Workers(alone, tuple(shared))


# Whose turn it is in a pool: queues in strict order, or starts in proportion to their weights.
#
# Weighted is fair queueing with start tags (Goyal, Vin and Cheng, 1996): each start of a queue moves its tag on by one over its weight, and the
# lowest tag goes first. A queue in which nothing waits takes no turn and saves none up: when work comes, its tag is that of the others.

Ask = Callable[[str, int], Awaitable[tuple[int, bool]]]
"""Begin up to so many runs of a queue: how many began, and whether there may be more."""


class Turns:
    """The turns of a pool's queues; each node keeps its own.

    Args:
        pool: The queues, their order and weights.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._tags = dict.fromkeys(pool.weights, 0.0)
        self._now = 0.0

    async def fill(self, free: int, waiting: set[str], ask: Ask) -> int:
        """Have runs begin until nothing is free, or nothing waits; how many began.

        Args:
            free: How many may begin.
            waiting: The queues in which runs may wait; those that turn out to have no more are removed.
            ask: Begins them.
        """
        begun = 0
        while begun < free and (shares := self.shares(waiting, free - begun)):
            taken: dict[str, int] = {}
            for queue, count in shares.items():
                waiting.discard(queue)
                taken[queue], more = await ask(queue, count)
                if more:
                    waiting.add(queue)
            begun += sum(taken.values())
            self._took(taken, waiting)
        return begun

    def shares(self, waiting: Collection[str], free: int) -> dict[str, int]:
        """How many runs of each of these queues are next, if all have enough; the queue whose turn it is first."""
        queues = [queue for queue in self.pool.weights if queue in waiting]
        if not queues:
            return {}
        if self.pool.strict or len(queues) == 1:
            return {queues[0]: free}
        heap = [(self._tag(queue), place, queue) for place, queue in enumerate(queues)]
        heapq.heapify(heap)
        counts: dict[str, int] = {}
        for _ in range(free):
            tag, place, queue = heap[0]
            counts[queue] = counts.get(queue, 0) + 1
            heapq.heapreplace(heap, (tag + 1 / self.pool.weights[queue], place, queue))
        return counts

    def _tag(self, queue: str) -> float:
        return max(self._now, self._tags[queue])

    def _took(self, taken: Mapping[str, int], waiting: Collection[str]) -> None:
        for queue, count in taken.items():
            if count:
                self._tags[queue] = self._tag(queue) + count / self.pool.weights[queue]
        left = [self._tag(queue) for queue in self.pool.weights if queue in waiting]
        self._now = min(left) if left else max(self._tags.values())
