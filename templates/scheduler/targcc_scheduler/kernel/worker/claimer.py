"""Claim runs for the executor: eligibility, deferred keys, parents, staging, lease, orphans, claims."""

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
    Iterator,
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
from ..engine.port import MakeOffer
from ..engine.submit import hand_on, hand_over, submission
from ..jobs.chains import NO_PARENTS, ParentRun, Parents
from ..jobs.definition import JobDefinition
from ..jobs.options import LimitPolicy
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
    Ready,
    Settlement,
    Tie,
)
from ..unique import keys_of
from .node_services import NodeServices

# Eligibility: the runs that this node can perform, and the jobs whose runs are claimed without a check.

_LONGEST_REASON = 300
_NOT_LOADED = None, None
_MOST_PLAIN = 50
"""Maximum number of job names that are passed to a claim in one statement."""


class Eligibility:
    """Check whether this node can perform the runs of one claim, and keep the loaded arguments of eligible runs.

    Args:
        definitions: The jobs, by name.
    """

    def __init__(self, definitions: Mapping[str, JobDefinition]) -> None:
        self._definitions = definitions
        self._loaded: dict[int, tuple[str | None, Mapping[str, Any] | None]] = {}
        """Per run: the arguments as JSON that were checked, and the arguments loaded from the JSON."""

    def why_not(self, job_name: str, arguments_json: str | None, run_id: int) -> str | None:
        """Return why this node cannot perform a run; ``None`` if it can.

        Arguments that fit are checked once, although a claim may ask several times.
        """
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

    def of(self, claims: Iterable[Claim]) -> dict[ClaimKey, Mapping[str, Any] | None]:
        """Map the key of each claim to the loaded arguments; ``None`` if the arguments are not checked, or some are stored apart."""
        return {claim.key: self._loaded.get(claim.run_id, _NOT_LOADED)[1] for claim in claims}


class PlainJobs:
    """Track the plain jobs: this node may claim their runs in one statement.

    A job is plain if this node has claimed runs of the job before, no run claimed without a check has failed to fit, and the job has
    neither a limit of running runs nor a rate limit by key.

    Args:
        definitions: The jobs, by name; they may change.
    """

    def __init__(self, definitions: Mapping[str, JobDefinition]) -> None:
        self._definitions = definitions
        self._known: dict[str, None] = {}
        self._unfit: set[str] = set()
        self._pays = False

    def names(self) -> list[str]:
        """Return the names of plain jobs; an empty list while runs of other jobs are next, to save a useless round trip."""
        return [name for name in self._known if self._is_plain(name)] if self._pays else []

    def learn(self, claimed: Claimed, job_names: Iterable[str]) -> None:
        """Learn from a claim in a transaction which jobs this node knows and whether plain runs are next.

        Args:
            claimed: The result of the claim.
            job_names: The jobs of the runs that were offered.
        """
        for name in [claim.job_name for claim in claimed.claims]:
            self._known.pop(name, None)
            self._known[name] = None  # moved to the end: ordered by last claim
        for name in list(self._known)[:-_MOST_PLAIN]:
            del self._known[name]
        names = list(job_names)
        if names:
            self._pays = not claimed.misfits and all(
                name in self._known and self._is_plain(name) for name in names
            )

    def forget(self, job_name: str) -> None:
        """Exclude a job after a run did not fit: from now on, each run of the job is checked in a transaction."""
        self._unfit.add(job_name)

    def pass_by(self) -> None:
        """Note that runs of other jobs are next, so that a claim in a transaction follows."""
        self._pays = False

    def _is_plain(self, name: str) -> bool:
        definition = self._definitions.get(name)
        if definition is None or definition.limit is not None or name in self._unfit:
            return False
        keyed = definition.keyed_limit
        return keyed is None or keyed.interval_ms is None  # tokens are taken in a transaction


# Deferred keys: take the unique and limit keys of runs that were created where their job's code was not available.

_ROUNDS = 4
"""Maximum number of passes in a row. A run that takes a key in one pass makes further runs wait for the key in the next pass."""
_MOST_HELD_UP = 5
"""Number of keys locked by open transactions after which the remaining runs are left for a later pass."""


async def ask_for_keys(
    services: NodeServices, definitions: Mapping[str, JobDefinition], identity: Identity
) -> None:
    """Take the keys of due runs with deferred keys. A run that has its keys is enqueued; any other run waits for its unique key."""
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
    """Compute the keys of runs.

    Returns:
        The runs with their keys, by run id; and the misfits, whose keys this node cannot compute.
    """
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
    """Refuse runs, as a claim does, so that nodes that know the jobs take the keys."""
    if misfits and identity.fingerprint:
        terms = ClaimTerms(server_id="", limits={}, poison_here=False, now=now, identity=identity)
        async with services.store.write() as connection:
            await refuse(connection, misfits, terms)


async def _take(services: NodeServices, runs: Mapping[int, NewRun]) -> set[int]:
    """Take the keys of runs in one transaction, or one run at a time if another transaction has locked a key.

    Returns:
        The ids of the runs that have their keys now.
    """
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
    """Take the keys of runs in one transaction.

    Returns:
        The ids of the runs that have their keys now; ``None`` if another open transaction has locked a key: then nothing is written.
    """
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
    """Make runs wait while other runs hold their unique keys; return the number of waiting runs."""

    async def work(connection: AsyncConnection) -> int:
        count, later = await deferred_keys.wait(connection, runs, services.clock.now())
        await services.engine.submit(connection, [submission(run) for run in later])
        return count

    return await services.store.change(work) if runs else 0


# Parents: load the runs that a claimed run has waited for, for ``ctx.parents``.

log = logging.getLogger("targcc.worker.claimer")


async def parents_of(store: Store, claim: Claim) -> Parents:
    """Return the runs that a claimed run has waited for, with state, message and data; retry while the database is unavailable.

    A run without parents costs no query.
    """
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


# Staging: make due runs ``enqueued``, or take their deferred keys.

T = TypeVar("T")


class LimitPolicies(Mapping[str, LimitPolicy]):
    """Map each job that has a limit by key to the policy of that limit.

    A policy is computed when it is read: with thousands of jobs, computing all policies takes longer than a claim.

    Args:
        definitions: The jobs, by name.
    """

    def __init__(self, definitions: Mapping[str, JobDefinition]) -> None:
        self._definitions = definitions

    def __getitem__(self, name: str) -> LimitPolicy:
        limit = self._definitions[name].keyed_limit
        if limit is None:
            raise KeyError(name)
        return LimitPolicy(limit.running, limit.interval_ms, limit.burst)

    def __iter__(self) -> Iterator[str]:
        return (name for name, job in self._definitions.items() if job.keyed_limit is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


async def stage_due(
    services: NodeServices, definitions: Mapping[str, JobDefinition], identity: Identity
) -> None:
    """Make due runs ``enqueued``, then take the keys of due runs with deferred keys."""
    async with services.store.write_at_once() as connection:
        # Read the clock only now: changes that were written while this transaction waited must not have later dates.
        await create.stage_due(connection, services.clock.now())
    await ask_for_keys(services, definitions, identity)


async def sweep(services: NodeServices, definitions: Mapping[str, JobDefinition]) -> None:
    """Store the current limits of jobs, then admit all waiting runs for which there is capacity, such as after a limit was raised.

    Call this only on a node of the deciding release.
    """
    jobs, now = (
        dict.fromkeys(definitions, LimitPolicy()) | dict(LimitPolicies(definitions)),
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
    """Run ``work`` and submit the runs that are ready to the engine, in one transaction; return the second value of ``work``."""

    async def submitted(connection: AsyncConnection) -> tuple[bool, T]:
        ready, more = await work(connection)
        await services.engine.submit(connection, [submission(run) for run in ready])
        return bool(ready), more

    some, more = await services.store.change(submitted)
    if some:
        services.engine.wake()
    return more


# Lease: whether a node can still rely on its last heartbeat.
#
# After a process was suspended or a machine has slept, only a clock shows the pause, and other nodes may have taken the runs by then. So a
# node claims and begins nothing once its last heartbeat is half as old as a heartbeat must be for the node to be declared lost.

_NEXT_BEAT_SECONDS = 1.0
_BEATS, _AT_MOST = 1.5, 0.9


class Lease:
    """Tell whether the last heartbeat is recent enough to claim and begin runs.

    The lease holds for half of ``lost_after``. If heartbeats are rare, the lease holds longer, to last until the next heartbeat: for 1.5
    heartbeat intervals, but at most 0.9 of ``lost_after``. Call the methods on the scheduler's loop, unless a method says otherwise.

    Args:
        lost_after: Seconds without a heartbeat after which other nodes may declare this node lost.
        heartbeat: Seconds between two heartbeats.
    """

    def __init__(self, lost_after: float, heartbeat: float = 0.0) -> None:
        self._seconds = max(lost_after / 2, min(_BEATS * heartbeat, _AT_MOST * lost_after))
        self._since = float("-inf")
        self._renewed = asyncio.Event()
        self._calls: deque[Callable[[], None]] = deque()

    @property
    def holds(self) -> bool:
        """Return whether the last heartbeat is recent enough."""
        return uptime() - self._since < self._seconds

    def renew(self, sent_at: float) -> None:
        """Renew the lease after a heartbeat was written and the database still knows this node; make the calls of :meth:`then`.

        Args:
            sent_at: The uptime just before the heartbeat was written.
        """
        self._since = sent_at
        self._renewed.set()
        while self._calls:
            self._calls.popleft()()

    async def require(self) -> None:
        """Wait up to 1 s until the lease holds: when a process wakes, its heartbeat follows at once.

        Raises:
            NodeSilent: The lease does not hold after that time.
        """
        if self.holds:
            return
        try:
            await asyncio.wait_for(self._held(), _NEXT_BEAT_SECONDS)
        except TimeoutError as error:
            raise NodeSilent("no heartbeat could be written for a while") from error

    async def held_or(self, other: asyncio.Future[None]) -> None:
        """Wait until the lease holds or ``other`` is done."""
        held = asyncio.create_task(self._held())
        try:
            await asyncio.wait((held, other), return_when=asyncio.FIRST_COMPLETED)
        finally:
            held.cancel()

    def then(self, call: Callable[[], None]) -> None:
        """Call a function now if the lease holds, else at the next heartbeat, on the scheduler's loop. May be called from any thread."""
        if self.holds:
            call()
        else:
            self._calls.append(call)

    async def _held(self) -> None:
        while not self.holds:
            self._renewed.clear()
            await self._renewed.wait()


# Orphans: runs that belong to this node by the tables, but that the node does not hold.
#
# A claim whose answer is lost may be committed after the node has searched for its runs: the database server finishes a statement even if
# the client is gone. No node would perform such a run before this node ends. So each heartbeat that reads the running runs compares the
# tables with the claims that the node holds.

_NOTE = "released: nobody heard that it was claimed"


class Orphans:
    """Find orphans by comparing the tables with the claims that this node holds, and give the orphans back.

    A run is an orphan when two looks in a row have found the run on this node in the same claim, the node held the claim at neither look,
    and every claim that was under way at the first look has ended.

    Args:
        services: Database, engine and clock.
        definitions: The jobs, by name.
        held: The claims that this node performs or settles; a live view.
        under_way: A token for each claim, or return of a claim, whose end is not known yet; a live view.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        claims: Mapping[ClaimKey, object],
        under_way: AbstractSet[object],
    ) -> None:
        self._services = services
        self._definitions = definitions
        self._held = claims
        self._under_way = under_way
        self._before: frozenset[ClaimKey] = frozenset()
        self._suspects: dict[ClaimKey, frozenset[object]] = {}

    def look(self) -> None:
        """Note the held claims. Call this just before the tables are read."""
        self._before = frozenset(self._held)

    def among(self, running: Collection[ClaimKey]) -> list[ClaimKey]:
        """Return the orphans among the running runs.

        Args:
            running: The runs that belong to this node by the tables, as read after :meth:`look`.
        """
        unknown = [key for key in running if key not in self._before and key not in self._held]
        now = frozenset(self._under_way) if unknown else frozenset()
        before, self._suspects = self._suspects, {}
        for key in unknown:
            self._suspects[key] = before.get(key, now)
        return [key for key in unknown if key in before and before[key].isdisjoint(now)]

    async def give_back(self, server_id: str, strays: Collection[ClaimKey]) -> list[Settlement]:
        """Put orphans back to ``enqueued`` without counting the attempt; cancel an orphan if a user has requested that.

        After a failure, the next look finds the same orphans again.

        Returns:
            The settlements that were written.

        Raises:
            sqlalchemy.exc.DBAPIError: The database is unavailable.
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


# Claimer: claim runs in a transaction that checks each run, or in one statement if no run needs a check.

_DOUBTFUL = "the database became unavailable during the claim"


class Claimer:
    """Claim runs, and keep the claims that this node holds with their arguments.

    Args:
        services: Database, engine and clock.
        definitions: The jobs, by name.
        terms: Makes the terms of a claim from the offer, the eligibility check and, for a claim of plain runs, the names of their jobs.
        give_back: Puts a claimed run back to ``enqueued`` without counting the attempt; retries while the database is unavailable.
        refused: Called after each claim that met runs which this node does not know.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        *,
        terms: Callable[[Offer, Eligibility, Collection[str] | None], ClaimTerms],
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
        """Claim the runs that an engine offers; see :class:`~..engine.port.Worker`."""
        await self._without_doubts()
        claims: Sequence[Claim] = ()
        fitting = Eligibility(self._definitions)
        try:
            async with self._under_way(), self._store.write() as connection:
                offered = await offer(connection)
                terms = self._terms(offered, fitting, None)
                claimed = await claim_runs(connection, offered, terms)
                claims = claimed.claims
                ready = [submission(run) for run in claimed.ready]
                if claimed.misfits:
                    others, again = await refuse(connection, claimed.misfits, terms)
                    if others:
                        await self._engine.refer(connection, [submission(run) for run in others])
                    ready = [*map(submission, again), *ready]
                if ready:
                    await self._engine.submit(connection, ready)
        except OUTAGES as error:
            if not is_undone(error):  # the commit may have succeeded
                for claim in claims:
                    self._doubt(self._give_back(claim, _DOUBTFUL))
            raise
        claims = [claim for claim in claims if self._fits(claim, fitting)]
        self._held.update(fitting.of(claims))
        self._plain.learn(claimed, [run.job_name for run in offered.runs])
        if claimed.misfits:
            self._tell_of(claimed.misfits)
        if claimed.crowded:
            await self._look_ahead(claimed, terms)
        ended = bool(claimed.expired) and await self._end(claimed.expired)
        if ended or claimed.crowded:  # these runs filled places of the offer
            self._engine.wake()
        await self._leave_keys(claims)
        return claims

    async def claim_at_once(
        self, entries: Entries, queue: str, options: Mapping[str, Any]
    ) -> Taken | None:
        """Take queue entries of plain runs and claim the runs, in one statement; see :class:`~..engine.port.Worker`."""
        await self._without_doubts()
        plain = self._plain.names()
        if not plain:
            return None
        fitting = Eligibility(self._definitions)
        terms = self._terms(Offer(), fitting, plain)
        if queue in terms.queue_limits:
            return None
        try:
            async with self._under_way(), self._store.write_at_once() as connection:
                terms = replace(terms, now=self._clock.now())
                taken = await claim_fast(
                    connection,
                    entries,
                    options,
                    terms,
                    plain,
                    keyed=not terms.keyed.keys().isdisjoint(plain),
                )
        except NodeUnknown:
            raise
        except BaseException as error:
            if not is_undone(error):  # the statement may have been committed
                self._doubt(self._give_back_unheard(terms.server_id, queue))
            raise
        if taken.rest:
            self._plain.pass_by()
        fit = [claim for claim in taken.claims if self._fits(claim, fitting)]
        self._held.update(fitting.of(fit))
        await self._leave_keys(fit)
        return replace(taken, claims=fit)

    async def _look_ahead(self, claimed: Claimed, terms: ClaimTerms) -> None:
        """Decide about the next runs of queues in which runs found no capacity under their limits.

        After a failure, the next claim decides.
        """
        for queue in sorted(claimed.crowded):

            async def look(connection: AsyncConnection, queue: str = queue) -> None:
                ready = await look_ahead(connection, queue, terms.keyed, self._clock.now())
                await self._engine.submit(connection, [submission(run) for run in ready])

            await self._afterwards("looking for runs that come next under their limits", look)

    async def _end(self, expired: Sequence[int]) -> bool:
        """Cancel expired runs in a separate transaction; return whether a run was cancelled.

        The claim's transaction holds limit keys. Ending a run may lock batches, which come before limit keys in the lock order. After a
        failure, the next claim that meets the runs ends them, or the periodic sweep does.
        """
        now = self._clock.now()

        async def end(connection: AsyncConnection) -> bool:
            ended = await on_settled.end(connection, expired, now)
            await hand_over(self._engine, connection, ended, now)
            return bool(ended)

        return await self._afterwards("ending runs whose time is over", end) or False

    async def _leave_keys(self, claims: Sequence[Claim]) -> None:
        """Wake the runs that wait for a unique key if a claimed run held the key only until its beginning.

        After a failure, the periodic sweep wakes these runs.
        """
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
        """Run follow-up work of a claim in a transaction; return ``None`` on any error, as the claimed runs must be performed anyway."""
        try:
            return await self._store.change(work)
        except OUTAGES:
            return None
        except Exception:
            log.exception("%s failed", what)
            return None

    def arguments(self, claim: Claim) -> Mapping[str, Any] | None:
        """Return the loaded arguments of a claimed run; ``None`` if they are not loaded."""
        return self._held.get(claim.key)

    def let_go(self, claim: Claim) -> None:
        """Forget a run that does not belong to this node any more."""
        self._held.pop(claim.key, None)

    @contextlib.asynccontextmanager
    async def _under_way(self) -> AsyncIterator[None]:
        """Mark a claim as under way: its runs belong to this node by the tables before this node holds them."""
        this = object()
        self._open.add(this)
        try:
            yield
        finally:
            self._open.discard(this)

    def _fits(self, claim: Claim, fitting: Eligibility) -> bool:
        """Check the arguments of a claimed run, if they were replaced since the check before the claim; return whether the run fits.

        A run that does not fit is given back. Later claims then check each run of the job in a transaction.
        """
        why = fitting.why_not(claim.job_name, claim.arguments_json, claim.run_id)
        if why is None:
            return True
        self._plain.forget(claim.job_name)
        self._doubt(self._give_back(claim, why))
        return False

    async def _without_doubts(self) -> None:
        """Wait until all returns of runs are written: a later return might hit a run that this node has claimed again."""
        if self._doubts:
            await asyncio.wait(self._doubts)

    def _doubt(self, returning: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(returning)
        for tasks in (self._doubts, self._open):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _give_back_unheard(self, server_id: str, queue: str) -> None:
        """Give back the runs of a claim whose answer was lost: runs of the queue that belong to this node, but are not held here."""
        outage = Outage(log, "finding out about a claim")
        while True:
            try:
                async with self._store.read() as connection:
                    claims = await claims_of_node(connection, server_id, queue)
            except OUTAGES as error:
                await asyncio.sleep(outage.failed(error).total_seconds())
            else:
                break
        outage.over()
        for claim in claims:
            if claim.key not in self._held:
                await self._give_back(claim, _DOUBTFUL)

    def _tell_of(self, misfits: Sequence[Misfit]) -> None:
        """Log the refused runs, wake the engine so that it offers the next runs, and call ``refused``."""
        shown = "; ".join(f"run {item.run_id}: {item.why}" for item in misfits[:3])
        log.info("%d runs wait for a node that knows them (%s)", len(misfits), shown)
        self._engine.wake()
        self._refused()
