"""Interface of an engine. The tables are the source of truth; an engine only decides when and where a run gets its worker.

Both adapters keep this contract, and one test suite checks both:

* A waiting run (``scheduled``, ``enqueued``, ``retrying``) is submitted in the transaction that makes the run wait. The engine
  offers the run to a worker of its queue at or soon after ``due_at``, at least once. Offering a run twice, or after its end, does
  no harm: the executor's claim decides.
* A run offered while its queue is paused or its job is at its limit is not claimed and stays ``enqueued``. The transaction that
  resumes the queue or frees capacity calls :meth:`Engine.release`.
* No submission is lost: submitted runs are offered if the transaction commits and not if the transaction rolls back, even if the
  process dies between the two.
* An engine keeps no important state of its own: no results, no retries, no schedule.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.pools import Pool
from ...db.transactions import Fence, Store
from ..runs.claim import Entries, Taken
from ..runs.values import Claim, NewRun, Offer, RunId


@dataclass(frozen=True, slots=True)
class Submission:
    """A waiting run, submitted to the engine.

    Args:
        first: The run had its turn already and goes before all other runs of its priority.
        asks: The run asks for its keys first. One entry for all such runs of a queue is enough, behind all claimable runs.
    """

    run_id: int
    queue: str
    priority: int
    due_at: datetime
    first: bool = False
    asks: bool = False


MakeOffer = Callable[[AsyncConnection], Awaitable[Offer]]
"""Build an offer, in the transaction of the claim."""


class Worker(Protocol):
    """Worker interface that an engine calls to claim and run jobs; the executor implements it. For use on the scheduler's loop.

    Attributes:
        fingerprint: Identifies the jobs and arguments that the worker knows; recorded in refused runs.
        server_id: The id of the node's row in ``c_JobServer``.
        holds: Whether the worker claims nothing for now, since its node is being drained.
    """

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the jobs and arguments that the worker knows."""

    @property
    def server_id(self) -> str:
        """Return the id of the node's row in ``c_JobServer``."""

    @property
    def holds(self) -> bool:
        """Return whether the worker claims nothing for now."""

    async def claim(self, offer: MakeOffer) -> list[Claim]:
        """Claim the runs of ``offer``, in the same transaction as the offer.

        Skip runs that are over, not due, blocked, or claimed by another node.

        Raises:
            NodeUnknown: this node was declared lost, is being drained, or its jobs' loop does not turn; the writes of ``offer`` are rolled
                back.
        """

    async def claim_at_once(
        self, entries: Entries, queue: str, options: Mapping[str, Any]
    ) -> Taken | None:
        """Take entries of a queue and claim their runs in one statement; for engines with a queue of their own in this database.

        Args:
            entries: The engine's queue.
            queue: The queue of the entries to take.
            options: The parameters of ``entries.next_ones``.

        Returns:
            The claims; entries of other runs are left for :meth:`claim`. ``None``: the worker knows nothing about the next runs, so use
            :meth:`claim`.

        Raises:
            NodeUnknown: as with :meth:`claim`.
        """

    async def stage(self) -> None:
        """Enqueue runs that are due, or let runs with deferred keys ask for their keys, in separate transactions."""

    async def perform(self, claim: Claim) -> None:
        """Run the job and settle the run. Return when the outcome is in the database, or the run no longer belongs to this node."""

    async def due(self, queues: Collection[str], within: timedelta) -> tuple[bool, datetime | None]:
        """Return whether runs wait for a worker in these queues, and the next due instant within a period."""

    def spread(self, seconds: float) -> float:
        """Return an interval of polls of which any node's is enough: longer with many nodes."""


class Engine(Protocol):
    """Engine: make runs claimable, wake workers, call the executor.

    Attributes:
        fence: A check at the begin of each write transaction of this process; ``None`` where many nodes may be active.
    """

    fence: Fence | None

    async def open(self) -> None:
        """Prepare to submit. Called once, on the scheduler's loop, in every process (web and command line too)."""

    async def create(self, store: Store, run: NewRun) -> RunId | None:
        """Insert and submit a run that stands alone, in one statement that commits by itself; ``None``: the engine has no such statement."""

    def create_at_once(self, store: Store, run: NewRun) -> RunId | None:
        """Do as :meth:`create` in the calling thread, without waiting; ``None``: not possible, or not possible now. Called from any thread."""

    async def create_here(self, store: Store, run: NewRun) -> RunId | None:
        """Do as :meth:`create` on the calling event loop, which may be any loop; ``None``: not possible, or not possible now."""

    async def create_within(self, connection: AsyncConnection, run: NewRun) -> RunId | None:
        """Do as :meth:`create` in the transaction of ``connection``, by a statement that writes; ``None``: not with this driver."""

    async def submit(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Submit runs that wait from now on. Part of ``connection``'s transaction, which may belong to another loop."""

    async def submits_on(self, connection: AsyncConnection) -> bool:
        """Return whether :meth:`submit` can write on the connection. With an unknown driver, :meth:`submit` does nothing."""

    async def withdraw(self, connection: AsyncConnection, run_ids: Sequence[int]) -> None:
        """Withdraw runs that no longer wait (cancelled, deleted). Part of ``connection``'s transaction."""

    async def release(
        self,
        connection: AsyncConnection,
        *,
        job_name: str | None = None,
        count: int = 1,
        queue: str | None = None,
    ) -> None:
        """Offer blocked runs again: up to ``count`` runs of a job or of a queue at its limit, or all runs of a resumed queue.

        Part of ``connection``'s transaction.
        """

    async def refer(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Submit refused runs to nodes that have not refused them. Part of ``connection``'s transaction."""

    def wake(self) -> None:
        """Announce a commit that may contain work. Called from any thread, after the commit. A hint only."""

    async def work(
        self, worker: Worker, queues: Mapping[str, int], pools: Sequence[Pool] = ()
    ) -> None:
        """Offer runs to ``worker`` until :meth:`drain`.

        Return once all begun runs are settled. While the database is unavailable, keep trying.

        Args:
            worker: Claims and performs the runs.
            queues: The maximum number of concurrent runs of each queue.
            pools: Queues that share workers.
        """

    def drain(self) -> None:
        """Stop offering runs; :meth:`work` returns when the running runs have ended."""

    async def rescue(self, lost: Sequence[Submission]) -> None:
        """Handle entries of lost workers, and offer runs without an entry again.

        Called every few heartbeats on one node or several. Also called after each rescue with the runs that the rescue enqueued; the
        transaction of the rescue has submitted these runs already.
        """

    async def close(self) -> None:
        """Close the engine's connections."""
