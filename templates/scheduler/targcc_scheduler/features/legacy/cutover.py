"""Move jobs from the old server, and back.

From the old server to here (``taking.py``):

1. Here: ``taking``, with a token. The owner stays ``old``: nothing runs here.
2. There: the row is switched off if it does not run; the same statement writes the token and the next run into it.
3. A moment later: the old server has not begun what it had chosen before; else its end is waited for.
4. Here: the owner is ``new``, and the next slot is the first run that the old server did not do.

And back (``returning.py``):

1. Here: nothing of the job runs or waits, and no slot is about to come; ``returning``, the owner is ``old``, the next slot is noted.
2. Here: no claim was under way.
3. There: the row is switched on if it carries the token, with that slot as next run and what ran here meanwhile.
4. Here: done.

A process that dies between two steps leaves the job off on both sides, and ``taking`` or ``returning`` says so; the same command goes on
from there. A step is done only while the token is the one that it began with. A step whose connection was lost, which may have been done
or not, is done once more: each finds out whether it was.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import SYSTEM, Actor
from ...core.errors import CutoverError, RunStateError
from ...core.outage import OUTAGES
from ...db.columns import UtcDateTime
from ...db.tables import job_audit, logged_job
from ...kernel import pauses
from ...kernel.audit import audit
from ...kernel.jobs.definition import JobDefinition
from ...kernel.node import slots
from ...operations import Call
from ...project import current
from ...scheduler import Scheduler
from ...schedules.intervals import AfterRunSchedule
from ...schedules.zones import parse_zone
from . import owners
from .old_server import OldClock, OldServer, PastRun, Return, Said, Script, Scripts
from .owners import Owner, Ownership, Step

# A job changes sides. The order keeps it from being live on both: a side is switched on after the other one is known to be off.

P = ParamSpec("P")
T = TypeVar("T")

_TOKEN_BYTES = 3
AGAIN = (0.2, 2.0)
"""Seconds before a step is done once more whose connection was lost, and before it is done for the last time."""
LEAD = timedelta(seconds=5)
"""A slot that is nearer than this runs where the job is."""
SETTLE = 2.0
"""Seconds after which an old server that polls once a second has begun what it had chosen before its row was switched off."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one job.

    Args:
        job: The job.
        done: Whether it is where it was to be.
        said: What happened, or why it did not.
        next_slot: The first slot of the side that has it now.
    """

    job: str
    done: bool
    said: str
    next_slot: datetime | None = None


class Handover:
    """Jobs that change sides together.

    Args:
        scheduler: This side.
        clock: The old server's clock.
        by: Who wants it.
        old: The other side; ``None`` where a person runs the scripts.
        reason: Why.
        settle: See :data:`SETTLE`.
        lead: See :data:`LEAD`.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        clock: OldClock,
        by: Actor,
        *,
        old: OldServer | None = None,
        reason: str | None = None,
        settle: float = SETTLE,
        lead: timedelta = LEAD,
    ) -> None:
        self.scheduler = scheduler
        self.clock = clock
        self.outcomes: list[Outcome] = []
        self._by = by
        self._old = old
        self._reason = reason
        self._settle = settle
        self._lead = lead

    @property
    def server(self) -> OldServer:
        """The other side.

        Raises:
            CutoverError: it cannot be reached from here.
        """
        if self._old is None:
            raise CutoverError(
                "TARGCC_CUTOVER_URL does not say where the old server's database is:"
                " set it, or let --script write what is to be run there"
            )
        return self._old

    def answer(self, job: str, said: str, *, done: bool = False) -> None:
        """Say what came of a job."""
        self.outcomes.append(Outcome(job, done=done, said=said))

    async def do(
        self, work: Callable[Concatenate[Call, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do something in one transaction here, which finds out whether it was done before."""
        return await self._persist(lambda: self.scheduler.operate(work, None, *args, **kwargs))

    async def ask(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """What a query finds here."""
        return await self._persist(lambda: self.scheduler.read(query))

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        for seconds in AGAIN:
            try:
                return await attempt()
            except OUTAGES:
                await asyncio.sleep(seconds)
        return await attempt()

    async def attempt(self, work: Callable[[Call, str], Awaitable[T | None]], job: str) -> T | None:
        """Do something about a job in one transaction here; why it cannot be done is an answer."""
        try:
            return await self.do(work, job)
        except (CutoverError, RunStateError, LookupError) as error:
            self.answer(job, str(error))
            return None

    async def scripts(self) -> Scripts:
        """The statements for the other side, which has to answer: so nothing is begun here that cannot go on there.

        Raises:
            CutoverError: it cannot be reached.
        """
        server = self.server
        return await asyncio.to_thread(lambda: server.scripts)

    async def there(self, script: Script) -> dict[str, Said]:
        """Run a script at the old server; what it says, by the rows' IDs."""
        return await asyncio.to_thread(self.server.run, script)

    async def wait_for_old_server(self) -> None:
        """Let the old server begin what it had chosen."""
        await asyncio.sleep(self._settle)

    async def matched(self, said: dict[str, Said]) -> list[tuple[Ownership, Said]]:
        """The jobs that lines of a script are about; lines of another change of sides are told of."""
        owned = await self.ask(owners.load)
        by_key = {one.old_key: one for one in owned.values()}
        found = []
        for key, line in said.items():
            one = by_key.get(key)
            if one is not None and one.mark == line.token:
                found.append((one, line))
            else:
                name = one.job if one is not None else f"row {key}"
                self.answer(
                    name, f"what the script said of row {key} is of another change of sides"
                )
        return found

    async def note(
        self, call: Call, job: str, owner: Owner, action: str, detail: str, **columns: Any
    ) -> Ownership:
        """Write a job's row, with a row of the audit."""
        reason = {"Reason": self._reason[:500]} if self._reason else {}
        await owners.put(call.connection, job, owner, self._by, call.now, **reason, **columns)
        await audit(call.connection, self._by, action, call.now, job_name=job, detail=detail)
        return (await owners.load(call.connection, [job]))[job]


async def known(call: Call, job: str) -> Ownership:
    """The row of a job, locked.

    Raises:
        CutoverError: nothing is known about its row there.
    """
    one = await owners.lock(call.connection, job)
    if one is None or one.old_key is None:
        raise CutoverError(
            "the ID of its row in the old table is not known: targcc owner import, or owner set --old-id"
        )
    return one


async def is_to_do(call: Call, one: Ownership, owner: Owner, mark: str | None) -> bool:
    """Whether a step is still to be done that ends a change of sides with this owner and mark; not if it is, and nobody heard of it.

    Raises:
        CutoverError: somebody else has gone on with it.
    """
    found = await known(call, one.job)
    if (found.step, found.mark) == (one.step, one.mark):
        return True
    if (found.step, found.owner, found.mark) == (None, owner, mark):
        return False
    raise CutoverError(f"{one.job}: somebody else has gone on with it: targcc cutover status")


def new_token() -> str:
    """What names one change of sides."""
    return secrets.token_hex(_TOKEN_BYTES)


def next_token(token: str) -> str:
    """What names the change of sides after this one: the same whenever it is asked, so that a row which has it already is known."""
    return hashlib.sha256(token.encode()).hexdigest()[: 2 * _TOKEN_BYTES]


def tokens(jobs: Sequence[Ownership]) -> list[tuple[str, str]]:
    """The rows' IDs with their tokens."""
    return [(str(one.old_key), one.mark or "") for one in jobs]


def shown(slot: datetime | None) -> str:
    """A slot in the project's zone."""
    if slot is None:
        return "only when asked"
    return f"{slot.astimezone(parse_zone(current().timezone)):%Y-%m-%d %H:%M:%S}"


# What ran here while a job was here: what the old server's log and screens get when it goes back.

_MOST = 1000
"""Runs of one job that are carried over, the newest."""

CAME = "cutover start"
"""What the audit calls it when a job comes here."""
_CAME = sa.select(sa.func.max(job_audit.c.At, type_=UtcDateTime())).where(
    job_audit.c.JobName.in_(sa.bindparam("jobs", expanding=True)), job_audit.c.Action == CAME
)
_EVER = datetime(2000, 1, 1, tzinfo=UTC)


async def runs_here(
    connection: AsyncConnection, job: str, clock: OldClock, *, aliases: Sequence[str] = ()
) -> tuple[PastRun, ...]:
    """The attempts of a job since it came here, oldest first; in the times of the old server's clock."""
    c = logged_job.c
    begins = await connection.scalar(_CAME, {"jobs": [job, *aliases]}) or _EVER
    found = await connection.execute(
        sa.select(c.StartedAt, c.CompletedAt, c.Success, c.ResultMessage, c.ErrorMessage)
        .where(c.JobName == job, c.StartedAt >= begins, c.CompletedAt.is_not(None))
        .where(
            c.JobId.is_not(None)
        )  # attempts that were imported have none: they are the old server's own
        .order_by(c.ID.desc())
        .limit(_MOST)
    )
    return tuple(
        PastRun(
            started=clock.wall(row.StartedAt),
            ended=clock.wall(row.CompletedAt),
            seconds=round((row.CompletedAt - row.StartedAt).total_seconds()),
            success=row.Success,
            remarks=(row.ResultMessage if row.Success else row.ErrorMessage) or "",
        )
        for row in reversed(found.all())
    )


# Who runs a job: what an operator may say about it, and the jobs that an import brought. Each is one transaction with its row of the audit.

FILE = Path("legacy") / "cutover.json"
"""What ``targcc-gen import-legacy --paused`` writes."""

_RELEASED = 200
"""Runs that are offered again at once when their job comes here; the engine's sweep finds the others."""


@dataclass(frozen=True, slots=True)
class Moving:
    """A job of the old server.

    Args:
        job: Its name here.
        old_key: The ID of its row.
        runner: The old server's process that runs it.
    """

    job: str
    old_key: str
    runner: str


def read_file(path: Path) -> list[Moving]:
    """The jobs that an import brought and that the old server runs.

    Raises:
        CutoverError: it is no such file.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        jobs = [
            Moving(str(one["name"]), str(one["id"]), str(one.get("runner") or ""))
            for one in content["jobs"]
        ]
    except OSError as error:
        raise CutoverError(
            f"{path} cannot be read ({error.strerror}): targcc-gen import-legacy --paused writes it"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise CutoverError(
            f"{path} is not what targcc-gen import-legacy --paused writes: {error!r}"
        ) from None
    return jobs


async def register(call: Call, jobs: Sequence[Moving], owner: Owner, by: Actor) -> list[str]:
    """Say of jobs that were imported paused that the old server runs them; which of them are new.

    The pause they were created with ends by that: their owner keeps them from running. A job that has an owner keeps it.
    """
    await owners.lock_first(call.connection)
    known = await owners.load(call.connection)
    new = [one for one in jobs if one.job not in known]
    for one in new:
        columns = {"OldKey": one.old_key, "Runner": one.runner or None, "Reason": "imported"}
        await owners.put(call.connection, one.job, owner, by, call.now, **columns)
        await _end_first_pause(call, one.job)
        detail = f"{owner}: imported, row {one.old_key}"
        await audit(call.connection, by, "owner", call.now, job_name=one.job, detail=detail)
    return [one.job for one in new]


async def set_owner(
    call: Call,
    job: str,
    owner: Owner,
    by: Actor,
    *,
    reason: str | None = None,
    old_is_off: bool = False,
    old_key: str | None = None,
    runner: str | None = None,
) -> Ownership:
    """Say who runs a job. Nothing is done at the old server. With its first owner the pause that it was created with ends.

    Args:
        call: The transaction.
        job: The job's name.
        owner: Who.
        by: Who says so.
        reason: Why.
        old_is_off: That nothing runs the job there any more: what it takes to run it here.
        old_key: The ID of its row there, if that is new.
        runner: The process there, if that is new.

    Raises:
        RunStateError: the job is about to change sides, or it may still be run there.
    """
    await owners.lock_first(call.connection)
    before = await owners.lock(call.connection, job)
    if owner is Owner.NEW and before is not None and before.step is not None:
        raise RunStateError(
            f"{job} is about to change sides ({before.step}): targcc cutover status says how to finish that"
        )
    was = before.owner if before is not None else Owner.NEW
    if owner is Owner.NEW and was is not Owner.NEW and not old_is_off:
        raise RunStateError(
            f"{job} would run on both sides while its old row is active: targcc cutover start switches that row off first;"
            " if nothing runs it there any more, say so (--old-is-off)"
        )
    columns: dict[str, Any] = {"Reason": reason[:500] if reason else None, "Step": None}
    columns |= {"OldKey": old_key} if old_key is not None else {}
    columns |= {"Runner": runner} if runner is not None else {}
    await owners.put(call.connection, job, owner, by, call.now, **columns)
    if owner is Owner.NEW and was is not Owner.NEW:
        await resume_here(call, job)
    if owner is not Owner.NEW and before is None:
        await _end_first_pause(call, job)
    detail = f"{was} -> {owner}" + (f"; {reason}" if reason else "")
    await audit(call.connection, by, "owner", call.now, job_name=job, detail=detail)
    return (await owners.load(call.connection, [job]))[job]


async def _end_first_pause(call: Call, job: str) -> None:
    """From now on its owner says where a job runs; a pause that a person has made stays."""
    await pauses.end_first_pause(call.connection, job, str(SYSTEM), call.now)


async def resume_here(call: Call, job: str) -> None:
    """Offer the runs that waited for the job to come here."""
    await call.engine.release(call.connection, job_name=job, count=_RELEASED)


# Jobs come here from the old server. The steps are those of ``handover.py``.

_INSTANT = timedelta(microseconds=1)
_ACTION = CAME


class Taking(Handover):
    """Takes jobs over; one that runs there right now is left as it is."""

    async def take(self, jobs: Sequence[str]) -> list[Outcome]:
        """Do all steps."""
        scripts = await self.scripts()
        begun = await self.begin(jobs)
        for last in (False, True):
            if not begun:
                break
            before = await self.there(scripts.off(tokens(begun)))
            await self.wait_for_old_server()
            said = await self.there(scripts.look(tokens(begun)))
            # A row whose run ended in between is on and idle: it can be switched off now.
            again = set() if last else {key for key in said if said[key].outcome == "idle"}
            ran = {key for key in before if before[key].outcome == "running"}
            await self.finish({key: said[key] for key in said if key not in again}, ran)
            begun = [one for one in begun if str(one.old_key) in again]
        return self.outcomes

    async def begin(self, jobs: Sequence[str]) -> list[Ownership]:
        """Note that jobs are about to come here; those that can, each with its token."""
        return [one for job in jobs if (one := await self.attempt(self._begin, job)) is not None]

    async def finish(
        self, said: dict[str, Said], ran: Collection[str] = frozenset()
    ) -> list[Outcome]:
        """Take what is switched off there, by what the script has said.

        Args:
            said: What it said, by the rows' IDs.
            ran: The rows that ran when they were to be switched off.
        """
        for one, line in await self.matched(said):
            if one.step is not Step.TAKING:
                self.answer(one.job, "is run from here", done=one.owner is Owner.NEW)
            elif line.outcome == "off":
                self.outcomes.append(await self.do(self._taken, one, line))
            elif line.outcome == "late":
                self.answer(
                    one.job,
                    "was begun there at the last moment, and its row is off: repeat this when it has ended",
                )
            else:
                await self.do(self._leave, one)
                self.answer(one.job, _why_not(one, line, ran=line.key in ran))
        self.scheduler.look_for_slots()
        return self.outcomes

    async def _begin(self, call: Call, job: str) -> Ownership | None:
        one = await known(call, job)
        if one.owner is Owner.NEW and one.step is None:
            self.answer(job, "is run from here", done=True)
            return None
        if one.step is Step.RETURNING:
            raise CutoverError("is on its way back: targcc cutover back finishes that")
        definition = self.scheduler.find(job)
        if definition.schedule is not None and not await slots.load(call.connection, [job]):
            raise CutoverError("no node has seen its schedule yet: let targcc serve run once")
        if one.step is Step.TAKING:
            return one
        detail = f"row {one.old_key} is to be switched off"
        return await self.note(
            call, job, one.owner, _ACTION, detail, Step=Step.TAKING, Mark=new_token()
        )

    async def _leave(self, call: Call, one: Ownership) -> None:
        if not await is_to_do(call, one, one.owner, None):
            return
        detail = f"row {one.old_key} is left as it is"
        await self.note(call, one.job, one.owner, _ACTION, detail, Step=None, Mark=None)

    async def _taken(self, call: Call, one: Ownership, said: Said) -> Outcome:
        definition = self.scheduler.find(one.job)
        handled = self._handled_there(definition, said, call.now)
        schedule = definition.schedule
        slot = schedule.next(handled, definition.timezone) if schedule is not None else None
        if not await is_to_do(call, one, Owner.NEW, one.mark):
            return _is_here(one.job, slot)
        await slots.go_on_from(call.connection, one.job, handled)
        detail = f"row {one.old_key} is off; it runs here, next {shown(slot)}"
        await self.note(call, one.job, Owner.NEW, _ACTION, detail, Step=None, NextSlot=slot)
        await resume_here(call, one.job)
        return _is_here(one.job, slot)

    def _handled_there(self, definition: JobDefinition, said: Said, now: datetime) -> datetime:
        """Up to where the old server has done the job's slots."""
        following = self.clock.instant(said.next_run)
        last = self.clock.instant(said.last_run)
        if following is None:
            return now
        if last is not None and last >= following:  # it had chosen that run, and did it
            return last
        return min(
            _before(definition, following), now
        )  # a later one would be taken for a wrong clock's


def _is_here(job: str, slot: datetime | None) -> Outcome:
    return Outcome(job, done=True, said="is run from here", next_slot=slot)


def _before(definition: JobDefinition, slot: datetime) -> datetime:
    """After which instant a slot comes next."""
    if definition.schedule is None:
        return slot
    just_before = slot - _INSTANT
    if definition.schedule.previous(slot, definition.timezone) is not None:
        return just_before
    following = definition.schedule.next(just_before, definition.timezone)
    if following is None or following <= slot:
        return just_before
    return slot - (following - just_before)  # it counts from the run before


def _why_not(one: Ownership, said: Said, *, ran: bool) -> str:
    if said.outcome == "running":
        return "runs there right now: repeat this when it has ended"
    if said.outcome == "idle":
        return f"row {one.old_key} is on there and runs no more: its run has just ended, or it is deleted; repeat this"
    if ran:
        return (
            f"row {one.old_key} ran there until now, and is off since its run has ended, as that of a OneOff is:"
            " nothing is left to take; targcc owner set says who runs it from now on"
        )
    return (
        f"row {one.old_key} was switched off there by somebody else, or deleted: look who did that"
    )


# Jobs go back to the old server, with what ran here meanwhile. The steps are those of ``handover.py``.

_RETURN_ACTION = "cutover back"


class Returning(Handover):
    """Gives jobs back; one that runs or waits here, or is about to, is left as it is."""

    async def give_back(self, jobs: Sequence[str]) -> list[Outcome]:
        """Do all steps."""
        scripts = await self.scripts()
        begun = await self.begin(jobs)
        if ready := [one for one in begun if await self._is_in_time(one)]:
            returns = [await self.return_of(one) for one in ready]
            await self.finish(await self.there(scripts.on(returns)))
            if self.server.not_logged and any(one.runs for one in returns):
                said = f"what ran here is not written into it: {self.server.not_logged}"
                self.answer("c_LoggedJob", said, done=True)
        return self.outcomes

    async def begin(self, jobs: Sequence[str]) -> list[Ownership]:
        """Let jobs run here no more; those that can go, each with the first slot of the other side."""
        closed = [one for job in jobs if (one := await self.attempt(self._close, job)) is not None]
        found = [await self.attempt(self._idle, one.job) for one in closed]
        return [one for one in found if one is not None]

    async def preview(self, jobs: Sequence[Ownership]) -> list[Return]:
        """What the other side would be told of jobs now; nothing is changed."""
        now, schedules = self.scheduler.clock.now(), await self.ask(slots.load)

        async def to_return(one: Ownership) -> Return:
            definition, row = self.scheduler.find(one.job), schedules.get(one.job)
            slot = await self.ask(lambda db: _next_here(db, definition, row, now))
            return await self.return_of(replace(one, next_slot=slot))

        return [await to_return(one) for one in jobs]

    async def return_of(self, one: Ownership) -> Return:
        """What the other side has to be told of a job."""
        definition = self.scheduler.definitions.get(one.job)
        aliases = definition.aliases if definition is not None else ()
        past = await self.ask(lambda db: runs_here(db, one.job, self.clock, aliases=aliases))
        slot = self.clock.wall(one.next_slot) if one.next_slot is not None else None
        return Return(str(one.old_key), one.mark or "", slot, past)

    async def finish(self, said: dict[str, Said]) -> list[Outcome]:
        """Note what is switched on there, by what the script has said."""
        for one, line in await self.matched(said):
            if one.step is not Step.RETURNING:
                self.answer(one.job, "is run by the old server", done=one.owner is not Owner.NEW)
            elif line.outcome == "on":
                self.outcomes.append(await self.do(self._returned, one))
            else:
                self.answer(one.job, f"row {one.old_key} was not switched on: repeat this")
        return self.outcomes

    async def _close(self, call: Call, job: str) -> Ownership | None:
        one = await known(call, job)
        if one.step is Step.TAKING:
            raise CutoverError("is on its way here: finish that first, with targcc cutover start")
        if one.step is Step.RETURNING:
            return one
        if one.owner is not Owner.NEW:
            self.answer(job, "is run by the old server", done=True)
            return None
        if busy := (await slots.busy_runs(call.connection, [job]))[job]:
            raise CutoverError(f"run {busy[0]} of it is not over: repeat this then")
        row = (await slots.load(call.connection, [job])).get(job)
        slot = await _next_here(call.connection, self.scheduler.find(job), row, call.now)
        if slot is not None and slot <= call.now + self._lead:
            raise CutoverError(f"its slot of {shown(slot)} is about to run here: repeat this then")
        detail = f"it runs here no more; row {one.old_key} is to be switched on, next {shown(slot)}"
        changed = {"Step": Step.RETURNING, "Mark": one.mark or new_token(), "NextSlot": slot}
        return await self.note(call, job, Owner.OLD, _RETURN_ACTION, detail, **changed)

    async def _idle(self, call: Call, job: str) -> Ownership | None:
        """A claim that was under way when the job was closed has committed by now, or finds it closed."""
        if found := await owners.running(call.connection, job):
            raise CutoverError(f"run {found[0]} of it runs: repeat this when it has ended")
        return await known(call, job)

    async def _is_in_time(self, one: Ownership) -> bool:
        """Whether the other side can run the noted slot. One that has passed meanwhile runs here, and the job goes back after that."""
        if one.next_slot is None or one.next_slot > self.scheduler.clock.now() + self._lead:
            return True
        key, token = str(one.old_key), next_token(one.mark or "")
        said = await self.there(self.server.scripts.remark(key, one.mark or "", token))
        outcome = said[key].outcome if key in said else "gone"
        if outcome == "on":  # noting it was all that was missing
            self.outcomes.append(await self.do(self._returned, one))
        elif outcome == "off":
            self.outcomes.append(await self.do(self._reopen, one, token))
            self.scheduler.look_for_slots()
        else:
            self.answer(one.job, f"row {key} does not carry its mark any more: look who changed it")
        return False

    async def _reopen(self, call: Call, one: Ownership, token: str) -> Outcome:
        said = f"its slot of {shown(one.next_slot)} passed while it was on neither side: it runs here; repeat this then"
        if await is_to_do(call, one, Owner.NEW, token):
            await self.note(call, one.job, Owner.NEW, _RETURN_ACTION, said, Step=None, Mark=token)
            await resume_here(call, one.job)
        return Outcome(one.job, done=False, said=said)

    async def _returned(self, call: Call, one: Ownership) -> Outcome:
        if await is_to_do(call, one, Owner.OLD, None):
            detail = f"row {one.old_key} is on; the old server runs it, next {shown(one.next_slot)}"
            await self.note(call, one.job, Owner.OLD, _RETURN_ACTION, detail, Step=None, Mark=None)
        return Outcome(one.job, done=True, said="is run by the old server", next_slot=one.next_slot)


async def _next_here(
    connection: AsyncConnection,
    definition: JobDefinition,
    row: slots.ScheduleRow | None,
    now: datetime,
) -> datetime | None:
    """The first slot of a job that is not handled here: the one from which the other side goes on."""
    schedule, name, zone = definition.schedule, definition.name, definition.timezone
    if schedule is None:
        return None
    last = row.last_slot if row is not None else None
    if isinstance(schedule, AfterRunSchedule):
        before = await slots.last_run(connection, name)
        if before is not None:
            started, ended = (max(one, last or one) for one in before)
            return schedule.following(started, ended, zone)
    return schedule.next(last or now, zone)
