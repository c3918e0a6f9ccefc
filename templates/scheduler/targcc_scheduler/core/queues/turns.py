"""Whose turn it is in a pool: queues in strict order, or starts in proportion to their weights.

Weighted is fair queueing with start tags (Goyal, Vin and Cheng, 1996): each start of a queue moves its tag on by one over its weight, and the
lowest tag goes first. A queue in which nothing waits takes no turn and saves none up: when work comes, its tag is that of the others.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Collection, Mapping

from .pool import Pool

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
