"""Evidence of a storm. Instants are seconds of the machine's monotonic clock unless they are called wall."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from storms.checker.tied import (
    Act,
    AskedBatch,
    AskedChild,
    AskedFlow,
    AskedKey,
    Batch,
    Flow,
    Link,
    Refused,
    Told,
)

FOREVER = float("inf")
SKEW = timedelta(seconds=2)
"""A node reads its clock before its statement waits for another transaction's lock, or before others see its commit."""
_LOST = re.compile(r"\bits worker (\S+) was lost\b")
_LOST_ROW = re.compile(r"\bits worker \S+ was lost\b|\bthree workers were lost\b")
FINAL = frozenset({"succeeded", "failed", "cancelled", "skipped", "missed"})


@dataclass(frozen=True)
class Limits:
    """Settings of the storm.

    Args:
        heartbeat: Seconds between two heartbeats.
        lost_after: Seconds of silence after which a node is lost.
        margin: Seconds that a busy machine may add to a guaranteed time.
        one_clock: Whether database and nodes share a clock, so that a clock fault also changes the database's clock.
    """

    heartbeat: float = 0.5
    lost_after: float = 6
    margin: float = 10
    one_clock: bool = False

    @property
    def silence(self) -> float:
        """Return the shortest silence after which a node may be declared lost: its last beat may precede the silence."""
        return self.lost_after - 2 * self.heartbeat


@dataclass(frozen=True)
class Complaint:
    """Broken guarantee.

    Args:
        rule: The name of the rule.
        text: The finding.
        run: The run concerned, if any.
    """

    rule: str
    text: str
    run: int | None = None

    def __str__(self) -> str:
        where = f" (run {self.run})" if self.run is not None else ""
        return f"{self.rule}{where}: {self.text}"


@dataclass(frozen=True)
class Acknowledged:
    """Run that was acknowledged to the submitter."""

    run: int
    job: str
    token: str
    at: float


@dataclass(frozen=True)
class Node:
    """Process that ran jobs.

    Args:
        ended: When the process was seen to be gone; ``FOREVER`` if never seen.
        by: ``kill``, ``term`` or ``itself``.
        struck: When the kill began; the process ended between ``struck`` and ``ended``.
        stopped: When the process was told to stop.
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
        """Return when the process was told to stop, or when it ended without a request."""
        return min(self.stopped, self.ended)

    @property
    def gone(self) -> float:
        """Return the earliest instant at which the process may have ended."""
        return min(self.struck, self.ended)


@dataclass(frozen=True)
class Fault:
    """Fault with its nodes (empty for all) and its interval; ``pid`` limits it to a worker process."""

    kind: str
    nodes: tuple[str, ...]
    start: float
    end: float
    pid: int | None = None

    def hits(self, node: str) -> bool:
        """Return whether the fault affects a node."""
        return not self.nodes or node in self.nodes

    def within(self, start: float, end: float) -> float:
        """Return how many seconds of an interval the fault lasted."""
        return max(0.0, min(end, self.end) - max(start, self.start))


@dataclass(frozen=True)
class Pause:
    """Pause of a queue.

    Args:
        start: When the pause was acknowledged; ``FOREVER`` if never.
        end: When the resumption was requested.
        asked: When the pause was requested.
        over: When the resumption was acknowledged.
    """

    queue: str
    start: float
    end: float
    asked: float
    over: float = FOREVER


@dataclass(frozen=True)
class Execution:
    """Execution of a job's body by the record; without an end its process died before. ``seen`` holds the results of earlier steps."""

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
    """Record that a step was executed (``step``), or that its stored result was returned (``kept``)."""

    event: str
    run: int
    attempt: int
    step: str
    node: str
    at: float


@dataclass(frozen=True)
class Change:
    """Line of a run's life: wall time by the writer's clock, state, reason."""

    wall: datetime
    state: str
    note: str = ""

    @property
    def lost(self) -> str | None:
        """Return the id of the lost node, if the line reports a loss."""
        match = _LOST.search(self.note)
        return match[1] if match else None


@dataclass(frozen=True)
class Run:
    """Row of ``c_JobRun``."""

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
    """Row of ``c_LoggedJob``."""

    run: int
    attempt: int
    success: bool
    message: str = ""
    job: str = ""
    started: datetime | None = None
    completed: datetime | None = None

    @property
    def lost(self) -> bool:
        """Return whether the row says that the attempt lost its worker."""
        return not self.success and _LOST_ROW.search(self.message) is not None


@dataclass(frozen=True)
class Evidence:
    """All evidence of a storm.

    Args:
        began: When the storm began; ``began_wall`` is the same instant by the true wall clock.
        calm: When the last fault was healed and the last run was requested.
        quiet: When the nodes were told to stop.
        servers: The ids in ``c_JobServer`` after the end.
        steps: ``(run, step)`` in ``c_JobStep``.
        releases: When the deploy of each release after the first began.
        asked_children: The acknowledged dependents.
        asked_batches: The acknowledged batches.
        asked_keys: The acknowledged calls for unique runs.
        asked_flows: The flows started by name.
        rolled_back: The tokens of calls in transactions that were rolled back.
        refused: The calls that ended with an error.
        acts: What people did to runs, batches and flows of their own.
        people_batches: The batches of people.
        chains: The flows of people.
        told: The alerts that were sent.
        strict: Whether the queues that share workers have a strict order.
        left: The number of unfinished items when the nodes were told to stop.
        stands: Whether the unfinished items made no progress for long.
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
    acts: tuple[Act, ...] = ()
    people_batches: tuple[Batch, ...] = ()
    chains: tuple[Flow, ...] = ()
    told: tuple[Told, ...] = ()
    strict: bool = False
    left: int = 0
    stands: bool = False

    @cached_property
    def run_by_id(self) -> dict[int, Run]:
        """Map run ids to rows."""
        return {run.id: run for run in self.runs}

    @cached_property
    def deletable(self) -> frozenset[int]:
        """Return the runs that a person may have deleted."""
        return frozenset(self.targets("delete"))

    def targets(self, kind: str) -> list[int]:
        """Return what the acts of a kind applied to, except for refused acts."""
        acts = (act for act in self.acts if act.kind == kind and not act.refused)
        return [act.target for act in acts if act.target is not None]

    @cached_property
    def runs_by_job(self) -> dict[str, list[Run]]:
        """Map jobs to the rows of their runs."""
        runs: dict[str, list[Run]] = defaultdict(list)
        for run in self.runs:
            runs[run.job].append(run)
        return runs

    @cached_property
    def node_by_name(self) -> dict[str, Node]:
        """Map names to nodes."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def links_by_child(self) -> dict[int, list[Link]]:
        """Map each run to its links, also to links that are fulfilled."""
        links: dict[int, list[Link]] = defaultdict(list)
        for link in self.links:
            links[link.child].append(link)
        return links

    @cached_property
    def executions_by_run(self) -> dict[int, list[Execution]]:
        """Map each run to its executions in start order."""
        executions: dict[int, list[Execution]] = defaultdict(list)
        for item in sorted(self.executions, key=lambda item: item.start):
            executions[item.run].append(item)
        return executions

    @cached_property
    def logged_by_run(self) -> dict[int, list[Logged]]:
        """Map each run to its history rows in the order of writing."""
        rows: dict[int, list[Logged]] = defaultdict(list)
        for item in self.logged:
            rows[item.run].append(item)
        return rows

    def paused(self, queue: str) -> list[tuple[float, float]]:
        """Return the intervals in which a queue may have been paused."""
        return [(item.asked, item.over) for item in self.pauses if item.queue == queue]

    def mono(self, wall: datetime) -> float:
        """Convert a true wall time to an instant."""
        return self.began + (wall - self.began_wall).total_seconds()

    def gone(self, node: str) -> float:
        """Return the earliest instant at which a node may have ended."""
        known = self.node_by_name.get(node)
        return known.gone if known is not None else FOREVER

    @cached_property
    def back_to_first(self) -> float:
        """Return when a node of the first release began while no later release was up: a rollback, after which its schedules apply."""
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
        """Return whether wall times of the nodes may be wrong."""
        return any(fault.kind == "clock" for fault in self.faults)

    def silent(self, node: str, start: float, end: float) -> float:
        """Return the longest time in an interval for which a fault silenced this node but not the others.

        A database outage does not count: no node can write then, so no node may be declared lost.
        """
        return self._longest({"stop", "cut"}, node, start, end)

    def cut_off(self, node: str, start: float, end: float) -> float:
        """Return the longest time in an interval for which a node could not reach its database."""
        return self._longest({"stop", "cut", "disk", "database"}, node, start, end)

    def hindered(self, node: str, start: float, end: float) -> float:
        """Return for how many seconds of an interval a node could not write to its database."""
        kinds = {"stop", "cut", "disk", "database"}
        spans = [
            (item.start, item.end) for item in self.faults if item.kind in kinds and item.hits(node)
        ]
        return _covered(spans, start, end)

    def _longest(self, kinds: set[str], node: str, start: float, end: float) -> float:
        lasting = [item for item in self.faults if item.kind in kinds and item.hits(node)]
        return max((item.within(start, end) for item in lasting), default=0.0)

    def stopped_unheard(self, node: Node, since: float) -> bool:
        """Return whether a stopping node gave up because it could not write the outcomes of its runs."""
        return node.by in {"term", "kill"} and self.cut_off(node.name, since, node.ended) > 0

    def nobody_could(
        self, start: float, end: float, besides: Iterable[tuple[float, float]] = ()
    ) -> float:
        """Return for how many seconds of an interval no node could work, or the database was down, or a span of ``besides`` applied."""
        return _covered([*self._blocked, *besides], start, end)

    def watched(self, name: str, since: float) -> float:
        """Return when another node had observed a silent node for ``lost_after`` without a break; ``FOREVER`` if none had.

        The database must be reachable during the observation.
        """
        seconds, earliest = self.limits.lost_after, FOREVER
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
                earliest = min(earliest, begun + seconds)
        return earliest

    @cached_property
    def _blocked(self) -> list[tuple[float, float]]:
        blocked = [
            (item.start, item.end) for item in self.faults if item.kind in {"database", "disk"}
        ]
        return sorted(blocked + self._without_nodes())

    def _without_nodes(self) -> list[tuple[float, float]]:
        """Return the intervals without a node that was up and free to work."""
        able = [span for node in self.nodes for span in self._able(node)]
        idle, reached = [], self.began
        for start, end in sorted(able):
            if start > reached:
                idle.append((reached, start))
            reached = max(reached, end)
        return idle

    def _able(self, node: Node) -> Iterable[tuple[float, float]]:
        """Yield the intervals in which a node was ready and not hindered."""
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
    """Return how many seconds of an interval lie in at least one span."""
    total, reached = 0.0, start
    for begin, stop in sorted(spans):
        begin, stop = max(begin, reached), min(stop, end)  # noqa: PLW2901 - cut to what counts
        if stop > begin:
            total += stop - begin
            reached = stop
    return total
