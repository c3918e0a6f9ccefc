"""Explain why a job or a run does not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import humanize
from ...core.languages import gettext, ngettext, zone_of_reader
from ...core.pools import Pool, pool_of
from ...core.states import FINAL, UNBEGUN, RunState
from ...db import locks
from ...db.columns import UtcDateTime, elapsed
from ...db.dialects import known
from ...db.tables import job_limit, job_run, job_unique
from ...kernel import job_owner as owners
from ...kernel import limits
from ...kernel.feature import WhyNot, parts
from ...kernel.job_owner import Owner
from ...kernel.jobs.definition import JobDefinition
from ...kernel.jobs.discovery import BrokenModule
from ...kernel.jobs.option_values import shown
from ...kernel.limits import Capacity
from ...kernel.node import slots
from ...kernel.queries import chains, runs, system
from ...kernel.queries.jobs import next_run
from ...kernel.queries.models import Queue, Run, Server
from ...kernel.runs.values import IS_LIMIT, Tie
from ...project import current
from ...schedules.base import Schedule
from ...schedules.calendars import WorkingSchedule
from ...schedules.dst import clock_changes
from ...schedules.intervals import AfterRunSchedule, OnceSchedule
from ...schedules.zones import parse_zone
from . import calendar_reasons, sla
from .reasons import (
    Answer,
    Look,
    Reason,
    elsewhere,
    in_maintenance,
    is_able,
    is_alive,
    locked,
    no_able_server,
    of_final,
    stuck,
)

# Runs that wait for a worker: busy workers, their runs, and the runs ahead.

_SHOWN = 5


async def for_worker(look: Look, run: Run, servers: Sequence[Server]) -> Reason:
    """Explain why a run waits if only other runs block the run."""
    pool = pool_of(current().pools, run.queue)
    queues = (run.queue,) if pool is None else pool.queues
    workers_per_server = current().queues.get(run.queue, 1)
    workers = sum(
        workers_per_server
        for server in servers
        if is_able(server) and not set(queues).isdisjoint(server.queues)
    )
    run_ids = await running(look, job_run.c.Queue.in_(queues))
    if len(run_ids) < workers:
        return Reason("soon", gettext("Nothing blocks the run. A worker starts it in a moment."))
    busy = {"busy": len(run_ids), "workers": workers, "runs": named(run_ids)}
    if pool is None:
        text = gettext(
            "Waiting for a worker of queue %(queue)s (%(busy)s of %(workers)s busy: %(runs)s)",
            queue=run.queue,
            **busy,
        )
    else:
        text = _of_pool(pool, run, busy)
    ahead = await _ahead(look, run)
    text += (
        ngettext("; %(num)s run is ahead.", "; %(num)s runs are ahead.", ahead)
        if ahead
        else gettext("; this run is next.")
    )
    return Reason("busy", " ".join([text, *_age(look, run)]), tuple(run_ids))


def _of_pool(pool: Pool, run: Run, busy: dict[str, Any]) -> str:
    """Describe how a pool's queues share the workers."""
    text = gettext(
        "Waiting for a worker of pool %(pool)s (%(busy)s of %(workers)s busy: %(runs)s)",
        pool=pool.name,
        **busy,
    )
    if not pool.strict:
        return text + gettext(
            "; queue %(queue)s gets %(weight)s of %(total)s starts while all queues of the pool have work",
            queue=run.queue,
            weight=pool.weights[run.queue],
            total=sum(pool.weights.values()),
        )
    before = list(pool.queues[: pool.queues.index(run.queue)])
    if not before:
        return text
    return text + gettext(
        "; queues %(before)s go before %(queue)s",
        before=humanize.listed(before, _SHOWN),
        queue=run.queue,
    )


def _age(look: Look, run: Run) -> list[str]:
    """Describe how waiting raises a run's priority, if the queue has aging."""
    aging = current().queue_aging.get(run.queue)
    if aging is None:
        return []
    return [
        gettext(
            "The queue has aging: each %(time)s of waiting adds a point. The run has %(points)s points on top of its priority %(priority)s.",
            time=humanize.duration(aging),
            points=f"{max((look.now - run.due_at) / timedelta(seconds=aging), 0):.1f}",
            priority=run.priority,
        )
    ]


async def _ahead(look: Look, run: Run) -> int:
    """Count the runs ahead in the run's queue."""
    c, aging = job_run.c, current().queue_aging.get(run.queue)
    points: sa.ColumnElement[Any] = c.Priority
    own_points: Any = run.priority
    if aging is not None:
        points = c.Priority * aging - elapsed(sa.literal(run.due_at, UtcDateTime()), c.DueAt)
        own_points = run.priority * aging
    place = sa.or_(
        points > own_points,
        sa.and_(points == own_points, c.DueAt < run.due_at),
        sa.and_(points == own_points, c.DueAt == run.due_at, c.Id < run.id),
    )
    waits = sa.select(sa.func.count()).where(
        c.State == RunState.ENQUEUED, c.Queue == run.queue, place
    )
    return int(await look.connection.scalar(waits) or 0)


async def running(look: Look, where: sa.ColumnElement[bool]) -> list[int]:
    """Return the ids of running runs that match a condition."""
    c: Any = job_run.c
    query = sa.select(c.Id).where(c.State == RunState.RUNNING, where).order_by(c.Id)
    return list(await look.connection.scalars(query))


def named(ids: Sequence[int]) -> str:
    """Format run ids for a sentence."""
    return humanize.listed([gettext("run %(id)s", id=run_id) for run_id in ids], _SHOWN)


# Runs that wait for a unique key, a limit key's capacity, or a rate's token: the key's state and holders.

_WAITS = RunState.AWAITING, RunState.SCHEDULED
"""States in which a run waits for capacity, or for the next token."""


async def for_key(look: Look, run_id: int) -> list[Reason]:
    """Name the holder of the unique key that a run waits for; empty when the run waits for no unique key."""
    r, u, holder = job_run.c, job_unique.c, job_run.alias("holder")
    query = (
        sa.select(holder.c.Id, holder.c.JobName, r.State.label("mine"), r.DueAt)
        .select_from(job_run)
        .join(job_unique, sa.and_(u.JobName == r.JobName, u.UniqueKey == r.UniqueKey))
        .join(holder, holder.c.Id == u.RunId)
        .where(r.Id == run_id, r.LimitKey.is_not(None), sa.not_(IS_LIMIT))
    )
    row = (await look.connection.execute(query)).one_or_none()
    if row is None:
        return []
    who = {"id": row.Id, "job": row.JobName}
    if row.mine == RunState.AWAITING:
        text = gettext("Waiting for the unique key, held by run %(id)s (%(job)s).", **who)
    else:
        text = gettext(
            "Waiting for the unique key, held by run %(id)s (%(job)s) until %(when)s.",
            **who,
            when=look.at(row.DueAt),
        )
    return [Reason("unique", text, (row.Id,))]


async def for_token(look: Look, run_id: int) -> list[Reason]:
    """Return the reason if a run is due at the rate's next token; empty for any other run."""
    c: Any = job_run.c
    query = (
        sa.select(job_limit.c.LimitKey, job_limit.c.IntervalMs, c.DueAt)
        .select_from(job_run)
        .join(job_limit, sa.and_(job_limit.c.LimitKey == c.LimitKey, job_limit.c.WakeId == c.Id))
        .where(c.Id == run_id, c.State == RunState.SCHEDULED, job_limit.c.IntervalMs.is_not(None))
    )
    row = (await look.connection.execute(query)).one_or_none()
    return [] if row is None else [Reason("limit", _token(look, row, row.DueAt))]


def _token(look: Look, limit: Any, at: datetime, ahead: int = 0) -> str:
    """Describe the wait for a rate's token."""
    text = gettext(
        "Waiting for a token of %(key)s, one every %(interval)s",
        key=limit.LimitKey,
        interval=humanize.duration(limit.IntervalMs / 1000),
    )
    if ahead:
        text += ngettext("; %(num)s run is ahead", "; %(num)s runs are ahead", ahead, num=ahead)
    return text + gettext("; the next token for this run comes at %(when)s.", when=look.at(at))


async def for_capacity(look: Look, run_id: int) -> list[Reason]:
    """Explain why a waiting run gets no capacity or token; empty when the run has no limit or waits for another reason."""
    c: Any = job_run.c
    run = (
        await look.connection.execute(
            sa.select(c.Id, c.State, c.Ties, c.LimitKey, c.Weight, c.Priority, c.DueAt).where(
                c.Id == run_id, c.LimitKey.is_not(None)
            )
        )
    ).one_or_none()
    if run is None or not run.Ties & Tie.ASKS or run.State not in _WAITS:
        return []
    limit = (
        await look.connection.execute(
            sa.select(job_limit).where(job_limit.c.LimitKey == run.LimitKey)
        )
    ).one_or_none()
    if limit is None:
        return []
    under_way = sa.select(c.Id, c.Weight, c.State).where(
        c.LimitKey == run.LimitKey,
        limits.has_capacity(job_run),
        c.CompletedAt.is_(None),
    )
    taken = (await look.connection.execute(under_way.order_by(c.Id))).all()
    used = sum(row.Weight for row in taken)
    reasons = []
    if limit.Most is not None and taken and used + run.Weight > limit.Most:
        reasons.append(
            gettext(
                "Waiting for capacity: %(key)s has %(used)s of %(most)s in use: %(runs)s.",
                key=run.LimitKey,
                used=used,
                most=limit.Most,
                runs=humanize.listed([gettext("run %(id)s", id=row.Id) for row in taken], _SHOWN),
            )
        )
    if limit.IntervalMs is not None:
        terms = SimpleNamespace(
            Most=limit.Most,
            IntervalMs=limit.IntervalMs,
            Burst=limit.Burst,
            NextAt=limit.NextAt,
            taken=used,
        )
        unbegun = sum(row.State == RunState.ENQUEUED for row in taken)
        room = Capacity(terms, unbegun, look.now)
        ahead = await _keyed_ahead(look, run, limit.WakeId)
        if room.token_at is not None and room.tokens <= ahead:
            at = room.token_at + timedelta(milliseconds=limit.IntervalMs) * (
                ahead - max(int(room.tokens), 0)
            )
            reasons.append(_token(look, limit, at, ahead))
    return [Reason("limit", text, tuple(row.Id for row in taken)) for text in reasons]


async def _keyed_ahead(look: Look, run: Any, wake_id: int | None) -> int:
    """Count the key's runs that get capacity before a run: more urgent runs, and the run due at the next token."""
    c: Any = job_run.c
    before = sa.or_(
        c.Priority > run.Priority,
        sa.and_(c.Priority == run.Priority, c.DueAt < run.DueAt),
        sa.and_(c.Priority == run.Priority, c.DueAt == run.DueAt, c.Id < run.Id),
    )
    urgent = sa.and_(*limits.asks(job_run), before)
    is_woken = sa.and_(c.Id == wake_id, c.State == RunState.SCHEDULED)
    count = sa.select(sa.func.count()).where(
        c.LimitKey == run.LimitKey, c.Id != run.Id, sa.or_(urgent, is_woken)
    )
    return int(await look.connection.scalar(count) or 0)


# A job's next slot, or the reasons why no slot comes.


async def of_schedule(look: Look, job: JobDefinition) -> list[Reason]:
    """Return the reasons for a job's next slot, or for no slot; the decisive reason first."""
    owned = (await owners.load(look.connection, [job.name])).get(job.name)
    if owned is not None and owned.owner is not Owner.NEW:
        return [elsewhere(look, owned)]
    if job.schedule is None:
        return [Reason("no-schedule", _without_schedule(job))]
    pause = (await system.pauses(look.connection, look.now)).get(job.name)
    if pause is not None:
        held = look.paused(pause)
        text = gettext("The job is paused %(held)s. It can still be run by hand.", held=held)
        return [Reason("paused", text)]
    ended: Sequence[Run] = ()
    busy: Sequence[int] = ()
    if isinstance(job.schedule, AfterRunSchedule):
        has_ended = job_run.c.StartedAt.is_not(None), job_run.c.CompletedAt.is_not(None)
        ended = (await runs.recent_runs(look.connection, [job.name], 1, *has_ended))[job.name]
        busy = (await slots.busy_runs(look.connection, [job.name]))[job.name]
    coming = next_run(job, now=look.now, pause=None, recent=ended, busy=bool(busy))
    last = await _last_slot(look, job)
    before = await _overlaps(look, last)
    reasons = [*await _no_scheduler(look, job), *before, *_next_slot(look, job, coming, busy)]
    return [*reasons, *([] if before else last)]


async def _overlaps(look: Look, last: Sequence[Reason]) -> list[Reason]:
    """Keep the reason for a skipped slot while the blocking run is not over: the run also decides about the next slot."""
    reason = next((candidate for candidate in last if candidate.kind == "overlap"), None)
    blocker = None
    if reason is not None and len(reason.runs) > 1:
        blocker = await runs.get_run(look.connection, reason.runs[1])
    return [reason] if reason is not None and blocker is not None and not blocker.final else []


def _without_schedule(job: JobDefinition) -> str:
    """Explain when a job without a schedule runs; leave out the followed jobs' names, because not every viewer may see the names."""
    if job.after:
        return gettext(
            "The job has no schedule. It runs when the jobs before it have succeeded, or on request."
        )
    return gettext("The job has no schedule. It runs on request.")


async def _no_scheduler(look: Look, job: JobDefinition) -> list[Reason]:
    """Explain why no slot is handled: no server begins runs, or a slot is late although a server is up."""
    behind = await sla.late_slots(look.connection, [job], (), look.now)
    alive = [
        server for server in await system.read_servers(look.connection) if is_alive(look, server)
    ]
    if unable := no_able_server(look, alive):
        return unable
    if behind:
        text = gettext(
            "%(late)s: no server that is up creates runs.", late=humanize.sentence(behind[0].detail)
        )
        return [*await locked(look), Reason("late", text)]
    return []


def _next_slot(
    look: Look, job: JobDefinition, coming: datetime | None, busy: Sequence[int]
) -> list[Reason]:
    if coming is not None:
        own = parse_zone(job.timezone)
        text = gettext("The next slot is %(when)s.", when=look.at(coming))
        if own != look.zone:
            text = gettext(
                "The next slot is %(when)s, %(time)s in %(zone)s.",
                when=look.at(coming),
                time=humanize.clock(coming, look.now, own),
                zone=job.timezone,
            )
        calendar = calendar_reasons.reasons_of_slot(job, coming, look.now)
        return [Reason("next-slot", text), *calendar, *_clock_change(look, job, coming)]
    if isinstance(job.schedule, AfterRunSchedule):
        text = gettext("The next slot is counted from the end of the run.")
        return [Reason("after-run", text, tuple(busy))]
    if closed := list(calendar_reasons.closed_for_good(job, look.now)):
        return closed
    if isinstance(_alone(job.schedule), OnceSchedule):
        return [Reason("over", gettext("The only slot has passed."))]
    return [
        Reason(
            "dead-schedule",
            gettext(
                "The schedule %(schedule)s has no date that exists, such as 31 February.",
                schedule=job.schedule_text,
            ),
        )
    ]


def _alone(schedule: Schedule | None) -> Schedule | None:
    """Return a schedule without its calendars."""
    return schedule.base if isinstance(schedule, WorkingSchedule) else schedule


def _clock_change(look: Look, job: JobDefinition, coming: datetime) -> list[Reason]:
    """Explain a clock change between one day ago and the next slot."""
    zone = parse_zone(job.timezone)
    change = next(clock_changes(zone, look.now - timedelta(days=1), coming), None)
    if change is None:
        return []
    local = change.at.astimezone(zone)
    day = f"{humanize.weekday(local)} {humanize.day_and_month(local)}"
    if change.size > timedelta(0):
        text = gettext(
            "The clocks of %(zone)s change on %(day)s: one hour does not exist."
            " A fixed time in this hour runs at the first valid minute.",
            zone=job.timezone,
            day=day,
        )
    else:
        text = gettext(
            "The clocks of %(zone)s change on %(day)s: one hour occurs twice."
            " A fixed time in this hour runs once, the first time.",
            zone=job.timezone,
            day=day,
        )
    return [Reason("clock-change", text)]


async def _last_slot(look: Look, job: JobDefinition) -> list[Reason]:
    """Explain why the job's last slot was skipped or missed; empty if the slot had a run."""
    newest = await runs.recent_runs(
        look.connection, [job.name], 1, job_run.c.ScheduledFor.is_not(None)
    )
    last = next(iter(newest[job.name]), None)
    if last is None or last.state not in {RunState.SKIPPED, RunState.MISSED}:
        return []
    [reason] = of_final(look, last, job)
    slot = look.at(last.scheduled_for or last.due_at)
    text = gettext("Slot %(slot)s: %(reason)s", slot=slot, reason=reason.text)
    return [Reason(reason.kind, text, (last.id, *reason.runs))]


# Answers: reasons in plain sentences, the decisive reason first.

_OF_ALL_RUNS = frozenset(
    {"queue-paused", "maintenance", "no-server", "no-worker", "draining", "stuck-server"}
    | {"database-lock"}
)
"""Reason kinds that hold for a job and each run; an answer gives such a reason once."""
_BEFORE_SLOTS = frozenset(
    {"old-server", "paused", "no-server", "stuck-server", "database-lock", "late"}
)
_BY_RUNS = frozenset({"no-schedule", "after-run"})
"""Reason kinds for jobs without fixed slots; runs decide when such a job runs."""
_SOON = timedelta(seconds=2)
"""A worker takes an unblocked due run within this time."""


def _look(
    connection: AsyncConnection,
    definitions: Mapping[str, JobDefinition],
    now: datetime,
    lost_after: float,
) -> Look:
    zone = zone_of_reader(current().timezone)
    return Look(connection, definitions, now, zone, lost_after)


async def why_run(
    connection: AsyncConnection,
    run: Run,
    definitions: Mapping[str, JobDefinition],
    now: datetime,
    *,
    lost_after: float,
    broken: BrokenModule | None = None,
) -> Answer:
    """Explain a run's state; ``broken`` is the job's file if the import fails."""
    look = _look(connection, definitions, now, lost_after)
    before, after = await _of_features(look, run.job, run)
    reasons = (*before, *await _of_run(look, run), *_expires(look, run))
    if broken is not None and not run.final and run.job not in definitions:
        reasons = (_not_in_code(broken), *reasons)
    moved = calendar_reasons.reasons_of_run(definitions.get(run.job), run)
    return Answer(f"run {run.id}", (*reasons, *moved, *after))


async def _of_features(look: Look, job: str, run: Run | None) -> tuple[list[Reason], list[Reason]]:
    """Return the reasons of features: the reasons that come first, and the reasons that come last."""
    first: list[Reason] = []
    last: list[Reason] = []
    for feature, part in parts(WhyNot):
        sentences = await feature.load(part)(look.connection, job, run, look.now)
        (first if part.first else last).extend(Reason(feature.name, text) for text in sentences)
    return first, last


def _expires(look: Look, run: Run) -> list[Reason]:
    """Name the instant at which a run that has not begun expires."""
    if run.expires_at is None or run.attempt > 0 or run.state not in UNBEGUN:
        return []
    text = gettext(
        "The run expires %(when)s unless it starts before.", when=look.at(run.expires_at)
    )
    return [Reason("expires", text)]


async def barred(
    connection: AsyncConnection, subject: str, now: datetime, *, lost_after: float
) -> Answer | None:
    """Name the database locks if a lock blocks even readers; ``None``: tables can be read.

    The query reads no locked table.

    Args:
        connection: The connection for reads.
        subject: The job's name, or ``run 17``.
        now: The present instant.
        lost_after: Seconds without a heartbeat after which a server is lost.
    """
    if not known.of(connection).locks_readers:
        return None
    look = _look(connection, {}, now, lost_after)
    if not any(lock.is_total for lock in await locks.held(connection)):
        return None
    return Answer(subject, tuple(await locked(look)))


async def why_job(
    connection: AsyncConnection,
    name: str,
    definitions: Mapping[str, JobDefinition],
    now: datetime,
    *,
    lost_after: float,
    broken: BrokenModule | None = None,
) -> Answer:
    """Explain when a job runs next, or why no run comes.

    Args:
        connection: The connection for reads.
        name: The job's key.
        definitions: The jobs.
        now: The present instant.
        lost_after: Seconds without a heartbeat after which a server is lost.
        broken: The job's file if the import fails.
    """
    look = _look(connection, definitions, now, lost_after)
    first, last = await _of_features(look, name, None)
    reasons = await _of_job(look, name, broken)
    return Answer(name, (*first, *reasons, *last))


async def _of_job(look: Look, name: str, broken: BrokenModule | None) -> Sequence[Reason]:
    """Explain when a job runs next, or why no run comes, without the reasons of features."""
    definition = look.definitions.get(name)
    waits = await _first_waiting(look, name)
    if definition is None:
        return (_not_in_code(broken), *waits)
    schedule = _with_changes(await of_schedule(look, definition), _changed(look, definition))
    kinds = {reason.kind for reason in schedule}
    if not kinds & {"next-slot", *_BY_RUNS}:
        return (*schedule, *waits)
    servers = [
        server for server in await system.read_servers(look.connection) if is_alive(look, server)
    ]
    unable = no_able_server(look, servers, definition.queue) if servers else []
    held = [*unable, *_queue_closed(look, await _queue(look, definition.queue))]
    held = [reason for reason in held if reason not in schedule]
    known_kinds = {reason.kind for reason in (*held, *schedule)} & _OF_ALL_RUNS
    waits = [reason for reason in waits if reason.kind not in known_kinds]
    if kinds & _BY_RUNS:
        return (*held, *waits, *schedule)
    return (*held, *schedule, *waits)


def _with_changes(schedule: Sequence[Reason], changes: Sequence[Reason]) -> list[Reason]:
    """Insert schedule overrides before the reasons about slots, and after the reasons that keep every slot from running."""
    first = [reason for reason in schedule if reason.kind in _BEFORE_SLOTS]
    rest = [reason for reason in schedule if reason.kind not in _BEFORE_SLOTS]
    return [*first, *changes, *rest]


def _not_in_code(broken: BrokenModule | None) -> Reason:
    """Return the reason that the job is not in the code, or the import error of its file."""
    if broken is None:
        text = gettext("The job is no longer in the code. It gets no scheduled runs.")
        return Reason("not-in-code", text)
    text = gettext(
        "The file %(file)s cannot be imported: %(error)s. The job gets no scheduled runs until then.",
        file=broken.path or broken.module,
        error=broken.error.removesuffix("."),
    )
    return Reason("not-imported", text)


def _changed(look: Look, job: JobDefinition) -> list[Reason]:
    """Return a reason for each valid override of the job's schedule or time zone."""
    return [
        Reason(
            "override",
            gettext(
                "The %(field)s is %(shown)s instead of %(code)s in the code:"
                " changed by %(name)s %(when)s, reason: %(reason)s",
                field=override.field,
                shown=override.shown,
                code=shown(job.coded, override.field),
                name=humanize.who(override.by),
                when=look.at(override.at),
                reason=override.reason,
            )
            + (
                gettext("; until %(when)s.", when=look.at(override.until))
                if override.until
                else "."
            ),
        )
        for override in job.overrides
        if override.field in {"schedule", "timezone"} and not override.problem
    ]


async def _first_waiting(look: Look, name: str) -> list[Reason]:
    """Explain the state of the job's unfinished run with the earliest due time."""
    c = job_run.c
    result = await look.connection.execute(
        sa.select(c.Id)
        .where(c.JobName == name, c.State.in_(sorted(set(RunState) - FINAL)))
        .order_by(c.DueAt, c.Id)
        .limit(1)
    )
    run_id = result.scalar()
    run = None if run_id is None else await runs.get_run(look.connection, run_id)
    if run is None:
        return []
    reasons = await _of_run(look, run)
    return [
        Reason(
            reason.kind,
            gettext("Run %(id)s: %(reason)s", id=run.id, reason=reason.text),
            (run.id, *reason.runs),
        )
        for reason in reasons
    ]


async def _of_run(look: Look, run: Run) -> list[Reason]:
    if run.final:
        return of_final(look, run, look.definitions.get(run.job))
    if run.state is RunState.RUNNING:
        return [*await _lost(look, run), *_of_running(look, run)]
    owned = (await owners.load(look.connection, [run.job])).get(run.job)
    if owned is not None and owned.owner is not Owner.NEW:
        return [elsewhere(look, owned)]
    if run.state is RunState.AWAITING:
        for_keys = await for_key(look, run.id) or await for_capacity(look, run.id)
        return for_keys or [await _after_others(look, run)]
    if (later := _not_due(look, run)) is not None:
        for_keys = await for_key(look, run.id) or await for_token(look, run.id)
        return for_keys or [later]
    return await for_capacity(look, run.id) or await _in_its_way(look, run)


def _not_due(look: Look, run: Run) -> Reason | None:
    """Return the reason if a run waits for its due time or retry, else ``None``."""
    if run.state is RunState.RETRYING and run.due_at > look.now:
        text = gettext(
            "Waiting for the retry at %(when)s; attempt %(number)s failed",
            when=look.at(run.due_at),
            number=run.attempt,
        )
        message = humanize.last_line(run.message)
        return Reason("retry", text + (gettext(": %(said)s.", said=message) if message else "."))
    if run.state is RunState.SCHEDULED and run.due_at > look.now:
        return Reason("not-due", gettext("The run is due at %(when)s.", when=look.at(run.due_at)))
    return None


async def _after_others(look: Look, run: Run) -> Reason:
    """Name the dependencies that a run waits for: not over, or ended in a state that the run does not ask for."""
    job = look.definitions.get(run.job)
    every = await chains.parents(look.connection, run.id, job.after if job is not None else ())
    wanted = {"success": "succeeded", "failure": "failed"}
    waits = [
        parent for parent in every if parent.state is None or parent.state != wanted.get(parent.on)
    ]
    named = humanize.listed([_relative(parent) for parent in waits], _SHOWN)
    text = gettext("Waiting for other runs to end: %(runs)s.", runs=named)
    ids = [parent.id for parent in waits if parent.kind == "run" and parent.id is not None]
    return Reason("awaits", text, tuple(ids))


def _state_word(state: str | None) -> str:
    return humanize.STATE_WORDS[RunState(state)] if state in set(RunState) else state or ""


def _relative(relative: chains.Relative) -> str:
    if relative.id is None:
        return gettext("the next run of %(job)s", job=relative.job or "?")
    name = gettext("run %(id)s", id=relative.id)
    if relative.kind == "batch":
        name = gettext("batch %(name)s", name=str(relative.id))
    details = [part for part in (relative.job, _state_word(relative.state)) if part]
    if not details:
        return name
    return gettext("%(name)s (%(details)s)", name=name, details=", ".join(details))


async def _lost(look: Look, run: Run) -> list[Reason]:
    """Return the reason if a running run's server is silent or stuck."""
    servers = await system.read_servers(look.connection)
    server = next((candidate for candidate in servers if candidate.id == run.server), None)
    if server is None:
        return []
    if not is_alive(look, server):
        text = gettext(
            "Server %(name)s has not responded since %(when)s. Another server takes over its runs.",
            name=server.name,
            when=look.at(server.heartbeat_at),
        )
        return [Reason("lost-server", text)]
    return stuck(look, server) if server.stuck_since is not None else []


def _of_running(look: Look, run: Run) -> list[Reason]:
    text = gettext("Running, attempt %(number)s.", number=run.attempt)
    if run.server and run.started_at:
        text = gettext(
            "Running on %(server)s since %(when)s, attempt %(number)s.",
            server=run.server.partition(":")[0],
            when=look.at(run.started_at),
            number=run.attempt,
        )
    reasons = [Reason("running", text)]
    if run.cancel_requested_by:
        name = humanize.who(run.cancel_requested_by)
        text = gettext("%(name)s asked the run to stop. It is still running.", name=name)
        reasons.insert(0, Reason("stopping", text))
    return reasons


async def _in_its_way(look: Look, run: Run) -> list[Reason]:
    """Explain why a due run waits, the first obstacle first."""
    queue = await _queue(look, run.queue)
    servers = [
        server for server in await system.read_servers(look.connection) if is_alive(look, server)
    ]
    reasons = [
        *no_able_server(look, servers, run.queue),
        *_unknown(look, run),
        *_queue_closed(look, queue),
        *await _limited(look, run),
    ]
    if reasons:
        return reasons
    reason = await for_worker(look, run, servers)
    if reason.kind != "soon" or run.due_at > look.now - _SOON:
        return [reason]
    return await locked(look) or [reason]


async def _queue(look: Look, name: str) -> Queue:
    queues = await system.queues(look.connection, [name], look.now, lost_after=look.lost_after)
    return next(queue for queue in queues if queue.name == name)


def _unknown(look: Look, run: Run) -> list[Reason]:
    if run.unknown_since is None:
        return []
    refusals = "; ".join(
        f"{refusal.node} (release {refusal.release}): {refusal.why}" for refusal in run.refusals
    )
    text = gettext(
        "No server has been able to run it since %(when)s: %(asked)s.",
        when=look.at(run.unknown_since),
        asked=refusals or gettext("no server has been asked yet"),
    )
    return [Reason("unknown", text)]


def _queue_closed(look: Look, queue: Queue) -> list[Reason]:
    """Return the reasons that a queue is closed: maintenance or a pause."""
    reasons = [] if queue.maintenance is None else [in_maintenance(look, queue.maintenance)]
    if queue.pause is not None:
        held = look.paused(queue.pause)
        text = gettext("The queue %(queue)s is paused %(held)s.", queue=queue.name, held=held)
        reasons.append(Reason("queue-paused", text))
    return reasons


async def _limited(look: Look, run: Run) -> list[Reason]:
    """Return the reached limits on the job and the queue."""
    job = look.definitions.get(run.job)
    reasons = []
    job_runs = await running(look, job_run.c.JobName == run.job)
    if job is not None and job.limit is not None and len(job_runs) >= job.limit:
        what = f"concurrency {job.concurrency}" if job.concurrency else f"overlap {job.overlap}"
        text = ngettext(
            "The job has reached %(what)s: %(runs)s is running.",
            "The job has reached %(what)s: %(runs)s are running.",
            len(job_runs),
            what=what,
            runs=named(job_runs),
        )
        reasons.append(Reason("job-limit", text, tuple(job_runs)))
    limit = current().queue_limits.get(run.queue)
    if limit is not None:
        queue_runs = await running(look, job_run.c.Queue == run.queue)
        if len(queue_runs) >= limit:
            text = gettext(
                "The queue %(queue)s has reached its limit of %(limit)s on all servers: %(runs)s.",
                queue=run.queue,
                limit=limit,
                runs=named(queue_runs),
            )
            reasons.append(Reason("queue-limit", text, tuple(queue_runs)))
    return reasons
