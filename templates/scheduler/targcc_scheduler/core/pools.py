"""Order within and between queues: worker pools, turns, ageing.

A run of priority P that is due at d has P + (t - d) / aging points at the instant t. The difference between two runs is constant over
time. The order is therefore P x aging - d: a fixed number, known when the run is created, that needs no update.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

# Ageing: in a queue with ageing, each ``aging`` seconds after the due time count as one point of priority.

BEHIND_ALL = -(2**31)
"""The priority of an entry whose run cannot be claimed yet; a worker with such an entry looks for runs with deferred keys."""
MOST_SECONDS = 86_400
"""The maximum of ``aging``, in seconds."""
LEAST_PLAIN = -1_000_000
"""The lower bound of priorities in queues without ageing; entries of queues with ageing lie below."""
_SINCE = datetime(2024, 1, 1, tzinfo=UTC)
_LEAST = BEHIND_ALL + 1


def entry_priority(priority: int, due_at: datetime, aging: int | None, *, first: bool) -> int:
    """Return the priority of an engine's entry: the highest first, entries of equal priority by age.

    Args:
        priority: The priority of the run.
        due_at: The time from which the run may start.
        aging: The seconds per point in the queue; ``None``: no ageing.
        first: Whether the entry had its turn already; such an entry precedes all entries of equal priority.
    """
    if aging is None:
        return 2 * priority + first
    half_seconds = 2 * (priority * aging - int((due_at - _SINCE).total_seconds())) + first
    return min(max(half_seconds, _LEAST), LEAST_PLAIN - 1)


# Workers: those of a single queue, and those that queues share in a pool.


@dataclass(frozen=True)
class Pool:
    """Workers of a node that queues share.

    Args:
        name: The name of the pool in the project, or of the queue that has the workers for itself.
        workers: The number of concurrent runs on each node, for all queues of the pool together.
        weights: The queues of the pool in order, with their weights.
        strict: Whether a queue's runs start only while no run of an earlier queue can start; otherwise starts follow the weights.
    """

    name: str
    workers: int
    weights: Mapping[str, int]
    strict: bool = False

    @classmethod
    def of(cls, name: str, declared: Mapping[str, Any]) -> Pool:
        """Build a pool from its entry in :class:`~...project.Project`."""
        return cls(
            name, declared["workers"], dict(declared["queues"]), declared["order"] == "strict"
        )

    @classmethod
    def alone(cls, queue: str, workers: int) -> Pool:
        """Build the pool of a single queue that shares its workers with no other queue."""
        return cls(queue, workers, {queue: 1})

    @property
    def queues(self) -> tuple[str, ...]:
        """Return the queues of the pool in order."""
        return tuple(self.weights)

    def only(self, wanted: Collection[str]) -> Pool:
        """Return a pool with the same workers, limited to some queues."""
        weights = {queue: weight for queue, weight in self.weights.items() if queue in wanted}
        return Pool(self.name, self.workers, weights, self.strict)


@dataclass(frozen=True)
class Workers:
    """The number of concurrent runs on a node, by queue and pool.

    Args:
        alone: The queues with workers of their own, with the number of workers.
        pools: The pools of the other queues.
    """

    alone: Mapping[str, int] = field(default_factory=dict)
    pools: tuple[Pool, ...] = ()

    @property
    def queues(self) -> tuple[str, ...]:
        """Return the names of all queues."""
        return (*self.alone, *(queue for pool in self.pools for queue in pool.queues))

    @property
    def count(self) -> int:
        """Return the total number of concurrent runs."""
        return sum(self.alone.values()) + sum(pool.workers for pool in self.pools)


def pools_of(declared: Mapping[str, Mapping[str, Any]]) -> tuple[Pool, ...]:
    """Return the pools of a project."""
    return tuple(Pool.of(name, entry) for name, entry in declared.items())


def pool_of(declared: Mapping[str, Mapping[str, Any]], queue: str) -> Pool | None:
    """Return the pool of a queue; ``None``: the queue has workers of its own."""
    return next((pool for pool in pools_of(declared) if queue in pool.weights), None)


class HasQueues(Protocol):
    """The queues and pools of a project; see :class:`~...project.Project`."""

    @property
    def queues(self) -> Mapping[str, int]:
        """Return the number of concurrent runs of each queue."""

    @property
    def pools(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the pools as the project declares them."""


def workers_of(
    project: HasQueues, *, named: Iterable[str], wanted: Iterable[str] | None
) -> Workers:
    """Return the workers of a node.

    Args:
        project: The project that declares the workers of its queues.
        named: The queues that jobs name; a queue that the project does not declare gets a single worker.
        wanted: The queues that the node serves; ``None``: all.
    """
    every = {**dict.fromkeys(named, 1), **project.queues}
    names = list(every) if wanted is None else list(dict.fromkeys(wanted))
    shared = [left for pool in pools_of(project.pools) if (left := pool.only(names)).weights]
    pooled = {queue for pool in shared for queue in pool.queues}
    alone = {name: every.get(name, 1) for name in names if name not in pooled}
    return Workers(alone, tuple(shared))


# Turns of the queues in a pool: strict order, or starts in proportion to the weights.
#
# Starts by weight are fair queueing with start tags (Goyal, Vin and Cheng, 1996): each start of a queue advances the queue's tag by 1 /
# weight, and the queue with the lowest tag starts first. A queue without waiting runs takes no turn and saves none: when work comes, the
# queue's tag is raised to the lowest tag of the waiting queues.

Ask = Callable[[str, int], Awaitable[tuple[int, bool]]]
"""Start up to a number of runs of a queue; return the number started, and whether the queue may have more."""


class Turns:
    """The turns of a pool's queues; each node keeps its own turns.

    Args:
        pool: The queues with their order and weights.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._tags = dict.fromkeys(pool.weights, 0.0)
        self._now = 0.0

    async def fill(self, free: int, waiting: set[str], ask: Ask) -> int:
        """Start runs until no worker is free or no run waits; return the number started.

        Args:
            free: The number of free workers.
            waiting: The queues that may have waiting runs; queues that turn out to have no more are removed.
            ask: Start runs of a queue.
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
        """Divide the free workers among the waiting queues, as if each queue had enough runs; the queue whose turn is next comes first."""
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
