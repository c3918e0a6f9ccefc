"""Claim runs for the executor: staging, eligibility, lease, orphans."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.clock import uptime
from ...core.errors import NodeSilent, NodeUnknown
from ...core.masking import mask
from ...core.outage import OUTAGES, Outage, is_held_up, is_undone
from ...core.text import clean
from ...db.transactions import Store
from .. import deferred_keys, dependencies, limits, on_settled
from ..effects import Ready
from ..engine.port import MakeOffer
from ..engine.submit import hand_on, hand_over, submission
from ..jobs.chains import NO_PARENTS, ParentRun, Parents
from ..jobs.definition import JobDefinition
from ..jobs.limits import LimitPolicy
from ..limit_claims import look_ahead
from ..runs import create
from ..runs.claim import Entries, Taken, claim_fast, claims_of_node, give_back
from ..runs.claim import claim as claim_runs
from ..runs.eligibility import refuse
from ..runs.values import (
    Claim,
    Claimed,
    ClaimKey,
    ClaimTerms,
    Identity,
    Misfit,
    NewRun,
    Offer,
    Settlement,
    Tie,
)
from ..unique import keys_of
from .node_services import NodeServices

# Which runs a node can perform, and of which jobs it takes them without looking.

_LONGEST_REASON = 300
_MOST_PLAIN = 50
"""Jobs whose names go along with each claim."""


class Eligibility:
    """Whether this node can perform the runs of one claim; and their arguments, once they are checked.

    Args:
        definitions: The jobs.
    """

    def __init__(self, definitions: Mapping[str, JobDefinition]) -> None:
        self._definitions = definitions
        self._loaded: dict[int, tuple[str | None, Mapping[str, Any] | None]] = {}
        """Of each run what was looked at, and what it says."""

    def why_not(self, job_name: str, arguments_json: str | None, run_id: int) -> str | None:
        """Why a run cannot be performed here; ``None``: it can. A claim may ask more than once, and arguments that fit are checked once."""
        if run_id in self._loaded and self._loaded[run_id][0] == arguments_json:
            return None
        definition = self._definitions.get(job_name)
        if definition is None:
            return f"it knows no job {job_name}"
        try:
            loaded = definition.signature.fits(arguments_json)
        except Exception as error:  # noqa: BLE001 - a type of the project's may raise anything
            what = "; ".join(str(error).splitlines()) or type(error).__name__
            return clean(mask(f"the arguments do not fit the job here: {what}"), _LONGEST_REASON)
        self._loaded[run_id] = arguments_json, loaded
        return None

    def looked_at(self, claim: Claim) -> bool:
        """Whether a claimed run has the arguments that were looked at; it may have been given others meanwhile."""
        return self._seen(claim)[0] == claim.arguments_json

    def of(self, claims: Iterable[Claim]) -> dict[ClaimKey, Mapping[str, Any] | None]:
        """The arguments of the runs that were claimed."""
        return {one.key: self._seen(one)[1] for one in claims}

    def _seen(self, claim: Claim) -> tuple[str | None, Mapping[str, Any] | None]:
        return self._loaded.get(claim.run_id, (None, None))


class PlainJobs:
    """The jobs whose runs are claimed in one statement: without a limit, and performed by this node before.

    Args:
        definitions: The jobs; they may change.
    """

    def __init__(self, definitions: Mapping[str, JobDefinition]) -> None:
        self._definitions = definitions
        self._known: dict[str, None] = {}
        self._unfit: set[str] = set()
        self._pays = False

    def names(self) -> list[str]:
        """Their names; none while other runs are next, as it would be a round trip for nothing."""
        return [name for name in self._known if self._is_plain(name)] if self._pays else []

    def learn(self, claimed: Claimed, job_names: Iterable[str]) -> None:
        """What a claim in a transaction has shown.

        Args:
            claimed: What came of it.
            job_names: The jobs of the runs that were offered.
        """
        for name in [one.job_name for one in claimed.claims]:
            self._known.pop(name, None)
            self._known[name] = None  # the last ones are those that were seen last
        for name in list(self._known)[:-_MOST_PLAIN]:
            del self._known[name]
        names = list(job_names)
        if names:
            self._pays = not claimed.misfits and all(
                name in self._known and self._is_plain(name) for name in names
            )

    def forget(self, job_name: str) -> None:
        """A run of the job does not fit here: each is looked at from now on."""
        self._unfit.add(job_name)

    def pass_by(self) -> None:
        """Runs of other jobs are next: a claim in a transaction follows."""
        self._pays = False

    def _is_plain(self, name: str) -> bool:
        definition = self._definitions.get(name)
        if definition is None or definition.limit is not None or name in self._unfit:
            return False
        keyed = definition.keyed_limit
        return keyed is None or keyed.interval_ms is None  # tokens are taken in a transaction


# Runs that ask for their keys: the code of their jobs says what these are.

_ROUNDS = 4
"""Looks after each other: whoever has got a key makes others wait for it."""
_MOST_HELD_UP = 5
"""Keys that transactions of others hold that are not over; then the next look tries again."""


async def ask_for_keys(
    services: NodeServices, definitions: Mapping[str, JobDefinition], identity: Identity
) -> None:
    """Let runs that are due ask for their keys: they go, or wait for their unique key."""
    for _ in range(_ROUNDS):
        now = services.clock.now()
        async with services.store.read() as connection:
            rows = await deferred_keys.look(connection, now, identity.fingerprint)
        if not rows:
            return
        runs, misfits = _with_keys(definitions, rows)
        await _refuse(services, misfits, identity, now)
        gone = await _take(services, runs)
        left = {run_id: run for run_id, run in runs.items() if run_id not in gone and run.unique}
        if not await _wait(services, left) and not gone:
            return


def _with_keys(
    definitions: Mapping[str, JobDefinition], rows: Sequence[Any]
) -> tuple[dict[int, NewRun], list[Misfit]]:
    """Runs with their keys, by their ids, and those of which this node cannot say what these are."""
    fitting = Eligibility(definitions)
    runs: dict[int, NewRun] = {}
    misfits: list[Misfit] = []
    for row in rows:
        why = fitting.why_not(row.JobName, row.ArgumentsJson, row.Id)
        if why is None:
            try:
                runs[row.Id] = deferred_keys.asked(
                    row, keys_of(definitions[row.JobName], row.ArgumentsJson)
                )
            except Exception as error:  # noqa: BLE001 - a key function is the project's
                what = "; ".join(str(error).splitlines()) or type(error).__name__
                why = clean(mask(f"its keys cannot be made here: {what}"), _LONGEST_REASON)
        if why is not None:
            misfits.append(Misfit(row.Id, row.JobName, why))
    return runs, misfits


async def _refuse(
    services: NodeServices, misfits: Sequence[Misfit], identity: Identity, now: datetime
) -> None:
    """Leave runs to nodes that know them, as a claim does."""
    if misfits and identity.fingerprint:
        terms = ClaimTerms(server_id="", limits={}, poison_here=False, now=now, identity=identity)
        async with services.store.write() as connection:
            await refuse(connection, misfits, terms)


async def _take(services: NodeServices, runs: Mapping[int, NewRun]) -> set[int]:
    """Take keys for runs, together; one by one where a transaction of somebody else's holds one of them. The runs that have theirs."""
    gone = await _take_together(services, runs)
    if gone is not None:
        return gone
    gone, held_up = set(), set[str]()
    for run_id, run in runs.items():
        key = f"{run.job_name} {run.unique and run.unique.key}"
        if key not in held_up and len(held_up) < _MOST_HELD_UP:
            went = await _take_together(services, {run_id: run})
            held_up |= {key} if went is None else set()
            gone |= went or set()
    return gone


async def _take_together(services: NodeServices, runs: Mapping[int, NewRun]) -> set[int] | None:
    """The runs that have got their keys; ``None``: a transaction that is not over holds one."""
    wait_briefly = services.store.dialect.wait_briefly

    async def work(connection: AsyncConnection) -> list[Ready]:
        if wait_briefly is not None:
            await connection.execute(wait_briefly)
        ready = await deferred_keys.take(connection, runs, services.clock.now())
        await services.engine.submit(connection, [submission(run) for run in ready])
        return ready

    try:
        gone = await services.store.change(work) if runs else []
    except DBAPIError as error:
        if not is_held_up(error):
            raise
        return None
    if gone:
        services.engine.wake()
    return {run.run_id for run in gone}


async def _wait(services: NodeServices, runs: Mapping[int, NewRun]) -> int:
    """Let runs wait whose keys others have; how many."""

    async def work(connection: AsyncConnection) -> int:
        count, later = await deferred_keys.wait(connection, runs, services.clock.now())
        await services.engine.submit(connection, [submission(run) for run in later])
        return count

    return await services.store.change(work) if runs else 0


# The runs that a claimed run waited for, for its job to see.

log = logging.getLogger("targcc.worker.claiming.parents")


async def parents_of(store: Store, claim: Claim) -> Parents:
    """What a run waited for; of one that waited for nothing the database is not asked."""
    if not claim.ties & Tie.FOLLOWS:
        return NO_PARENTS
    outage = Outage(log, "reading what a run waited for")
    while True:
        try:
            async with store.read() as connection:
                rows = await dependencies.load(connection, claim.run_id)
        except OUTAGES as error:
            await asyncio.sleep(outage.failed(error).total_seconds())
        else:
            outage.over()
            return Parents(
                [
                    ParentRun(
                        row.JobName, row.Id, row.State, row.Message, json.loads(row.Data or "{}")
                    )
                    for row in rows
                ]
            )


# Staging for the executor: runs whose time has come wait for a worker from now on, or ask for their keys.

T = TypeVar("T")


def terms_of(definitions: Mapping[str, JobDefinition]) -> dict[str, LimitPolicy]:
    """What the jobs that have a limit by key say of it."""
    return {
        job.name: LimitPolicy(limit.running, limit.interval_ms, limit.burst)
        for job in definitions.values()
        if (limit := job.keyed_limit) is not None
    }


async def stage_due(
    services: NodeServices, definitions: Mapping[str, JobDefinition], identity: Identity
) -> None:
    """Stage what is due, and let those ask for their keys that do so."""
    async with services.store.write_at_once() as connection:
        # Not before: what others wrote while this waited for its turn would have a later date.
        await create.stage_due(connection, services.clock.now())
    await ask_for_keys(services, definitions, identity)


async def sweep(services: NodeServices, definitions: Mapping[str, JobDefinition]) -> None:
    """Let those go whom nobody has let go, such as after a new release has raised a limit; for a node of the release that decides."""
    jobs, now = (
        dict.fromkeys(definitions, LimitPolicy()) | terms_of(definitions),
        services.clock.now(),
    )
    await services.store.change(lambda connection: limits.renew(connection, jobs, now))
    after: str | None = ""
    while after is not None:
        step = partial(limits.admit_waiting, after=after, now=now)
        after = await _change(services, step)


async def _change(
    services: NodeServices,
    work: Callable[[AsyncConnection], Awaitable[tuple[Sequence[Ready], T]]],
) -> T:
    """Let runs go, and tell the engine of them, in one transaction; what else came of it."""

    async def submitted(connection: AsyncConnection) -> tuple[bool, T]:
        ready, more = await work(connection)
        await services.engine.submit(connection, [submission(run) for run in ready])
        return bool(ready), more

    some, more = await services.store.change(submitted)
    if some:
        services.engine.wake()
    return more


# The lease: whether a node can still rely on its last heartbeat.
#
# A process that was stopped, or a machine that slept, does not know it until it looks at a clock; its runs may be others' by then. So nothing
# is claimed, and nothing begun, on a heartbeat that is half as old as one must be for its node to be declared lost.

_NEXT_BEAT_SECONDS = 1.0
_BEATS, _AT_MOST = 1.5, 0.9


class Lease:
    """For use on the scheduler's loop, where nothing else is said.

    Args:
        lost_after: Seconds without a heartbeat after which others may declare this node lost.
        heartbeat: Seconds between two of them: where they are rare, it holds for longer than half of that, so that it holds between them.
    """

    def __init__(self, lost_after: float, heartbeat: float = 0.0) -> None:
        self._seconds = max(lost_after / 2, min(_BEATS * heartbeat, _AT_MOST * lost_after))
        self._since = float("-inf")
        self._renewed = asyncio.Event()
        self._calls: deque[Callable[[], None]] = deque()

    @property
    def holds(self) -> bool:
        """Whether the last heartbeat is recent enough."""
        return uptime() - self._since < self._seconds

    def renew(self, asked: float) -> None:
        """A heartbeat was written, and this node is known.

        Args:
            asked: The uptime just before it was.
        """
        self._since = asked
        self._renewed.set()
        while self._calls:
            self._calls.popleft()()

    async def require(self) -> None:
        """Wait a moment for it to hold, if it does not: when a process wakes, its heartbeat follows at once.

        Raises:
            NodeSilent: it does not.
        """
        if self.holds:
            return
        try:
            await asyncio.wait_for(self._held(), _NEXT_BEAT_SECONDS)
        except TimeoutError as error:
            raise NodeSilent("no heartbeat could be written for a while") from error

    async def held_or(self, other: asyncio.Future[None]) -> None:
        """Wait until it holds or ``other`` is done."""
        held = asyncio.create_task(self._held())
        try:
            await asyncio.wait((held, other), return_when=asyncio.FIRST_COMPLETED)
        finally:
            held.cancel()

    def then(self, call: Callable[[], None]) -> None:
        """Call it now if it holds, else, on the scheduler's loop, with the next heartbeat. From any thread."""
        if self.holds:
            call()
        else:
            self._calls.append(call)

    async def _held(self) -> None:
        while not self.holds:
            self._renewed.clear()
            await self._renewed.wait()


# Strays: runs that are this node's by the tables, and of which it knows nothing.
#
# A claim whose answer is lost may be committed after the node has looked for what it took: the server goes on with a statement whose
# sender is gone. Nobody would perform such a run before the node ends. So each look at the tables compares what is the node's there with
# what it has.

_NOTE = "released: nobody heard that it was claimed"


class Orphans:
    """Compares the tables with what a node has, and gives back what it does not know of.

    A run is one when two looks have found it running here in the same claim, this node had it at neither, and every claim that was under
    way at the first has ended.

    Args:
        services: Database, engine and clock.
        definitions: The jobs.
        held: The claims that this node performs or settles; it changes.
        under_way: Stands for the claims, and returns of claims, whose end is not known yet; it changes.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        held: Mapping[ClaimKey, object],
        under_way: AbstractSet[object],
    ) -> None:
        self._services = services
        self._definitions = definitions
        self._held = held
        self._under_way = under_way
        self._before: frozenset[ClaimKey] = frozenset()
        self._suspects: dict[ClaimKey, frozenset[object]] = {}

    def look(self) -> None:
        """The tables are about to be read."""
        self._before = frozenset(self._held)

    def among(self, running: Collection[ClaimKey]) -> list[ClaimKey]:
        """Those of the runs that are strays.

        Args:
            running: What is this node's by the tables, as read since :meth:`look`.
        """
        unknown = [key for key in running if key not in self._before and key not in self._held]
        now = frozenset(self._under_way) if unknown else frozenset()
        before, self._suspects = self._suspects, {}
        for key in unknown:
            self._suspects[key] = before.get(key, now)
        return [key for key in unknown if key in before and before[key].isdisjoint(now)]

    async def give_back(self, server_id: str, strays: Collection[ClaimKey]) -> list[Settlement]:
        """Let strays wait again, unharmed; what became of them. Tried once: what fails is found again by the next look.

        Raises:
            sqlalchemy.exc.DBAPIError: the database is unavailable.
        """
        services = self._services
        limits = {job.name: job.limit for job in self._definitions.values() if job.limit}

        async def work(connection: AsyncConnection) -> list[Settlement]:
            now = services.clock.now()
            returned = await give_back(connection, server_id, strays, limits, now, note=_NOTE)
            await hand_over(services.engine, connection, returned, now)
            return returned

        returned = await services.store.change(work)
        for item in returned:
            claim = item.claim
            log.warning("run %d (%s) is %s: %s", claim.run_id, claim.job_name, item.state, _NOTE)
        services.engine.wake()
        return returned


# Claiming runs for the executor: in a transaction in which each is looked at, or at once where nothing is to be decided.

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
        terms: Callable[[Offer, Eligibility], ClaimTerms],
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
        self.strays = Orphans(services, definitions, self._held, self._open)

    async def claim(self, offer: MakeOffer) -> list[Claim]:
        """Take what an engine offers; see :class:`~...engine.port.Worker`."""
        await self._without_doubts()
        claims: Sequence[Claim] = ()
        fitting = Eligibility(self._definitions)
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
        fitting = Eligibility(self._definitions)
        terms = self._terms(Offer(), fitting)
        if queue in terms.queue_limits:
            return None
        try:
            async with self._under_way(), self._store.write_at_once() as connection:
                terms = replace(terms, now=self._clock.now())
                taken = await claim_fast(
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
            ended = await on_settled.end(connection, expired, now)
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
            freed = await deferred_keys.begun(connection, begun, now)
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

    def _fits(self, claim: Claim, fitting: Eligibility) -> bool:
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
