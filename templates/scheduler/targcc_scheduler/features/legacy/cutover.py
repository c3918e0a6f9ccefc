"""Move jobs from the old server to this scheduler, and back.

From the old server to this scheduler (:class:`Taking`):

1. Here: set the step ``taking`` and a new token. The owner stays ``old`` or ``shadow``, so nothing runs here.
2. Old server: switch the row off unless the row's job runs. The same statement writes the token and the next run into the row.
3. Old server, 2 seconds later: check that the old server did not start a run that it had chosen before. If the old server did, the job
   stays off on both sides; the command has to be repeated when that run has ended.
4. Here: set the owner to ``new``. The next slot is the first run that the old server did not do.

From this scheduler to the old server (:class:`Returning`):

1. Here: check that no run of the job runs or waits and that no slot is due soon. Set the step ``returning`` and the owner ``old``, and
   store the next slot.
2. Here: check that no claim was in progress.
3. Old server: switch the row on if the row carries the token. Write the stored slot as next run, and the runs that were done here.
4. Here: clear the step.

If a process dies between two steps, the job is off on both sides, and the step stays ``taking`` or ``returning``. Repeating the command
resumes the cut-over. A step runs only while the token is the token with which the step began. A step whose connection was lost may or
may not have been committed. Such a step is repeated, and the repetition checks first whether the earlier attempt was committed.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor
from ...core.errors import CutoverError, RunStateError
from ...core.outage import OUTAGES
from ...db.columns import UtcDateTime
from ...db.tables import job_audit, logged_job
from ...kernel import job_owner as owners
from ...kernel.audit import audit
from ...kernel.job_owner import Owner, Ownership, Step
from ...kernel.jobs.definition import JobDefinition
from ...kernel.node import slots
from ...operations import Call
from ...project import current
from ...scheduler import Scheduler
from ...schedules.intervals import AfterRunSchedule
from ...schedules.zones import parse_zone
from ...services.procedures import remark_of
from .old_server import (
    OldClock,
    OldServer,
    PastRun,
    Return,
    Said,
    Script,
    Scripts,
    seconds_between,
)
from .owning import resume_here

# Base of both directions. A side is switched on only after the other side is known to be off, so a job does not run on both sides.

P = ParamSpec("P")
T = TypeVar("T")

_TOKEN_BYTES = 3
BY_SCRIPT = " by the script "
"""Text before the name of a script's file, at the end of an audit entry."""
AGAIN = (0.2, 2.0)
"""Seconds before the second and the last attempt of a step whose connection was lost."""
LEAD = timedelta(seconds=5)
"""Minimum time before the next slot for a return; if the slot is nearer, the job stays here until that slot has run."""
SETTLE = 2.0
"""Seconds to wait after a row was switched off. An old server that polls once a second has then started every run it had chosen before."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a cut-over for one job.

    Args:
        job: Name of the job.
        done: Whether the job is on the requested side.
        said: Text of the result, or the reason why the job was not moved.
        next_slot: First slot of the side that runs the job now.
    """

    job: str
    done: bool
    said: str
    next_slot: datetime | None = None


class Handover:
    """Base class of a cut-over of several jobs.

    Args:
        scheduler: This scheduler.
        clock: The old server's clock.
        by: Actor for the audit.
        old: The old server; ``None`` if a person runs the scripts.
        reason: Reason for the audit.
        settle: See :data:`SETTLE`.
        lead: See :data:`LEAD`.
        script: File of the script that a person runs; empty if none is written.
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
        script: str = "",
    ) -> None:
        self.scheduler = scheduler
        self.clock = clock
        self.outcomes: list[Outcome] = []
        self.begun = False
        """Whether a script was written that has to be run."""
        self._by = by
        self._old = old
        self._reason = reason
        self._settle = settle
        self._lead = lead
        self._by_script = f"{BY_SCRIPT}{script}" if script else ""

    @property
    def server(self) -> OldServer:
        """Return the old server.

        Raises:
            CutoverError: no database URL of the old server is set.
        """
        if self._old is None:
            raise CutoverError(
                "TARGCC_CUTOVER_URL does not say where the old server's database is:"
                " set it, or let --script write what is to be run there"
            )
        return self._old

    def answer(self, job: str, answer: str, *, done: bool = False) -> None:
        """Add the outcome of a job."""
        self.outcomes.append(Outcome(job, done=done, said=answer))

    async def do(
        self, work: Callable[Concatenate[Call, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an operation of this scheduler in one transaction; retry after a lost connection.

        The operation must check whether an earlier attempt was committed.
        """
        return await self._persist(lambda: self.scheduler.operate(work, None, *args, **kwargs))

    async def ask(self, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run a query of this scheduler and return its result; retry after a lost connection."""
        return await self._persist(lambda: self.scheduler.read(query))

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        for seconds in AGAIN:
            try:
                return await attempt()
            except OUTAGES:
                await asyncio.sleep(seconds)
        return await attempt()

    async def attempt(self, work: Callable[[Call, str], Awaitable[T | None]], job: str) -> T | None:
        """Run an operation for a job in one transaction; if the operation refuses, add the reason as outcome and return ``None``."""
        try:
            return await self.do(work, job)
        except (CutoverError, RunStateError, LookupError) as error:
            self.answer(job, str(error))
            return None

    async def scripts(self) -> Scripts:
        """Return the statements for the old server, whose database must answer.

        Called before the first step, so that no cut-over begins while the old server cannot be reached.

        Raises:
            CutoverError: the old server cannot be reached.
        """
        server = self.server
        return await asyncio.to_thread(lambda: server.scripts)

    async def there(self, script: Script) -> dict[str, Said]:
        """Run a script in the old server's database; return the result lines by the rows' IDs."""
        return await asyncio.to_thread(self.server.run, script)

    async def wait_for_old_server(self) -> None:
        """Wait until the old server has started every run that it had chosen; see :data:`SETTLE`."""
        await asyncio.sleep(self._settle)

    async def matched(self, answers: dict[str, Said]) -> list[tuple[Ownership, Said]]:
        """Pair result lines of a script with the owner rows of their jobs.

        A line whose token differs from the job's token belongs to another cut-over; such a line becomes an outcome.
        """
        owned = await self.ask(owners.load)
        by_key = {ownership.old_key: ownership for ownership in owned.values()}
        pairs = []
        for key, line in answers.items():
            ownership = by_key.get(key)
            if ownership is not None and ownership.mark == line.token:
                pairs.append((ownership, line))
            else:
                name = ownership.job if ownership is not None else f"row {key}"
                self.answer(
                    name, f"what the script said of row {key} is of another change of sides"
                )
        return pairs

    async def note(
        self, call: Call, job: str, owner: Owner, action: str, detail: str, **columns: Any
    ) -> Ownership:
        """Write the owner row of a job and an audit entry; return the new row."""
        reason = {"Reason": self._reason[:500]} if self._reason else {}
        await owners.put(call.connection, job, owner, self._by, call.now, **reason, **columns)
        await audit(call.connection, self._by, action, call.now, job_name=job, detail=detail)
        return (await owners.load(call.connection, [job]))[job]


async def known(call: Call, job: str) -> Ownership:
    """Lock and return the owner row of a job.

    Raises:
        CutoverError: the job has no owner row, or the ID of its row in the old table is unknown.
    """
    ownership = await owners.lock(call.connection, job)
    if ownership is None or ownership.old_key is None:
        raise CutoverError(
            "the ID of its row in the old table is not known: targcc owner import, or owner set --old-id"
        )
    return ownership


async def is_to_do(call: Call, one: Ownership, owner: Owner, mark: str | None) -> bool:
    """Return whether a final step still has to be done.

    Args:
        call: The transaction.
        one: Owner row with which the step began.
        owner: Owner that the step sets.
        mark: Mark that the step sets.

    Returns:
        ``False`` if an earlier attempt was committed and only the database's answer was lost.

    Raises:
        CutoverError: another process has changed the row since.
    """
    ownership = await known(call, one.job)
    if (ownership.step, ownership.mark) == (one.step, one.mark):
        return True
    if (ownership.step, ownership.owner, ownership.mark) == (None, owner, mark):
        return False
    raise CutoverError(f"{one.job}: somebody else has gone on with it: targcc cutover status")


def new_token() -> str:
    """Return a new token, which identifies one cut-over of a job."""
    return secrets.token_hex(_TOKEN_BYTES)


def next_token(token: str) -> str:
    """Return the token that follows a token; equal input gives equal output, so a row that already has the new token is recognized."""
    return hashlib.sha256(token.encode()).hexdigest()[: 2 * _TOKEN_BYTES]


def tokens(jobs: Sequence[Ownership]) -> list[tuple[str, str]]:
    """Return the ID of each old row with its token."""
    return [(str(ownership.old_key), ownership.mark or "") for ownership in jobs]


def shown(slot: datetime | None) -> str:
    """Format a slot in the project's time zone."""
    if slot is None:
        return "only when asked"
    return f"{slot.astimezone(parse_zone(current().timezone)):%Y-%m-%d %H:%M:%S}"


# Runs of this scheduler, which the old server's log and screens get when a job goes back.

_MOST = 1000
"""Maximum number of runs of one job that are written into the old log; the newest runs are used."""

CAME = "cutover start"
"""Audit action of a job's move to this scheduler."""
_CAME = sa.select(sa.func.max(job_audit.c.At, type_=UtcDateTime())).where(
    job_audit.c.JobName.in_(sa.bindparam("jobs", expanding=True)), job_audit.c.Action == CAME
)
_EVER = datetime(2000, 1, 1, tzinfo=UTC)


async def runs_here(
    connection: AsyncConnection, job: str, clock: OldClock, *, aliases: Sequence[str] = ()
) -> tuple[PastRun, ...]:
    """Return at most 1000 attempts since the job came to this scheduler, oldest first; times are the old server's wall clock."""
    c = logged_job.c
    begins = await connection.scalar(_CAME, {"jobs": [job, *aliases]}) or _EVER
    result = await connection.execute(
        sa.select(c.StartedAt, c.CompletedAt, c.Success, c.ResultMessage, c.ErrorMessage)
        .where(c.JobName == job, c.StartedAt >= begins, c.CompletedAt.is_not(None))
        .where(c.JobId.is_not(None))  # imported attempts of the old server have no JobId
        .order_by(c.ID.desc())
        .limit(_MOST)
    )
    return tuple(
        PastRun(
            started=clock.wall(row.StartedAt),
            ended=clock.wall(row.CompletedAt),
            seconds=seconds_between(row.StartedAt, row.CompletedAt),
            success=row.Success,
            remarks=remark_of(row.ResultMessage or "") if row.Success else row.ErrorMessage or "",
        )
        for row in reversed(result.all())
    )


# From the old server to this scheduler; the module docstring lists the steps.

_INSTANT = timedelta(microseconds=1)
_ACTION = CAME


class Taking(Handover):
    """Take jobs over from the old server; a job that runs on the old server now is left unchanged."""

    async def take(self, jobs: Sequence[str]) -> list[Outcome]:
        """Run all steps for the jobs."""
        scripts = await self.scripts()
        begun = await self.begin(jobs)
        for last in (False, True):
            if not begun:
                break
            before = await self.there(scripts.off(tokens(begun)))
            await self.wait_for_old_server()
            lines = await self.there(scripts.look(tokens(begun)))
            # A row whose run has ended meanwhile is active and idle, so it can be switched off now.
            again = set() if last else {key for key in lines if lines[key].outcome == "idle"}
            ran = {key for key in before if before[key].outcome == "running"}
            await self.finish({key: lines[key] for key in lines if key not in again}, ran)
            begun = [ownership for ownership in begun if str(ownership.old_key) in again]
        return self.outcomes

    async def begin(self, jobs: Sequence[str]) -> list[Ownership]:
        """Set the step ``taking``; return the owner rows of the jobs that can be taken, each with its token."""
        return [
            ownership
            for job in jobs
            if (ownership := await self.attempt(self._begin, job)) is not None
        ]

    async def finish(
        self, answers: dict[str, Said], has_run: Collection[str] = frozenset()
    ) -> list[Outcome]:
        """Take over the jobs whose rows the script has switched off.

        Args:
            answers: Result lines of the script by the rows' IDs.
            has_run: IDs of the rows whose job ran when the script tried to switch them off.
        """
        for ownership, line in await self.matched(answers):
            if ownership.step is not Step.TAKING:
                self.answer(ownership.job, "is run from here", done=ownership.owner is Owner.NEW)
            elif line.outcome == "off":
                self.outcomes.append(await self.do(self._taken, ownership, line))
            elif line.outcome == "late":
                self.answer(
                    ownership.job,
                    "was begun there at the last moment, and its row is off: repeat this when it has ended",
                )
            else:
                await self.do(self._leave, ownership)
                self.answer(ownership.job, _why_not(ownership, line, has_run=line.key in has_run))
        self.scheduler.look_for_slots()
        return self.outcomes

    async def _begin(self, call: Call, job: str) -> Ownership | None:
        ownership = await known(call, job)
        if ownership.owner is Owner.NEW and ownership.step is None:
            self.answer(job, "is run from here", done=True)
            return None
        if ownership.step is Step.RETURNING:
            raise CutoverError("is on its way back: targcc cutover back finishes that")
        definition = self.scheduler.find(job)
        if definition.schedule is not None and not await slots.load(call.connection, [job]):
            raise CutoverError("no node has seen its schedule yet: let targcc serve run once")
        mark = ownership.mark if ownership.step is Step.TAKING else new_token()
        if ownership.step is Step.TAKING and not self._by_script:
            return ownership
        detail = f"row {ownership.old_key} is to be switched off{self._by_script}"
        return await self.note(
            call, job, ownership.owner, _ACTION, detail, Step=Step.TAKING, Mark=mark
        )

    async def _leave(self, call: Call, owner: Ownership) -> None:
        if not await is_to_do(call, owner, owner.owner, None):
            return
        detail = f"row {owner.old_key} is left as it is"
        await self.note(call, owner.job, owner.owner, _ACTION, detail, Step=None, Mark=None)

    async def _taken(self, call: Call, owner: Ownership, answer: Said) -> Outcome:
        definition = self.scheduler.find(owner.job)
        handled = self._handled_there(definition, answer, call.now)
        schedule = definition.schedule
        slot = schedule.next(handled, definition.timezone) if schedule is not None else None
        if not await is_to_do(call, owner, Owner.NEW, owner.mark):
            return _is_here(owner.job, slot)
        await slots.go_on_from(call.connection, owner.job, handled)
        detail = f"row {owner.old_key} is off; it runs here, next {shown(slot)}"
        await self.note(call, owner.job, Owner.NEW, _ACTION, detail, Step=None, NextSlot=slot)
        await resume_here(call, owner.job)
        return _is_here(owner.job, slot)

    def _handled_there(self, definition: JobDefinition, answer: Said, now: datetime) -> datetime:
        """Return the instant up to which the old server has handled the job's slots."""
        following = self.clock.instant(answer.next_run)
        last = self.clock.instant(answer.last_run)
        if following is None:
            return now
        if last is not None and last >= following:  # the old server did the chosen run
            return last
        slot = due_slot(definition, following, last)
        return min(
            _before(definition, slot), now
        )  # a later instant would be taken for a wrong clock


def _is_here(job: str, slot: datetime | None) -> Outcome:
    return Outcome(job, done=True, said="is run from here", next_slot=slot)


def due_slot(definition: JobDefinition, at: datetime, last: datetime | None) -> datetime:
    """Return the slot of the old server's next run: the slot of the same minute, as a next run of 02:00:17 is the slot of 02:00.

    Args:
        definition: The job.
        at: The old server's next run.
        last: The old server's last run.

    Returns:
        The slot, or ``at`` if the minute has no slot or the old server has run that slot.
    """
    if definition.schedule is None:
        return at
    slot = definition.schedule.previous(at + _INSTANT, definition.timezone)
    if slot is None or slot < at.replace(second=0, microsecond=0):
        return at
    return at if last is not None and last >= slot else slot


def _before(definition: JobDefinition, slot: datetime) -> datetime:
    """Return an instant after which ``slot`` is the next slot of the schedule."""
    if definition.schedule is None:
        return slot
    just_before = slot - _INSTANT
    if definition.schedule.previous(slot, definition.timezone) is not None:
        return just_before
    following = definition.schedule.next(just_before, definition.timezone)
    if following is None or following <= slot:
        return just_before
    return slot - (following - just_before)  # the schedule counts from the previous run


def _why_not(owner: Ownership, answer: Said, *, has_run: bool) -> str:
    if answer.outcome == "running":
        return "runs there right now: repeat this when it has ended"
    if answer.outcome == "idle":
        return f"row {owner.old_key} is on there and runs no more: its run has just ended, or it is deleted; repeat this"
    if has_run:
        return (
            f"row {owner.old_key} ran there until now, and is off since its run has ended, as that of a OneOff is:"
            " nothing is left to take; targcc owner set says who runs it from now on"
        )
    return f"row {owner.old_key} was switched off there by somebody else, or deleted: look who did that"


# From this scheduler to the old server; the module docstring lists the steps.

_RETURN_ACTION = "cutover back"


class Returning(Handover):
    """Give jobs back to the old server; a job that runs, waits or has a slot due soon is left unchanged."""

    async def give_back(self, jobs: Sequence[str]) -> list[Outcome]:
        """Run all steps for the jobs."""
        scripts = await self.scripts()
        begun = await self.begin(jobs)
        if ready := [item for item in begun if await self._is_in_time(item)]:
            returns = [await self.return_of(item) for item in ready]
            await self.finish(await self.there(scripts.on(returns)))
            if self.server.not_logged and any(item.runs for item in returns):
                message = f"what ran here is not written into it: {self.server.not_logged}"
                self.answer("c_LoggedJob", message, done=True)
        return self.outcomes

    async def begin(self, jobs: Sequence[str]) -> list[Ownership]:
        """Stop jobs here; return the owner rows of the jobs that can go back, each with the old server's first slot."""
        closed = [
            ownership
            for job in jobs
            if (ownership := await self.attempt(self._close, job)) is not None
        ]
        idle = [await self.attempt(self._idle, ownership.job) for ownership in closed]
        return [ownership for ownership in idle if ownership is not None]

    async def preview(self, jobs: Sequence[Ownership]) -> list[Return]:
        """Return what the old server would get for jobs now; changes nothing."""
        now, schedules = self.scheduler.clock.now(), await self.ask(slots.load)

        async def to_return(owner: Ownership) -> Return:
            definition, row = self.scheduler.find(owner.job), schedules.get(owner.job)
            slot = await self.ask(lambda db: _next_here(db, definition, row, now))
            return await self.return_of(replace(owner, next_slot=slot))

        return [await to_return(one) for one in jobs]

    async def return_of(self, owner: Ownership) -> Return:
        """Return what the old server gets for a job: row ID, token, next run and past runs."""
        definition = self.scheduler.definitions.get(owner.job)
        aliases = definition.aliases if definition is not None else ()
        past = await self.ask(lambda db: runs_here(db, owner.job, self.clock, aliases=aliases))
        slot = self.clock.wall(owner.next_slot) if owner.next_slot is not None else None
        return Return(str(owner.old_key), owner.mark or "", slot, past)

    async def finish(self, answers: dict[str, Said]) -> list[Outcome]:
        """Record which rows the script has switched on."""
        for ownership, line in await self.matched(answers):
            if ownership.step is not Step.RETURNING:
                self.answer(
                    ownership.job, "is run by the old server", done=ownership.owner is not Owner.NEW
                )
            elif line.outcome == "on":
                self.outcomes.append(await self.do(self._returned, ownership))
            else:
                self.answer(
                    ownership.job, f"row {ownership.old_key} was not switched on: repeat this"
                )
        return self.outcomes

    async def _close(self, call: Call, job: str) -> Ownership | None:
        ownership = await known(call, job)
        if ownership.step is Step.TAKING:
            raise CutoverError("is on its way here: finish that first, with targcc cutover start")
        if ownership.step is Step.RETURNING:
            if self._by_script:
                detail = f"row {ownership.old_key} is to be switched on{self._by_script}"
                await audit(
                    call.connection, self._by, _RETURN_ACTION, call.now, job_name=job, detail=detail
                )
            return ownership
        if ownership.owner is not Owner.NEW:
            self.answer(job, "is run by the old server", done=True)
            return None
        if busy := (await slots.busy_runs(call.connection, [job]))[job]:
            raise CutoverError(f"run {busy[0]} of it is not over: repeat this then")
        row = (await slots.load(call.connection, [job])).get(job)
        slot = await _next_here(call.connection, self.scheduler.find(job), row, call.now)
        if slot is not None and slot <= call.now + self._lead:
            raise CutoverError(f"its slot of {shown(slot)} is about to run here: repeat this then")
        detail = f"it runs here no more; row {ownership.old_key} is to be switched on, next {shown(slot)}{self._by_script}"
        changed = {"Step": Step.RETURNING, "Mark": ownership.mark or new_token(), "NextSlot": slot}
        return await self.note(call, job, Owner.OLD, _RETURN_ACTION, detail, **changed)

    async def _idle(self, call: Call, job: str) -> Ownership | None:
        """Check that no run of the closed job is running.

        A claim in progress when the job was closed has committed by now, or sees the new owner and claims nothing.
        """
        if run_ids := await owners.running(call.connection, job):
            raise CutoverError(f"run {run_ids[0]} of it runs: repeat this when it has ended")
        return await known(call, job)

    async def _is_in_time(self, owner: Ownership) -> bool:
        """Return whether the old server can still run the stored slot.

        If the slot is due or nearly due, the job is reopened here, runs that slot here, and can go back afterwards.
        """
        if owner.next_slot is None or owner.next_slot > self.scheduler.clock.now() + self._lead:
            return True
        key, token = str(owner.old_key), next_token(owner.mark or "")
        lines = await self.there(self.server.scripts.remark(key, owner.mark or "", token))
        outcome = lines[key].outcome if key in lines else "gone"
        if outcome == "on":  # the row is on; only the record here was missing
            self.outcomes.append(await self.do(self._returned, owner))
        elif outcome == "off":
            self.outcomes.append(await self.do(self._reopen, owner, token))
            self.scheduler.look_for_slots()
        else:
            self.answer(
                owner.job, f"row {key} does not carry its mark any more: look who changed it"
            )
        return False

    async def _reopen(self, call: Call, owner: Ownership, token: str) -> Outcome:
        message = f"its slot of {shown(owner.next_slot)} passed while it was on neither side: it runs here; repeat this then"
        if await is_to_do(call, owner, Owner.NEW, token):
            await self.note(
                call, owner.job, Owner.NEW, _RETURN_ACTION, message, Step=None, Mark=token
            )
            await resume_here(call, owner.job)
        return Outcome(owner.job, done=False, said=message)

    async def _returned(self, call: Call, owner: Ownership) -> Outcome:
        if await is_to_do(call, owner, Owner.OLD, None):
            detail = (
                f"row {owner.old_key} is on; the old server runs it, next {shown(owner.next_slot)}"
            )
            await self.note(
                call, owner.job, Owner.OLD, _RETURN_ACTION, detail, Step=None, Mark=None
            )
        return Outcome(
            owner.job, done=True, said="is run by the old server", next_slot=owner.next_slot
        )


async def _next_here(
    connection: AsyncConnection,
    definition: JobDefinition,
    row: slots.ScheduleRow | None,
    now: datetime,
) -> datetime | None:
    """Return the first slot that this scheduler has not handled; the old server continues with this slot."""
    schedule, name, zone = definition.schedule, definition.name, definition.timezone
    if schedule is None:
        return None
    last = row.last_slot if row is not None else None
    if isinstance(schedule, AfterRunSchedule):
        before = await slots.last_run(connection, name)
        if before is not None:
            started, ended = (max(instant, last or instant) for instant in before)
            return schedule.following(started, ended, zone)
    return schedule.next(last or now, zone)
