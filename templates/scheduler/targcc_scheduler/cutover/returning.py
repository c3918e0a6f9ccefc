"""Jobs go back to the old server, with what ran here meanwhile. The steps are those of ``handover.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.errors import CutoverError
from ..jobs.definition import JobDefinition
from ..operations import Call
from ..schedules import AfterRunSchedule
from ..storage import slots
from ..storage.owners import rows
from ..storage.owners.values import Owner, Ownership, Step
from . import between
from .handover import Handover, Outcome, is_to_do, known, new_token, next_token, shown
from .old.scripts import Return, Said
from .owning import resume_here

_ACTION = "cutover back"


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
        past = await self.ask(
            lambda db: between.runs_here(db, one.job, self.clock, aliases=aliases)
        )
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
        return await self.note(call, job, Owner.OLD, _ACTION, detail, **changed)

    async def _idle(self, call: Call, job: str) -> Ownership | None:
        """A claim that was under way when the job was closed has committed by now, or finds it closed."""
        if found := await rows.running(call.connection, job):
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
            await self.note(call, one.job, Owner.NEW, _ACTION, said, Step=None, Mark=token)
            await resume_here(call, one.job)
        return Outcome(one.job, done=False, said=said)

    async def _returned(self, call: Call, one: Ownership) -> Outcome:
        if await is_to_do(call, one, Owner.OLD, None):
            detail = f"row {one.old_key} is on; the old server runs it, next {shown(one.next_slot)}"
            await self.note(call, one.job, Owner.OLD, _ACTION, detail, Step=None, Mark=None)
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
