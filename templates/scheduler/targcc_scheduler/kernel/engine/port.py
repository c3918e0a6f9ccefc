"""What an engine has to do. The tables are the truth; an engine only says when and where a run gets its worker.

The contract, which both adapters keep and one test suite checks:

* A waiting run (``scheduled``, ``enqueued``, ``retrying``) has been submitted, in the transaction that made it wait. The engine
  offers it to a worker of its queue at or soon after ``due_at``, at least once. Offering it twice, or when it is over, does no
  harm: the executor's claim decides.
* A run that is offered while its queue is paused or its job is at its limit is not claimed and stays ``enqueued``. Whoever opens
  the way says so with :meth:`Engine.release`, in the same transaction.
* Nothing is lost: what a transaction submitted is offered when it commits and not when it rolls back, also when the process dies
  between the two.
* An engine keeps no state of its own that matters: no results, no retries, no schedule.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.pools import Pool
from ..runs.claim import Entries, Taken
from ..runs.values import Claim, Offer


@dataclass(frozen=True, slots=True)
class Submission:
    """A run that waits.

    Args:
        first: It had its turn already, and goes before all others of its priority.
        asks: It asks for its keys first: to say so once for all of a queue is enough, and goes behind all that can be claimed.
    """

    run_id: int
    queue: str
    priority: int
    due_at: datetime
    first: bool = False
    asks: bool = False


MakeOffer = Callable[[AsyncConnection], Awaitable[Offer]]
"""Makes an offer, in the transaction of the claim."""


class Worker(Protocol):
    """What an engine calls to have work done; the executor is one. For use on the scheduler's loop.

    Attributes:
        fingerprint: Stands for the jobs and arguments that it knows; runs that it has refused carry it.
        holds: Whether it claims nothing for now: its node is being drained.
    """

    @property
    def fingerprint(self) -> str:
        """Stands for the jobs and arguments that it knows."""

    @property
    def holds(self) -> bool:
        """Whether it claims nothing for now."""

    async def claim(self, offer: MakeOffer) -> list[Claim]:
        """Take what ``offer`` offers, in the transaction in which it offers it.

        Runs that are over, not due, taken by somebody, or have something in their way are left out.

        Raises:
            NodeUnknown: this node was declared lost, is being drained, or its jobs' loop does not turn; what ``offer`` did is undone.
        """

    async def claim_at_once(
        self, entries: Entries, queue: str, asked: Mapping[str, Any]
    ) -> Taken | None:
        """Take entries of a queue, and claim their runs, in one statement; for engines with a queue of their own in this database.

        ``None``: nothing is known of the runs that are next, so :meth:`claim` has to look at them; likewise when some are left.

        Args:
            entries: The engine's queue.
            queue: The queue whose entries they are.
            asked: What ``entries`` asks for.

        Raises:
            NodeUnknown: as with :meth:`claim`.
        """

    async def stage(self) -> None:
        """Make runs whose time has come ``enqueued``, or let them ask for their keys, in transactions of their own."""

    async def perform(self, claim: Claim) -> None:
        """Run the job and settle the run. Returns when the outcome is in the database, or the run is not this node's any more."""

    async def due(self, queues: Collection[str]) -> tuple[bool, datetime | None]:
        """Whether runs wait for a worker in these queues, and when the next is due."""


class Engine(Protocol):
    """Makes runs claimable, wakes workers, calls the executor."""

    async def open(self) -> None:
        """Get ready to submit; called once, on the scheduler's loop, in every process (web and command line too)."""

    async def submit(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Runs wait from now on; part of the transaction of ``connection``, which may belong to another loop."""

    async def submits_on(self, connection: AsyncConnection) -> bool:
        """Whether :meth:`submit` can write on the connection; it does nothing on one of a driver that the engine does not know."""

    async def withdraw(self, connection: AsyncConnection, run_ids: Sequence[int]) -> None:
        """Runs do not wait any more (cancelled, deleted); part of the transaction of ``connection``."""

    async def release(
        self,
        connection: AsyncConnection,
        *,
        job_name: str | None = None,
        count: int = 1,
        queue: str | None = None,
    ) -> None:
        """Runs that were held up may go: up to ``count`` of a job or of a queue at its limit, or all of a queue that was paused.

        Part of the transaction of ``connection``.
        """

    async def refer(self, connection: AsyncConnection, runs: Sequence[Submission]) -> None:
        """Runs that nodes refused wait for one that did not; they are offered to nobody who has refused them. Part of the transaction."""

    def wake(self) -> None:
        """Something was committed that may be work; called from any thread, after the commit. A hint, nothing more."""

    async def work(
        self, worker: Worker, queues: Mapping[str, int], pools: Sequence[Pool] = ()
    ) -> None:
        """Offer runs to ``worker``, so many at a time from each queue and from the queues of each pool, until :meth:`drain`.

        Returns once everything it has begun is settled. While the database is unavailable, it keeps trying.
        """

    def drain(self) -> None:
        """Offer nothing new; :meth:`work` returns when what is running has ended."""

    async def rescue(self, lost: Sequence[Submission]) -> None:
        """Look after entries of lost workers, and offer runs again whose entries are gone.

        Called every few heartbeats on one node or several, and after each rescue with the runs it made ``enqueued`` (they were
        submitted in its transaction already).
        """

    async def close(self) -> None:
        """Return connections."""
