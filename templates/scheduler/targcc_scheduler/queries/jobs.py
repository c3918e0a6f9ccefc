"""Every job with its recent runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.states import RunState
from ..jobs.definition import JobDefinition
from ..storage.owners import rows as owners
from ..storage.owners.values import Owner, Ownership
from . import runs, system
from .models import Pause, Run
from .next_run import next_run, schedule_words

RECENT = 24
"""How many runs of each job are looked at, and shown as a spark."""

_DECIDED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.MISSED, RunState.CANCELLED})
BAD = frozenset({RunState.FAILED, RunState.MISSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOverview:
    """A job with its recent runs, newest first."""

    definition: JobDefinition
    words: str
    pause: Pause | None
    next_run: datetime | None
    recent: tuple[Run, ...]
    ownership: Ownership | None = None

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
    def last(self) -> Run | None:
        """The newest run that has an outcome; skipped slots are none."""
        return next((run for run in self.recent if run.state in _DECIDED), None)

    @property
    def active(self) -> tuple[Run, ...]:
        """Its runs that are running or wait for another attempt."""
        states = {RunState.RUNNING, RunState.RETRYING}
        return tuple(run for run in self.recent if run.state in states)

    @property
    def success_rate(self) -> float | None:
        """The share of its recent runs that succeeded, of those that succeeded, failed or were missed."""
        outcomes = [run.state for run in self.recent if run.state in BAD | {RunState.SUCCEEDED}]
        return outcomes.count(RunState.SUCCEEDED) / len(outcomes) if outcomes else None

    @property
    def usual_duration(self) -> timedelta | None:
        """The median of its recent successful runs."""
        times = sorted(
            run.duration
            for run in self.recent
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
        for run in self.recent:
            if run.state in BAD:
                count += 1
            elif run.state in _DECIDED:
                break
        return count


async def job_overviews(
    connection: AsyncConnection, definitions: Iterable[JobDefinition], now: datetime
) -> tuple[JobOverview, ...]:
    """These jobs with their recent runs, in the order of their display names."""
    jobs = sorted(definitions, key=lambda job: job.display_name.casefold())
    paused = await system.pauses(connection, now)
    owned = await owners.load(connection)
    recent = await runs.recent_runs(connection, [job.name for job in jobs], RECENT)
    return tuple(
        JobOverview(
            definition=job,
            words=schedule_words(job),
            pause=paused.get(job.name),
            next_run=(
                next_run(job, now=now, pause=paused.get(job.name), recent=recent[job.name])
                if (one := owned.get(job.name)) is None or one.owner is Owner.NEW
                else None
            ),
            recent=recent[job.name],
            ownership=owned.get(job.name),
        )
        for job in jobs
    )


def open_arguments(definitions: Iterable[JobDefinition]) -> frozenset[str]:
    """The jobs whose arguments hold no secret, so that they may be searched."""
    return frozenset(job.name for job in definitions if not job.signature.secrets)


def display_names(definitions: Mapping[str, JobDefinition]) -> Callable[[str], str]:
    """A function that gives a job's display name, or its key when it is no longer in the code."""

    def display(name: str) -> str:
        definition = definitions.get(name)
        return definition.display_name if definition is not None else name

    return display
