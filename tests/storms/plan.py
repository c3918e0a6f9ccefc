"""Plan of a storm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FAULTS = {
    "kill": "SIGKILL of a node, which is started again at once",
    "worker": "SIGKILL or SIGSEGV of a worker process of a node, with isolation process",
    "stop": "SIGSTOP of a node, and SIGCONT later",
    "term": "SIGTERM of a node, and a new one when it has stopped",
    "deploy": "the next of three releases, node by node, old and new together for a while",
    "pg": "the PostgreSQL server is restarted, in order or as after a crash",
    "net": "the connection of a node to PostgreSQL stalls or breaks",
    "clock": "the clock of a node (on SQLite: of all) is set, forward and back",
    "people": "people cancel, delete, retry, add, nest and rerun runs, batches and flows, over HTTP; their web server is killed",
    "pause": "a queue of the pool is paused, and resumed later",
    "disk": "the disk of the database is full",
}
"""Faults by the name of their flag."""
ONLY_POSTGRESQL = frozenset({"pg", "net"})
ONLY_PROCESSES = frozenset({"worker"})
QUICK = frozenset({"kill", "term"})


@dataclass(frozen=True)
class StormPlan:
    """Parameters of a storm.

    Args:
        database: ``sqlite`` or ``postgresql``.
        isolation: ``thread`` or ``process``.
        kills: The number of killed nodes that ends the storm.
        seed: The seed of the random choices.
        faults: The enabled faults.
        nodes: The number of concurrent nodes.
        rate: Requested runs a second.
        pace: The longest pause between two faults, in seconds.
        longest_stop: The longest SIGSTOP, in seconds.
        longest_outage: The longest cut, wrong clock, outage of the database and full disk, in seconds.
        heartbeat: Seconds between two heartbeats.
        lost_after: Seconds of silence after which a node is lost.
        margin: Seconds that a busy machine may add to a guaranteed time.
        grace: TARGCC_SHUTDOWN_GRACE.
        minutes: The longest duration, regardless of the kills.
        weights: Frequencies of jobs that differ from ``WEIGHTS``.
    """

    database: str
    isolation: str = "thread"
    kills: int = 40
    seed: int = 7
    faults: frozenset[str] = QUICK
    nodes: int = 3
    rate: float = 6
    pace: float = 0.8
    longest_stop: float = 60
    longest_outage: float = 15
    heartbeat: float = 0.5
    lost_after: float = 6
    margin: float = 10
    grace: float = 1
    minutes: float = 60
    weights: Mapping[str, int] = field(default_factory=dict)

    @property
    def order(self) -> str:
        """Return the order of the queues that share workers."""
        return "strict" if self.seed % 2 else "weighted"

    def __post_init__(self) -> None:
        if self.database == "sqlite":
            object.__setattr__(self, "faults", self.faults - ONLY_POSTGRESQL)
        if self.isolation == "thread":
            object.__setattr__(self, "faults", self.faults - ONLY_PROCESSES)
