"""The runs that slots become: created, skipped or recorded as missed; those of many jobs with a few statements.

Where a job may overlap itself only so much, whether a slot runs depends on the runs before it. So the slots are created in rounds: a round holds
what can be decided now. Most slots need one, and it is one statement for all jobs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import SYSTEM
from ...core.states import RunState
from ...engine.creating import runs_after, ties_of
from ...jobs.definition import JobDefinition, JobType, RoomWanted
from ...storage import slots
from ...storage.maintenance import rows as windows
from ...storage.maintenance.rows import Window
from ...storage.runs import create
from ...storage.runs.values import NewRun
from ...storage.ties.keys import keyed
from ...storage.ties.keys.wanted import expiry, unique_key
from .due_slots import ON_TIME, DueSlots


async def create_runs(
    connection: AsyncConnection, due: Sequence[tuple[JobDefinition, DueSlots]], now: datetime
) -> list[tuple[int, NewRun]]:
    """Create the runs of slots, and say that they are handled.

    Args:
        connection: A transaction in which the rows of these jobs in ``c_JobSchedule`` are locked.
        due: Jobs, each once, and what to do about their slots.
        now: The present instant.

    Returns:
        The runs that are to be submitted to the engine, in the same transaction, with their ids; and those that follow them are to be created.
    """
    careful = [job.name for job, item in due if item.run and job.overlap == "skip"]
    busy = await slots.busy_runs(connection, careful)
    closed = await windows.active(connection, now) if due else []
    jobs = [
        _JobSlots(job, item, busy.get(job.name, []), now, _skipping(job, closed))
        for job, item in due
    ]
    begun: list[tuple[int, NewRun]] = []
    while runs := [run for job in jobs for run in job.next_round()]:
        ids = await keyed.insert_slots(connection, runs, now)
        begun += [one for job in jobs for one in job.created(ids)]
    await slots.advance(connection, {job.name: item.last for job, item in due})
    return begun


class _JobSlots:
    """The slots of one job on their way.

    Args:
        job: The job.
        due: What to do about them.
        busy: The runs of the job that are in the way.
        now: The present instant.
        window: The maintenance window in which they are skipped, if they are.
    """

    def __init__(
        self,
        job: JobDefinition,
        due: DueSlots,
        busy: list[int],
        now: datetime,
        window: Window | None = None,
    ) -> None:
        self._job = job
        self._now = now
        self._window = window
        self._busy = busy
        self._missed = list(_missed(job, due))
        self._left = list(due.run)
        self._begun: list[NewRun] = []
        late = bool(due.run) and now - due.run[0] > ON_TIME
        catches_up = late and job.misfire == "run_all"
        self._careful = job.overlap == "skip" and not catches_up

    def next_round(self) -> list[NewRun]:
        """The rows that can be decided about now."""
        missed, self._missed = self._missed, []
        if not self._left:
            return missed
        if self._window is not None:
            note = f"maintenance: {self._window.reason}"
            skipped = [_run(self._job, slot, RunState.SKIPPED, note) for slot in self._left]
            self._left = []
            return missed + skipped
        room = (self._job.limit or 1) - len(self._busy) if self._careful else len(self._left)
        if room <= 0:
            skipped = [_skipped(self._job, slot, self._busy[0]) for slot in self._left]
            self._left = []
            return missed + skipped
        slots_begun, self._left = self._left[:room], self._left[room:]
        then = runs_after(self._job, str(SYSTEM), self._now)
        self._begun = [
            replace(_run(self._job, slot, RunState.ENQUEUED), then=then, ties=ties_of(then))
            for slot in slots_begun
        ]
        return missed + self._begun

    def created(self, ids: Mapping[create.Slot, int]) -> Iterator[tuple[int, NewRun]]:
        """Take note of the rows that are new, and have begun to wait."""
        for run in self._begun:
            run_id = ids.get((run.job_name, run.due_at))
            if run_id is not None:
                self._busy.append(run_id)
                yield run_id, run
        self._begun = []


def _skipping(job: JobDefinition, closed: Sequence[Window]) -> Window | None:
    """The window in which slots are skipped; those of other jobs have runs that wait for its end."""
    if job.misfire != "skip":
        return None
    return next((window for window in closed if window.covers(job.queue)), None)


def _missed(job: JobDefinition, due: DueSlots) -> Iterator[NewRun]:
    for index, slot in enumerate(due.missed):
        note = _missed_note(due) if index == 0 else "nobody could start it in time"
        yield _run(job, slot, RunState.MISSED, note)


def _run(
    job: JobDefinition,
    slot: datetime,
    state: RunState,
    note: str = "",
    blocked_by: int | None = None,
) -> NewRun:
    begins = state is RunState.ENQUEUED
    arguments_json = job.check({}) if begins else None
    room = job.room(arguments_json) if begins else RoomWanted(limit_key=None, weight=1)
    return NewRun(
        job_name=job.name,
        job_type=JobType.RECURRING,
        queue=job.queue,
        priority=job.priority,
        arguments_json=arguments_json,
        due_at=slot,
        scheduled_for=slot,
        triggered_by=str(SYSTEM),
        state=state,
        note=note,
        blocked_by=blocked_by,
        expires_at=expiry(job, slot) if begins else None,
        unique=unique_key(job, arguments_json) if begins else None,
        **room,
    )


def _skipped(job: JobDefinition, slot: datetime, blocker: int) -> NewRun:
    return _run(job, slot, RunState.SKIPPED, f"run {blocker} was still busy", blocker)


def _missed_note(due: DueSlots) -> str:
    note = "nobody could start it in time"
    if not due.earlier:
        return note
    count = f"{due.earlier}" if due.counted else f"at least {due.earlier}"
    return (
        f"{note}; so were {count} earlier slots"
        if count != "1"
        else f"{note}; so was 1 earlier slot"
    )
