"""What the checker knows of a storm. Instants are seconds of the machine's monotonic clock unless they are called wall."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from storms.checker.tied import (
    AskedBatch,
    AskedChild,
    AskedFlow,
    AskedKey,
    Batch,
    Flow,
    Link,
    Refused,
)

FOREVER = float("inf")
SKEW = timedelta(seconds=2)
"""A node reads its clock before its statement waits for a lock that another one holds, or before others see what it commits."""
_LOST = re.compile(r"\bits worker (\S+) was lost\b")
_LOST_ROW = re.compile(r"\bits worker \S+ was lost\b|\bthree workers were lost\b")
FINAL = frozenset({"succeeded", "failed", "cancelled", "skipped", "missed"})


@dataclass(frozen=True)
class Limits:
    """What was set for the storm.

    Args:
        heartbeat: Seconds between two heartbeats.
        lost_after: Seconds of silence after which a node is lost.
        margin: Seconds that a busy machine may add to what is promised.
        one_clock: Whether database and nodes have one clock, so that a clock fault sets that of the database, too.
    """

    heartbeat: float = 0.5
    lost_after: float = 6
    margin: float = 10
    one_clock: bool = False

    @property
    def silence(self) -> float:
        """The shortest silence for which a node may be taken for lost: its last beat may lie before it."""
        return self.lost_after - 2 * self.heartbeat


@dataclass(frozen=True)
class Complaint:
    """A promise that was not kept.

    Args:
        rule: Which.
        text: What was found.
        run: The run, if it is about one.
    """

    rule: str
    text: str
    run: int | None = None

    def __str__(self) -> str:
        where = f" (run {self.run})" if self.run is not None else ""
        return f"{self.rule}{where}: {self.text}"


@dataclass(frozen=True)
class Acknowledged:
    """A run of which the submitter was told that it exists."""

    run: int
    job: str
    token: str
    at: float


@dataclass(frozen=True)
class Node:
    """A process that ran jobs.

    Args:
        ended: When it was seen to be gone; ``FOREVER`` if nobody saw it go.
        by: ``kill``, ``term`` or ``itself``.
        struck: When it was about to be killed; it was gone at some instant from then to ``ended``.
        stopped: When it was told to stop.
    """

    name: str
    pid: int
    started: float
    ready: float = FOREVER
    ended: float = FOREVER
    by: str = ""
    release: int = 1
    struck: float = FOREVER
    stopped: float = FOREVER

    @property
    def told(self) -> float:
        """When it was told to stop, or ended without that."""
        return min(self.stopped, self.ended)

    @property
    def gone(self) -> float:
        """The first instant at which it may have been gone."""
        return min(self.struck, self.ended)


@dataclass(frozen=True)
class Fault:
    """A fault: of which nodes (none: of all), from when to when; of one worker process if ``pid`` says so."""

    kind: str
    nodes: tuple[str, ...]
    start: float
    end: float
    pid: int | None = None

    def hits(self, node: str) -> bool:
        """Whether a node feels it."""
        return not self.nodes or node in self.nodes

    def within(self, start: float, end: float) -> float:
        """How many seconds of an interval it lasted."""
        return max(0.0, min(end, self.end) - max(start, self.start))


@dataclass(frozen=True)
class Pause:
    """A queue was paused for a while.

    Args:
        start: When that was acknowledged; ``FOREVER`` if it never was.
        end: When it was asked to go on.
        asked: When it was asked to be paused.
        over: When it was acknowledged that it goes on.
    """

    queue: str
    start: float
    end: float
    asked: float
    over: float = FOREVER


@dataclass(frozen=True)
class Execution:
    """A job's body that ran, from the record; without an end its process was gone before. ``seen`` is what the steps before it gave."""

    run: int
    attempt: int
    job: str
    node: str
    start: float
    end: float | None = None
    outcome: str = ""
    token: str = ""
    slot: datetime | None = None
    pid: int = 0
    key: str = ""
    seen: tuple[int, ...] | None = None


@dataclass(frozen=True)
class StepNote:
    """That a step was being done (``step``), or that its result came back kept (``kept``)."""

    event: str
    run: int
    attempt: int
    step: str
    node: str
    at: float


@dataclass(frozen=True)
class Change:
    """A line of a run's life: when, by the wall clock of whoever wrote it, which state, why."""

    wall: datetime
    state: str
    note: str = ""

    @property
    def lost(self) -> str | None:
        """The id of the node that was lost, if that is what it says."""
        found = _LOST.search(self.note)
        return found[1] if found else None


@dataclass(frozen=True)
class Run:
    """A row of ``c_JobRun``."""

    id: int
    job: str
    state: str
    created: datetime
    slot: datetime | None = None
    attempt: int = 1
    server: str | None = None
    completed: datetime | None = None
    blocked_by: int | None = None
    message: str = ""
    life: tuple[Change, ...] = ()
    batch: int | None = None
    step: str | None = None
    expires: datetime | None = None


@dataclass(frozen=True)
class Logged:
    """A row of ``c_LoggedJob``."""

    run: int
    attempt: int
    success: bool
    message: str = ""
    job: str = ""
    started: datetime | None = None
    completed: datetime | None = None

    @property
    def lost(self) -> bool:
        """Whether the attempt ended because its worker was lost, as its row says."""
        return not self.success and _LOST_ROW.search(self.message) is not None


@dataclass(frozen=True)
class Evidence:
    """Everything that a storm left behind.

    Args:
        began: When it began, and at ``began_wall`` by the true wall clock.
        calm: When the last fault was healed and nothing was asked for any more.
        quiet: When the nodes were told to stop.
        servers: The ids in ``c_JobServer`` after the end.
        steps: ``(run, step)`` in ``c_JobStep``.
        releases: When the deploy of each release after the first began.
        asked_children: The acknowledged runs that wait for others.
        asked_batches: The acknowledged batches.
        asked_keys: The acknowledged calls for runs that are unique by a key.
        asked_flows: The flows that were started by their names.
        rolled_back: The tokens of what was asked for in transactions that were rolled back.
        refused: The calls that ended with an error.
        strict: Whether the queues that share workers have a strict order.
        left: How much was not over when the nodes were told to stop.
        stands: Whether nothing of that had been done for long.
    """

    limits: Limits
    began: float
    began_wall: datetime
    calm: float
    quiet: float
    acknowledged: tuple[Acknowledged, ...] = ()
    nodes: tuple[Node, ...] = ()
    faults: tuple[Fault, ...] = ()
    executions: tuple[Execution, ...] = ()
    step_notes: tuple[StepNote, ...] = ()
    runs: tuple[Run, ...] = ()
    logged: tuple[Logged, ...] = ()
    steps: frozenset[tuple[int, str]] = frozenset()
    servers: frozenset[str] = frozenset()
    releases: dict[int, float] = field(default_factory=dict)
    asked_children: tuple[AskedChild, ...] = ()
    asked_batches: tuple[AskedBatch, ...] = ()
    links: tuple[Link, ...] = ()
    batches: tuple[Batch, ...] = ()
    asked_keys: tuple[AskedKey, ...] = ()
    asked_flows: tuple[AskedFlow, ...] = ()
    rolled_back: frozenset[str] = frozenset()
    refused: tuple[Refused, ...] = ()
    flows: tuple[Flow, ...] = ()
    pauses: tuple[Pause, ...] = ()
    strict: bool = False
    left: int = 0
    stands: bool = False

    @cached_property
    def run_by_id(self) -> dict[int, Run]:
        """The rows of the runs by their ids."""
        return {run.id: run for run in self.runs}

    @cached_property
    def runs_by_job(self) -> dict[str, list[Run]]:
        """The rows of the runs by their jobs."""
        found: dict[str, list[Run]] = defaultdict(list)
        for run in self.runs:
            found[run.job].append(run)
        return found

    @cached_property
    def node_by_name(self) -> dict[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def links_by_child(self) -> dict[int, list[Link]]:
        """What each run waits for, or has waited for."""
        found: dict[int, list[Link]] = defaultdict(list)
        for link in self.links:
            found[link.child].append(link)
        return found

    @cached_property
    def executions_by_run(self) -> dict[int, list[Execution]]:
        """The executions of each run, in the order in which they began."""
        found: dict[int, list[Execution]] = defaultdict(list)
        for item in sorted(self.executions, key=lambda item: item.start):
            found[item.run].append(item)
        return found

    @cached_property
    def logged_by_run(self) -> dict[int, list[Logged]]:
        """The rows of history of each run, in the order in which they were written."""
        found: dict[int, list[Logged]] = defaultdict(list)
        for item in self.logged:
            found[item.run].append(item)
        return found

    def paused(self, queue: str) -> list[tuple[float, float]]:
        """When a queue may have been paused."""
        return [(item.asked, item.over) for item in self.pauses if item.queue == queue]

    def mono(self, wall: datetime) -> float:
        """A true wall time as an instant."""
        return self.began + (wall - self.began_wall).total_seconds()

    def gone(self, node: str) -> float:
        """The first instant at which a node may have been gone."""
        known = self.node_by_name.get(node)
        return known.gone if known is not None else FOREVER

    @cached_property
    def back_to_first(self) -> float:
        """When a node of the first release began with none of a later one up: that is going back to it, as the docs say, and its schedules hold."""
        newer = [(node.ready, node.gone) for node in self.nodes if node.release > 1]
        first = min((start for start, _ in newer), default=FOREVER)
        old = [node for node in self.nodes if node.release == 1 and node.ready > first]
        return min(
            (
                node.started
                for node in old
                if _covered(newer, node.started, min(node.ready, node.ended))
                < min(node.ready, node.ended) - node.started
            ),
            default=FOREVER,
        )

    def clock_was_set(self) -> bool:
        """Whether wall times of the nodes may be wrong."""
        return any(fault.kind == "clock" for fault in self.faults)

    def silent(self, node: str, start: float, end: float) -> float:
        """The longest time in an interval for which a fault kept a node, and not the others, from saying anything.

        A database that is away is none: nobody can be heard, so nobody may be declared lost.
        """
        return self._longest({"stop", "cut"}, node, start, end)

    def cut_off(self, node: str, start: float, end: float) -> float:
        """The longest time in an interval for which a node could not reach its database."""
        return self._longest({"stop", "cut", "disk", "database"}, node, start, end)

    def hindered(self, node: str, start: float, end: float) -> float:
        """For how many seconds of an interval a node could not write to its database."""
        kinds = {"stop", "cut", "disk", "database"}
        spans = [
            (item.start, item.end) for item in self.faults if item.kind in kinds and item.hits(node)
        ]
        return _covered(spans, start, end)

    def _longest(self, kinds: set[str], node: str, start: float, end: float) -> float:
        lasting = [item for item in self.faults if item.kind in kinds and item.hits(node)]
        return max((item.within(start, end) for item in lasting), default=0.0)

    def stopped_unheard(self, node: Node, since: float) -> bool:
        """Whether a node was told to stop and gave up, since it could not write what had become of its runs."""
        return node.by in {"term", "kill"} and self.cut_off(node.name, since, node.ended) > 0

    def nobody_could(
        self, start: float, end: float, besides: Iterable[tuple[float, float]] = ()
    ) -> float:
        """For how many seconds of an interval no node could work, or the database was away; or it lies in one of the spans ``besides``."""
        return _covered([*self._blocked, *besides], start, end)

    def watched(self, name: str, since: float) -> float:
        """When another node had watched a silent one for ``lost_after``, without a break and with the database there; ``FOREVER``: none ever had."""
        seconds, found = self.limits.lost_after, FOREVER
        away = sorted(
            (item.start, item.end) for item in self.faults if item.kind in {"database", "disk"}
        )
        for start, end in (
            span for node in self.nodes if node.name != name for span in self._able(node)
        ):
            begun = max(start, since)
            for gone, back in away:
                if begun - back < 0 < begun + seconds - gone:
                    begun = back
            if begun + seconds <= end:
                found = min(found, begun + seconds)
        return found

    @cached_property
    def _blocked(self) -> list[tuple[float, float]]:
        blocked = [
            (item.start, item.end) for item in self.faults if item.kind in {"database", "disk"}
        ]
        return sorted(blocked + self._without_nodes())

    def _without_nodes(self) -> list[tuple[float, float]]:
        """The intervals in which no node was up and free to work."""
        able = [span for node in self.nodes for span in self._able(node)]
        idle, reached = [], self.began
        for start, end in sorted(able):
            if start > reached:
                idle.append((reached, start))
            reached = max(reached, end)
        return idle

    def _able(self, node: Node) -> Iterable[tuple[float, float]]:
        """When a node was ready and not hindered."""
        hindered = sorted(
            (item.start, item.end)
            for item in self.faults
            if item.kind in {"stop", "cut"} and item.hits(node.name)
        )
        start = node.ready
        for begin, end in hindered:
            if begin > start:
                yield start, min(begin, node.ended)
            start = max(start, end)
        if start < node.ended:
            yield start, node.ended


def _covered(spans: Iterable[tuple[float, float]], start: float, end: float) -> float:
    """How many seconds of an interval lie in one of the spans at least."""
    total, reached = 0.0, start
    for begin, stop in sorted(spans):
        begin, stop = max(begin, reached), min(stop, end)  # noqa: PLW2901 - cut to what counts
        if stop > begin:
            total += stop - begin
            reached = stop
    return total
