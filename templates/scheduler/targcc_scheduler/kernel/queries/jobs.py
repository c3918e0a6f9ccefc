"""Jobs with their recent runs and next start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ...db.tables import job_run
from ...features.legacy import owners
from ...features.legacy.owners import Owner, Ownership
from ...schedules.intervals import AfterRunSchedule
from ...schedules.zones import parse_zone
from ..jobs.definition import JobDefinition
from ..node import slots
from . import runs, system
from .models import Pause, Run

# When a job runs next.


def next_run(
    definition: JobDefinition,
    *,
    now: datetime,
    pause: Pause | None,
    recent: Iterable[Run] = (),
    busy: bool = False,
) -> datetime | None:
    """When ``definition`` runs next by its schedule; ``None`` if it has none, has ended, or is paused with no end in sight.

    Args:
        definition: The job.
        now: The instant it is.
        pause: Whether it is paused.
        recent: Its last runs, newest first; a schedule that counts from the last run needs them.
        busy: Whether an older run goes on or waits; a schedule that counts from the last run waits for its end.
    """
    if definition.schedule is None or (pause is not None and pause.until is None):
        return None
    after = max(now, pause.until) if pause is not None and pause.until is not None else now
    if isinstance(definition.schedule, AfterRunSchedule):
        if busy or any(not run.final for run in recent):
            return None  # known when that run ends
        last = next((run for run in recent if run.completed_at is not None), None)
        if last is None or last.completed_at is None:
            return after
        started = last.started_at or last.completed_at
        due = definition.schedule.following(started, last.completed_at, definition.timezone)
        return None if due is None else max(due, after)
    return definition.schedule.next(after, parse_zone(definition.timezone))


def schedule_words(definition: JobDefinition) -> str:
    """When a job runs, in words; which jobs it follows is not for everybody to see."""
    if definition.schedule is not None:
        return definition.schedule.describe()
    if definition.after:
        return f"after {'another job' if len(definition.after) == 1 else 'other jobs'}"
    return "only when asked"


# Every job with its recent runs.

RECENT = 24
"""How many runs of each job are looked at, and shown as a spark."""

_DECIDED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.MISSED, RunState.CANCELLED})
BAD = frozenset({RunState.FAILED, RunState.MISSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOverview:
    """A job with its recent runs, newest first.

    Args:
        older: Runs with an outcome from before ``recent``, newest first, if ``recent`` holds fewer outcomes than runs.
    """

    definition: JobDefinition
    words: str
    pause: Pause | None
    next_run: datetime | None
    recent: tuple[Run, ...]
    ownership: Ownership | None = None
    older: tuple[Run, ...] = ()

    @property
    def owner(self) -> Owner:
        """Who runs it."""
        return self.ownership.owner if self.ownership is not None else Owner.NEW

    @property
    def elsewhere(self) -> Ownership | None:
        """Who says since when that the old server runs it; ``None``: it is run from here."""
        return self.ownership if self.owner is not Owner.NEW else None

    @property
    def name(self) -> str:
        """Its stable key."""
        return self.definition.name

    @property
    def outcomes(self) -> tuple[Run, ...]:
        """The newest runs that succeeded, failed, were missed or cancelled; runs that wait and skipped slots have no outcome."""
        every = (*(run for run in self.recent if run.state in _DECIDED), *self.older)
        return every[:RECENT]

    @property
    def last(self) -> Run | None:
        """The newest run that has an outcome."""
        return next(iter(self.outcomes), None)

    @property
    def recovered(self) -> bool:
        """Whether a run succeeded after the last failure or missed slot had ended."""
        ends = [run.happened_at for run in self.outcomes if run.state is RunState.SUCCEEDED]
        failures = [run.happened_at for run in self.outcomes if run.state in BAD]
        return bool(ends) and (not failures or max(ends) > max(failures))

    @property
    def active(self) -> tuple[Run, ...]:
        """Its runs that are running or wait for another attempt."""
        states = {RunState.RUNNING, RunState.RETRYING}
        return tuple(run for run in self.recent if run.state in states)

    @property
    def success_rate(self) -> float | None:
        """The share of successes in its newest outcomes, without cancelled runs."""
        outcomes = [run.state for run in self.outcomes if run.state is not RunState.CANCELLED]
        return outcomes.count(RunState.SUCCEEDED) / len(outcomes) if outcomes else None

    @property
    def usual_duration(self) -> timedelta | None:
        """The median of its recent successful runs."""
        times = sorted(
            run.duration
            for run in self.outcomes
            if run.state is RunState.SUCCEEDED and run.duration is not None
        )
        return times[len(times) // 2] if times else None

    @property
    def needs_attention(self) -> bool:
        """Whether its last outcome was bad: it failed, or its slot was missed."""
        return self.last is not None and self.last.state in BAD

    @property
    def failing_runs(self) -> int:
        """How many bad outcomes in a row it has had up to now."""
        count = 0
        for run in self.outcomes:
            if run.state not in BAD:
                break
            count += 1
        return count


async def job_overviews(
    connection: AsyncConnection, definitions: Iterable[JobDefinition], now: datetime
) -> tuple[JobOverview, ...]:
    """These jobs with their recent runs, in the order of their display names."""
    jobs = sorted(definitions, key=lambda job: job.display_name.casefold())
    paused = await system.pauses(connection, now)
    owned = await owners.load(connection)
    recent = await runs.recent_runs(connection, [job.name for job in jobs], RECENT)
    older = await _older_outcomes(connection, recent)
    after_runs = [job.name for job in jobs if isinstance(job.schedule, AfterRunSchedule)]
    busy = await slots.busy_runs(connection, after_runs)
    return tuple(
        JobOverview(
            definition=job,
            words=schedule_words(job),
            pause=paused.get(job.name),
            next_run=(
                next_run(
                    job,
                    now=now,
                    pause=paused.get(job.name),
                    recent=recent[job.name],
                    busy=bool(busy.get(job.name)),
                )
                if (one := owned.get(job.name)) is None or one.owner is Owner.NEW
                else None
            ),
            recent=recent[job.name],
            ownership=owned.get(job.name),
            older=older.get(job.name, ()),
        )
        for job in jobs
    )


async def _older_outcomes(
    connection: AsyncConnection, recent: Mapping[str, tuple[Run, ...]]
) -> dict[str, tuple[Run, ...]]:
    """Read the newest outcomes of jobs whose recent runs wait, run or were skipped; one index range a state."""
    names = [
        name
        for name, newest in recent.items()
        if len(newest) == RECENT and any(run.state not in _DECIDED for run in newest)
    ]
    read: dict[str, list[Run]] = {name: [] for name in names}
    for state in sorted(_DECIDED) if names else ():
        part = await runs.recent_runs(connection, names, RECENT, job_run.c.State == state)
        for name, newest in part.items():
            read[name] += [run for run in newest if run.id < recent[name][-1].id]
    return {name: tuple(sorted(part, key=lambda run: -run.id)) for name, part in read.items()}


def open_arguments(definitions: Iterable[JobDefinition]) -> frozenset[str]:
    """The jobs whose arguments hold no secret, so that they may be searched."""
    return frozenset(job.name for job in definitions if not job.signature.secrets)


def display_names(definitions: Mapping[str, JobDefinition]) -> Callable[[str], str]:
    """A function that gives a job's display name, or its key when it is no longer in the code."""

    def display(name: str) -> str:
        definition = definitions.get(name)
        return definition.display_name if definition is not None else name

    return display
