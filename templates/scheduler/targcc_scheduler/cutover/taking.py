"""Jobs come here from the old server. The steps are those of ``handover.py``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from ..core.errors import CutoverError
from ..jobs.definition import JobDefinition
from ..operations import Call
from ..storage import slots
from ..storage.owners.values import Owner, Ownership, Step
from .between import CAME
from .handover import Handover, Outcome, is_to_do, known, new_token, shown, tokens
from .old.scripts import Said
from .owning import resume_here

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
