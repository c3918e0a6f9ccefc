"""Read the Gantt chart of a time range: past attempts beside planned slots, grouped by queue and job.

``c_JobStat`` selects the jobs to draw, jobs with the most failed and missed runs first. An index then finds the attempts of each job.
Jobs with too many runs for bars are shown by their counts. So the cost depends on the size of the drawing, not on the number of
jobs and runs.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import RunState
from ...db.tables import job_run, job_schedule, job_stat
from ...kernel import job_owner as owners
from ...kernel.jobs.definition import JobDefinition
from ...kernel.queries import runs, system
from ...kernel.queries.jobs import BAD
from ...kernel.queries.sharing import Shared
from ...kernel.runs.values import QUARTER, quarter_of
from ...project import current
from ...schedules.intervals import AfterRunSchedule
from ...schedules.zones import parse_zone
from ..triage.sla import SLOT_GRACE
from .bars import (
    LONGEST,
    MOST_BARS,
    STATEMENTS_KEPT,
    Bar,
    Block,
    attempts_of,
    blocks_of,
    in_lanes,
    running_bar,
)
from .relatives import Chained, chained
from .upcoming import grouped, plan

MOST_ROWS = 60
"""Limit of jobs in a chart."""
MOST_DRAWN = 200
"""Limit of bars in a chart. Once the bars of the jobs so far would exceed this limit, a job is shown by its counts."""
LONGEST_RANGE = timedelta(days=2)
"""Limit of the range."""
_MOST_SLOTS = 60
_UNSEEN = (RunState.MISSED, RunState.SKIPPED, RunState.CANCELLED)

MarkKind = Literal["missed", "skipped", "cancelled", "late", "coming"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A slot without a bar: its outcome, or an upcoming slot. ``late`` is a due slot whose run has not started."""

    at: datetime
    kind: MarkKind
    run: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A job in the range of a Gantt chart.

    Args:
        number: Number of ended runs of the job.
        bad: Number of these runs that failed or were missed.
        bars: The job's attempts; empty when there are too many to draw.
        blocks: Run counts by time, instead of bars.
        lanes: Maximum number of simultaneous bars.
    """

    job: str
    queue: str
    number: int
    bad: int
    bars: tuple[Bar, ...] = ()
    marks: tuple[Mark, ...] = ()
    blocks: tuple[Block, ...] = ()
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class Group:
    """A queue with its jobs and the maximum number of their simultaneous bars. Jobs with counts instead of bars are not included in the maximum."""

    queue: str
    rows: tuple[Row, ...]
    peak: int
    peak_at: datetime | None
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gantt:
    """A time range with its attempts and upcoming slots.

    Args:
        number: Number of ended runs of all requested jobs.
        bad: Number of these runs that failed or were missed.
        chained: Groups of related bars.
        others: Number of jobs that are not drawn.
        others_number: Number of ended runs of these jobs.
    """

    since: datetime
    until: datetime
    now: datetime
    groups: tuple[Group, ...]
    chained: tuple[Chained, ...]
    number: int
    bad: int
    others: int
    others_number: int


async def gantt(
    connection: AsyncConnection,
    definitions: Iterable[JobDefinition],
    now: datetime,
    *,
    since: datetime,
    until: datetime,
    queue: str | None = None,
    job: str | None = None,
) -> Gantt:
    """Return the chart from ``since`` to ``until``.

    Args:
        connection: A connection to read with.
        definitions: The jobs.
        now: The current instant.
        since: Start of the range.
        until: End of the range, at most :data:`LONGEST_RANGE` later.
        queue: Show only this queue. Runs belong to the current queue of their job.
        job: Show only this job.
    """
    until = min(until, since + LONGEST_RANGE)
    jobs = {item.name: item for item in definitions if queue in (None, item.queue)}
    look = _Look(connection, jobs, now, since, until, job)
    ended, went_on = await look.counted()
    going = [
        item for item in await runs.running_runs(connection) if (item.started_at or now) < until
    ]
    known = ended.keys() | {run.job for run in going} | went_on
    if job is not None:
        known &= {job}
    elif queue is not None:
        known &= jobs.keys()
    busy = Counter(run.job for run in going)
    worst = heapq.nsmallest(
        MOST_ROWS,
        known,
        key=lambda name: (-_bad(ended.get(name)), -busy[name], -_of(ended, name), name),
    )
    chosen, marks = await look.with_slots(worst)
    few = _with_bars(chosen, ended)
    bars = await attempts_of(connection, few, since, until)
    for run in going:
        if run.job in bars:
            bars[run.job].append(running_bar(run))
    for name, slots in (await look.ended_unseen(few, ended)).items():
        marks[name] += slots
    counted = [name for name in chosen if name not in bars]
    blocks = await blocks_of(connection, counted, since, until)
    rows = [
        _row(name, jobs, ended.get(name), bars.get(name, []), marks[name], blocks[name])
        for name in chosen
    ]
    drawn = set(chosen)
    counts = {name: states for name, states in ended.items() if name in known}
    return Gantt(
        since=since,
        until=until,
        now=now,
        groups=_grouped(rows, now),
        chained=await chained(connection, [bar for row in rows for bar in row.bars]),
        number=sum(states.total() for states in counts.values()),
        bad=sum(_bad(states) for states in counts.values()),
        others=len(known - drawn),
        others_number=sum(states.total() for name, states in counts.items() if name not in drawn),
    )


def _bad(states: Counter[RunState] | None) -> int:
    return sum(states.get(state, 0) for state in BAD) if states else 0


def _with_bars(names: Iterable[str], ended: Mapping[str, Counter[RunState]]) -> list[str]:
    """Return the jobs with room for bars, in the given order."""
    jobs, room = [], MOST_DRAWN
    for name in names:
        number = _of(ended, name)
        if number <= min(room, MOST_BARS):
            jobs.append(name)
            room -= number
    return jobs


def _of(ended: Mapping[str, Counter[RunState]], name: str) -> int:
    return ended[name].total() if name in ended else 0


def _row(  # noqa: PLR0917 - the parts of a row
    name: str,
    jobs: Mapping[str, JobDefinition],
    ended: Counter[RunState] | None,
    bars: Sequence[Bar],
    marks: Sequence[Mark],
    blocks: Sequence[Block],
) -> Row:
    placed, lanes = in_lanes(bars)
    return Row(
        job=name,
        queue=jobs[name].queue if name in jobs else "",
        number=ended.total() if ended else 0,
        bad=_bad(ended),
        bars=placed,
        marks=tuple(sorted(marks, key=lambda mark: mark.at)),
        blocks=tuple(blocks),
        lanes=lanes,
    )


def _grouped(rows: Iterable[Row], now: datetime) -> tuple[Group, ...]:
    by_queue: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_queue[row.queue].append(row)
    limits = current().queue_limits
    return tuple(
        Group(queue, tuple(members), *_peak(members, now), limits.get(queue))
        for queue, members in sorted(by_queue.items(), key=lambda one: (not one[0], one[0]))
    )


def _peak(rows: Iterable[Row], now: datetime) -> tuple[int, datetime | None]:
    """Return the largest number of overlapping bars, and when it is first reached. Touching bars do not overlap."""
    moments = [
        moment
        for row in rows
        for bar in row.bars
        for moment in ((bar.start, 1), (max(bar.end or now, bar.start), -1))
    ]
    number, most, at = 0, 0, None
    for instant, step in sorted(moments, key=lambda one: (one[0], one[1])):
        number += step
        if number > most:
            most, at = number, instant
    return most, at


_COUNTED = Shared[tuple[dict[str, Counter[RunState]], set[str]]](
    lambda counted: sum(states.total() for states in counted[0].values())
)


@dataclass(frozen=True, slots=True)
class _Look:
    """Queries for one time range."""

    connection: AsyncConnection
    jobs: Mapping[str, JobDefinition]
    now: datetime
    since: datetime
    until: datetime
    job: str | None

    @property
    def _asked(self) -> list[sa.ColumnElement[bool]]:
        """Condition for the requested job, if any."""
        return [] if self.job is None else [job_stat.c.JobName == self.job]

    async def counted(self) -> tuple[dict[str, Counter[RunState]], set[str]]:
        """Return the results of :meth:`ended` and :meth:`went_on`; requests for all jobs share them for some seconds."""

        async def read() -> tuple[dict[str, Counter[RunState]], set[str]]:
            return await self.ended(), await self.went_on()

        if self.job is not None:
            return await read()
        key = quarter_of(self.since), quarter_of(self.until)
        return await _COUNTED.get(self.connection, key, self.now, read)

    async def ended(self) -> dict[str, Counter[RunState]]:
        """Count the ended runs of each job by state."""
        c = job_stat.c
        counts: dict[str, Counter[RunState]] = defaultdict(Counter)
        for name, state, number in await self.connection.execute(
            sa.select(c.JobName, c.Outcome, sa.func.sum(c.Count))
            .where(
                c.BeginsAt >= quarter_of(self.since),
                c.BeginsAt < self.until,
                c.Outcome != RunState.RETRYING,
                *self._asked,
            )
            .group_by(c.JobName, c.Outcome)
        ):
            counts[name][RunState(state)] += int(number)
        return counts

    async def went_on(self) -> set[str]:
        """Return jobs with a run that began before the range and may have ended within the range."""
        c = job_stat.c
        long = QUARTER // timedelta(milliseconds=1)
        rows = await self.connection.execute(
            sa.select(c.JobName, c.BeginsAt, sa.func.max(c.MaxMs))
            .where(c.BeginsAt >= self.since - LONGEST, c.BeginsAt < self.since, c.MaxMs >= long)
            .where(*self._asked)
            .group_by(c.JobName, c.BeginsAt)
        )
        return {
            name
            for name, begins_at, most in rows
            if begins_at + QUARTER + timedelta(milliseconds=most) >= self.since
        }

    async def with_slots(self, names: Sequence[str]) -> tuple[list[str], dict[str, list[Mark]]]:
        """Add jobs with a late or coming slot, while the chart has room. Return all jobs, and the slots of each job."""
        marks: dict[str, list[Mark]] = defaultdict(list)
        asleep = await self._asleep()
        room = MOST_ROWS - len(names)
        coming = await self._coming() if room and self.until > self.now else set()
        wanted = [name for name in self.jobs if self.job in (None, name)]
        first = sorted((name for name in wanted if name in coming), key=str.casefold)
        rest = wanted if len(wanted) <= 2 * MOST_ROWS else []
        more = [name for name in dict.fromkeys([*first, *rest]) if name not in set(names)]
        candidates, chosen = [*names, *more[: 2 * room]], list(names)
        handled = await self._handled(candidates)
        for name in candidates:
            if name in self.jobs and name not in asleep:
                marks[name] += self._slots(self.jobs[name], handled.get(name, self.now))
            if name not in chosen and marks[name] and len(chosen) < MOST_ROWS:
                chosen.append(name)
        return chosen, marks

    async def _asleep(self) -> set[str]:
        paused = await system.pauses(self.connection, self.now)
        return paused.keys() | (await owners.not_ours(self.connection)).keys()

    async def _coming(self) -> set[str]:
        jobs = grouped(self.jobs.values())
        coming = await plan(self.connection, jobs, self.now, start=self.since, end=self.until)
        return {name for minute in coming.minutes for name in minute.jobs} | coming.frequent.keys()

    async def _handled(self, names: Collection[str]) -> dict[str, datetime]:
        c = job_schedule.c
        rows = await self.connection.execute(
            sa.select(c.JobName, c.LastSlot).where(c.JobName.in_(names), c.LastSlot.is_not(None))
        )
        return {row.JobName: row.LastSlot for row in rows}

    def _slots(self, job: JobDefinition, handled: datetime) -> list[Mark]:
        """Return a job's slots after its last handled slot; an empty list if they are too many to draw."""
        if job.schedule is None or isinstance(job.schedule, AfterRunSchedule):
            return []
        after = max(self.since - timedelta(microseconds=1), handled)
        slots = itertools.takewhile(
            lambda slot: slot < self.until, job.schedule.iter(after, parse_zone(job.timezone))
        )
        instants = list(itertools.islice(slots, _MOST_SLOTS + 1))
        if len(instants) > _MOST_SLOTS:
            return []
        return [
            Mark(slot, "late" if slot + SLOT_GRACE <= self.now else "coming") for slot in instants
        ]

    async def ended_unseen(
        self, names: Iterable[str], ended: Mapping[str, Counter[RunState]]
    ) -> dict[str, list[Mark]]:
        """Return the slots that ended without an attempt: missed, skipped, cancelled."""
        some = [name for name in names if name in ended and any(map(ended[name].get, _UNSEEN))]
        marks: dict[str, list[Mark]] = defaultdict(list)
        if some:
            parameters = {f"job{n}": name for n, name in enumerate(some)}
            times = {"since": self.since, "until": self.until}
            rows = await self.connection.execute(_unseen(len(some)), parameters | times)
            for name, run, state, at in rows:
                marks[name].append(Mark(at, state, run))
        return marks


@lru_cache(maxsize=STATEMENTS_KEPT)
def _unseen(jobs: int) -> sa.Executable:
    """Build the statement for a number of jobs. Cached, as the statement of attempts is."""
    c = job_run.c
    parts = (
        sa.select(c.JobName, c.Id, c.State, c.ScheduledFor)
        .where(c.JobName == sa.bindparam(f"job{n}"))
        .where(c.ScheduledFor >= sa.bindparam("since"), c.ScheduledFor < sa.bindparam("until"))
        .where(c.State.in_(_UNSEEN), c.StartedAt.is_(None))
        .order_by(c.ScheduledFor.desc())
        .limit(MOST_BARS)
        .subquery()
        for n in range(jobs)
    )
    return sa.union_all(*(sa.select(part) for part in parts))
