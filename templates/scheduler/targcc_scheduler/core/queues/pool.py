"""Workers: which a queue has for itself, and which queues share in a pool."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


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
