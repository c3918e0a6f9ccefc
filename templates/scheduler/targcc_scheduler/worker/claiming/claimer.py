"""Claiming runs for the executor: in a transaction in which each is looked at, or at once where nothing is to be decided."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import NodeUnknown
from ...core.outage import OUTAGES, Outage, is_undone
from ...engine.handover import hand_on, hand_over, submission
from ...engine.port import MakeOffer
from ...jobs.definition import JobDefinition
from ...storage.runs.claim import claim as claim_runs
from ...storage.runs.claim import claims_of_node
from ...storage.runs.claim_at_once import Entries, Taken, claim_at_once
from ...storage.runs.refuse import refuse
from ...storage.runs.values import Claim, Claimed, ClaimKey, ClaimTerms, Misfit, Offer
from ...storage.ties import expiry
from ...storage.ties.keys import waiting as keys
from ...storage.ties.limit_keys.claims import look_ahead
from ...storage.ties.tie import Tie
from ..node_services import NodeServices
from .fitting import Fitting, PlainJobs
from .strays import Strays

log = logging.getLogger("targcc.worker.claiming.claimer")

T = TypeVar("T")
_DOUBTFUL = "the database became unavailable during the claim"


class Claimer:
    """Claims runs, and keeps the arguments of those that are the node's.

    Args:
        services: Database, engine and clock.
        definitions: The jobs.
        terms: Who claims; gets what is offered, and what says which runs fit.
        give_back: Returns a run unharmed, however long the database is unavailable.
        refused: Hears of each claim in which there were runs that this node does not know.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        *,
        terms: Callable[[Offer, Fitting], ClaimTerms],
        give_back: Callable[[Claim, str], Coroutine[Any, Any, None]],
        refused: Callable[[], None],
    ) -> None:
        self._store = services.store
        self._engine = services.engine
        self._clock = services.clock
        self._definitions = definitions
        self._terms = terms
        self._give_back = give_back
        self._refused = refused
        self._plain = PlainJobs(definitions)
        self._held: dict[ClaimKey, Mapping[str, Any] | None] = {}
        self._doubts: set[asyncio.Task[None]] = set()
        self._open: set[object] = set()
        self.strays = Strays(services, definitions, self._held, self._open)

    async def claim(self, offer: MakeOffer) -> list[Claim]:
        """Take what an engine offers; see :class:`~...engine.port.Worker`."""
        await self._without_doubts()
        claims: Sequence[Claim] = ()
        fitting = Fitting(self._definitions)
        try:
            async with self._under_way(), self._store.write() as connection:
                offered = await offer(connection)
                terms = self._terms(offered, fitting)
                claimed = await claim_runs(connection, offered, terms)
                claims = claimed.claims
                others, again = await refuse(connection, claimed.misfits, terms)
                if others:
                    await self._engine.refer(connection, [submission(run) for run in others])
                ready = [*map(submission, again), *map(submission, claimed.ready)]
                if ready:
                    await self._engine.submit(connection, ready)
        except OUTAGES as error:
            if not is_undone(error):  # the commit may have come through all the same
                for claim in claims:
                    self._doubt(self._give_back(claim, _DOUBTFUL))
            raise
        claims = [one for one in claims if fitting.looked_at(one) or self._fits(one, fitting)]
        self._held.update(fitting.of(claims))
        self._plain.learn(claimed, [run.job_name for run in offered.runs])
        if claimed.misfits:
            self._tell_of(claimed.misfits)
        await self._look_ahead(claimed, terms)
        ended = await self._end(claimed.expired)
        if ended or claimed.crowded:  # they had places that others can have
            self._engine.wake()
        await self._leave_keys(claims)
        return claims

    async def claim_at_once(
        self, entries: Entries, queue: str, asked: Mapping[str, Any]
    ) -> Taken | None:
        """Take entries of plain runs; see :class:`~...engine.port.Worker`."""
        await self._without_doubts()
        plain = self._plain.names()
        if not plain:
            return None
        fitting = Fitting(self._definitions)
        terms = self._terms(Offer(), fitting)
        if queue in terms.queue_limits:
            return None
        try:
            async with self._under_way(), self._store.write_at_once() as connection:
                terms = replace(terms, now=self._clock.now())
                taken = await claim_at_once(
                    connection,
                    entries,
                    asked,
                    terms,
                    plain,
                    keyed=not terms.keyed.keys().isdisjoint(plain),
                )
        except NodeUnknown:
            raise
        except BaseException as error:
            if not is_undone(error):  # it may have come through all the same
                self._doubt(self._give_back_unheard(terms.server_id, queue))
            raise
        if taken.rest:
            self._plain.pass_by()
        fit = [claim for claim in taken.claims if self._fits(claim, fitting)]
        self._held.update(fitting.of(fit))
        await self._leave_keys(fit)
        return replace(taken, claims=fit)

    async def _look_ahead(self, claimed: Claimed, terms: ClaimTerms) -> None:
        """Where runs found no room under their limits, see to those that come next; else the next claim does."""
        for queue in sorted(claimed.crowded):

            async def look(connection: AsyncConnection, queue: str = queue) -> None:
                ready = await look_ahead(connection, queue, terms.keyed, self._clock.now())
                await self._engine.submit(connection, [submission(run) for run in ready])

            await self._afterwards("looking for runs that come next under their limits", look)

    async def _end(self, expired: Sequence[int]) -> bool:
        """End runs whose time is over; whether there were some. In a transaction of its own: the claim holds keys of limits, and an end may lock batches, which come before these.

        Else the next claim that meets the runs ends them, or the sweep of ties.
        """
        if not expired:
            return False
        now = self._clock.now()

        async def end(connection: AsyncConnection) -> bool:
            ended = await expiry.end(connection, expired, now)
            await hand_over(self._engine, connection, ended, now)
            return bool(ended)

        return await self._afterwards("ending runs whose time is over", end) or False

    async def _leave_keys(self, claims: Sequence[Claim]) -> None:
        """Runs have begun: let others go on that wait for this; else the sweep of ties finds them."""
        begun = [claim.run_id for claim in claims if claim.ties & Tie.KEYED]
        if not begun:
            return
        now = self._clock.now()

        async def leave(connection: AsyncConnection) -> None:
            freed = await keys.begun(connection, begun, now)
            await hand_on(self._engine, connection, freed, now)

        await self._afterwards("letting runs go on that wait for the beginning of others", leave)
        self._engine.wake()

    async def _afterwards(
        self, what: str, work: Callable[[AsyncConnection], Awaitable[T]]
    ) -> T | None:
        """Do what follows a claim. Whatever is in the way, what was claimed is to be performed."""
        try:
            return await self._store.change(work)
        except OUTAGES:
            return None
        except Exception:
            log.exception("%s failed", what)
            return None

    def arguments(self, claim: Claim) -> Mapping[str, Any] | None:
        """The arguments of a run that was claimed."""
        return self._held.get(claim.key)

    def let_go(self, claim: Claim) -> None:
        """A run is not this node's any more."""
        self._held.pop(claim.key, None)

    @contextlib.asynccontextmanager
    async def _under_way(self) -> AsyncIterator[None]:
        """Around a claim: what it takes is this node's by the tables before it is known here."""
        this = object()
        self._open.add(this)
        try:
            yield
        finally:
            self._open.discard(this)

    def _fits(self, claim: Claim, fitting: Fitting) -> bool:
        """Whether a run can be performed that was taken without looking at what it has now; one that cannot goes back, and is looked at then."""
        why = fitting.why_not(claim.job_name, claim.arguments_json, claim.run_id)
        if why is None:
            return True
        self._plain.forget(claim.job_name)
        self._doubt(self._give_back(claim, why))
        return False

    async def _without_doubts(self) -> None:
        """Wait for what is being given back: else that might hit a run that is claimed now."""
        if self._doubts:
            await asyncio.wait(self._doubts)

    def _doubt(self, returning: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(returning)
        for tasks in (self._doubts, self._open):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _give_back_unheard(self, server_id: str, queue: str) -> None:
        """Give back what a claim took whose answer did not come: the runs of a queue that are this node's and that it knows nothing of."""
        outage = Outage(log, "finding out about a claim")
        while True:
            try:
                async with self._store.read() as connection:
                    mine = await claims_of_node(connection, server_id, queue)
            except OUTAGES as error:
                await asyncio.sleep(outage.failed(error).total_seconds())
            else:
                break
        outage.over()
        for claim in mine:
            if claim.key not in self._held:
                await self._give_back(claim, _DOUBTFUL)

    def _tell_of(self, misfits: Sequence[Misfit]) -> None:
        """Runs were refused: say so, and take the next ones."""
        shown = "; ".join(f"run {item.run_id}: {item.why}" for item in misfits[:3])
        log.info("%d runs wait for a node that knows them (%s)", len(misfits), shown)
        self._engine.wake()
        self._refused()
