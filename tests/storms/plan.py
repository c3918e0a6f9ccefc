"""What a storm is to do."""

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
    "pause": "a queue of the pool is paused, and resumed later",
    "disk": "the disk of the database is full",
}
"""What can go wrong, by the name of the flag."""
ONLY_POSTGRESQL = frozenset({"pg", "net"})
ONLY_PROCESSES = frozenset({"worker"})
QUICK = frozenset({"kill", "term"})


@dataclass(frozen=True)
class StormPlan:
    """A storm.

    Args:
        database: ``sqlite`` or ``postgresql``.
        isolation: ``thread`` or ``process``.
        kills: It lasts until so many nodes have been killed.
        seed: What the chances are drawn from.
        faults: What can go wrong.
        nodes: How many nodes there are at once.
        rate: How many runs are asked for in a second.
        pace: The longest pause between two faults, in seconds.
        longest_stop: The longest SIGSTOP, in seconds.
        longest_outage: The longest cut, wrong clock, outage of the database and full disk, in seconds.
        heartbeat: Seconds between two heartbeats.
        lost_after: Seconds of silence after which a node is lost.
        margin: Seconds that a busy machine may add to what is promised.
        grace: TARGCC_SHUTDOWN_GRACE.
        minutes: It ends after so many minutes whatever the kills.
        weights: How often jobs are asked for, where that is otherwise than ``WEIGHTS`` has it.
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
        """The order of the queues that share workers."""
        return "strict" if self.seed % 2 else "weighted"

    def __post_init__(self) -> None:
        if self.database == "sqlite":
            object.__setattr__(self, "faults", self.faults - ONLY_POSTGRESQL)
        if self.isolation == "thread":
            object.__setattr__(self, "faults", self.faults - ONLY_PROCESSES)
