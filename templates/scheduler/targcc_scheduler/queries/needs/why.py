"""Why a job or a run does not run, or what it waits for: in plain sentences, the one that decides first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import humanize
from ...core.states import FINAL, RunState
from ...jobs.definition import JobDefinition
from ...jobs.overrides.effective import shown
from ...project import current
from ...schedules import parse_zone
from ...storage.owners import rows as owners
from ...storage.owners.values import Owner
from ...storage.tables import job_run
from .. import runs, system
from ..models import Queue, Run, Server
from . import calendars
from .reasons import Answer, Look, Reason, elsewhere, in_maintenance, is_alive, of_final
from .slots import of_schedule

_SHOWN = 5
_CLOSED = {"queue-paused", "maintenance"}


def _look(
    connection: AsyncConnection,
    definitions: Mapping[str, JobDefinition],
    now: datetime,
    lost_after: float,
) -> Look:
    zone = parse_zone(current().timezone)
    return Look(connection, definitions, now, zone, lost_after)


async def why_run(
    connection: AsyncConnection,
    run: Run,
    definitions: Mapping[str, JobDefinition],
    now: datetime,
    *,
    lost_after: float,
) -> Answer:
    """Why a run is as it is."""
    look = _look(connection, definitions, now, lost_after)
    moved = calendars.reasons_of_run(definitions.get(run.job), run)
    return Answer(f"run {run.id}", (*await _of_run(look, run), *moved))


async def why_job(
    connection: AsyncConnection,
    name: str,
    definitions: Mapping[str, JobDefinition],
    now: datetime,
    *,
    lost_after: float,
) -> Answer:
    """When a job runs next, or why it does not."""
    look = _look(connection, definitions, now, lost_after)
    definition = definitions.get(name)
    waits = await _first_waiting(look, name)
    if definition is None:
        gone = Reason(
            "not-in-code", "It is not in the code any more: no run of it comes by itself."
        )
        return Answer(name, (gone, *waits))
    schedule = [*await of_schedule(look, definition), *_changed(look, definition)]
    if schedule[0].kind != "next-slot":
        return Answer(name, (*schedule, *waits))
    held = _queue_closed(look, await _queue(look, definition.queue))
    if held:
        waits = [reason for reason in waits if reason.kind not in _CLOSED]
    return Answer(name, (*held, *schedule, *waits))


def _changed(look: Look, job: JobDefinition) -> list[Reason]:
    """That its schedule is not the one in the code."""
    return [
        Reason(
            "override",
            f"Its {one.field} is {one.shown} and not the code's {shown(job.coded, one.field)}: changed by"
            f" {humanize.who(one.by)} {look.at(one.at)} because: {one.reason}"
            f"{f'; until {look.at(one.until)}' if one.until else ''}.",
        )
        for one in job.overrides
        if one.field in {"schedule", "timezone"} and not one.problem
    ]


async def _first_waiting(look: Look, name: str) -> list[Reason]:
    """Why the first of its runs that wait does."""
    c = job_run.c
    found = await look.connection.execute(
        sa.select(c.Id)
        .where(c.JobName == name, c.State.in_(sorted(set(RunState) - FINAL)))
        .order_by(c.DueAt, c.Id)
        .limit(1)
    )
    run_id = found.scalar()
    run = None if run_id is None else await runs.get_run(look.connection, run_id)
    if run is None:
        return []
    reasons = await _of_run(look, run)
    return [Reason(one.kind, f"Run {run.id}: {one.text}", (run.id, *one.runs)) for one in reasons]


async def _of_run(look: Look, run: Run) -> list[Reason]:
    if run.final:
        return of_final(look, run, look.definitions.get(run.job))
    if run.state is RunState.RUNNING:
        return _of_running(look, run)
    owned = (await owners.load(look.connection, [run.job])).get(run.job)
    if owned is not None and owned.owner is not Owner.NEW:
        return [elsewhere(look, owned)]
    if run.state is RunState.RETRYING and run.due_at > look.now:
        said = f": {humanize.last_line(run.message)}" if run.message else ""
        text = (
            f"It waits for its retry at {look.at(run.due_at)}; attempt {run.attempt} failed{said}."
        )
        return [Reason("retry", text)]
    if run.state is RunState.SCHEDULED and run.due_at > look.now:
        return [Reason("not-due", f"It is due at {look.at(run.due_at)}.")]
    return await _in_its_way(look, run)


def _of_running(look: Look, run: Run) -> list[Reason]:
    where = f" on {run.server.partition(':')[0]}" if run.server else ""
    since = f" since {look.at(run.started_at)}" if run.started_at else ""
    reasons = [Reason("running", f"It runs{where}{since}, attempt {run.attempt}.")]
    if run.cancel_requested_by:
        text = f"{humanize.who(run.cancel_requested_by)} asked it to stop, and it has not yet."
        reasons.insert(0, Reason("stopping", text))
    return reasons


async def _in_its_way(look: Look, run: Run) -> list[Reason]:
    """What a due run waits for, the first thing that holds it up first."""
    queue = await _queue(look, run.queue)
    servers = [one for one in await system.servers(look.connection) if is_alive(look, one)]
    reasons = [
        *_unknown(look, run),
        *_queue_closed(look, queue),
        *await _limited(look, run),
        *_no_server(run, servers),
    ]
    if reasons:
        return reasons
    return [await _busy(look, run, queue, servers)]


async def _queue(look: Look, name: str) -> Queue:
    queues = await system.queues(look.connection, [name], look.now)
    return next(one for one in queues if one.name == name)


def _unknown(look: Look, run: Run) -> list[Reason]:
    if run.unknown_since is None:
        return []
    asked = "; ".join(f"{one.node} (release {one.release}): {one.why}" for one in run.refusals)
    text = f"No server has known it since {look.at(run.unknown_since)}: {asked or 'none was asked yet'}."
    return [Reason("unknown", text)]


def _queue_closed(look: Look, queue: Queue) -> list[Reason]:
    """That no run of a queue starts: it is in maintenance, or paused."""
    found = [] if queue.maintenance is None else [in_maintenance(look, queue.maintenance)]
    if queue.pause is not None:
        text = f"Its queue {queue.name} is paused {look.paused(queue.pause)}."
        found.append(Reason("queue-paused", text))
    return found


async def _limited(look: Look, run: Run) -> list[Reason]:
    """Limits of the job and the queue that are reached."""
    job = look.definitions.get(run.job)
    found = []
    mine = await _running(look, job_run.c.JobName == run.job)
    if job is not None and job.limit is not None and len(mine) >= job.limit:
        what = f"concurrency {job.concurrency}" if job.concurrency else f"overlap {job.overlap}"
        text = f"It is limited by {what} of its job: {_named(mine)} {_run(mine)} already."
        found.append(Reason("job-limit", text, tuple(mine)))
    limit = current().queue_limits.get(run.queue)
    if limit is not None:
        there = await _running(look, job_run.c.Queue == run.queue)
        if len(there) >= limit:
            text = f"The queue {run.queue} is limited to {limit} at once on all servers: {_named(there)}."
            found.append(Reason("queue-limit", text, tuple(there)))
    return found


def _no_server(run: Run, servers: Sequence[Server]) -> list[Reason]:
    if not servers:
        return [Reason("no-server", "No server is up: nothing runs until one is (targcc worker).")]
    theirs = [one for one in servers if run.queue in one.queues]
    if not theirs:
        named = humanize.listed([one.name for one in servers])
        return [
            Reason("no-worker", f"No server takes runs of the queue {run.queue}: {named} do not.")
        ]
    if not any(one.takes_runs for one in theirs):
        return [
            Reason("draining", f"The servers of the queue {run.queue} are stopping or drained.")
        ]
    return []


async def _busy(look: Look, run: Run, queue: Queue, servers: Sequence[Server]) -> Reason:
    workers = sum(
        current().queues.get(queue.name, 1)
        for one in servers
        if queue.name in one.queues and one.takes_runs
    )
    there = await _running(look, job_run.c.Queue == queue.name)
    if len(there) < workers:
        return Reason("soon", "Nothing is in its way: a worker takes it in a moment.")
    ahead = await _ahead(look, run)
    goes = "goes" if ahead == 1 else "go"
    first = f"; {humanize.count(ahead, 'run')} {goes} before it" if ahead else "; it is the next"
    text = f"It waits for a worker of queue {queue.name} ({len(there)} of {workers} busy: {_named(there)}){first}."
    return Reason("busy", text, tuple(there))


async def _ahead(look: Look, run: Run) -> int:
    """How many runs of its queue go before it."""
    c = job_run.c
    place = sa.or_(
        c.Priority > run.priority,
        sa.and_(c.Priority == run.priority, c.DueAt < run.due_at),
        sa.and_(c.Priority == run.priority, c.DueAt == run.due_at, c.Id < run.id),
    )
    waits = sa.select(sa.func.count()).where(
        c.State == RunState.ENQUEUED, c.Queue == run.queue, place
    )
    return int(await look.connection.scalar(waits) or 0)


async def _running(look: Look, where: sa.ColumnElement[bool]) -> list[int]:
    c: Any = job_run.c
    found = sa.select(c.Id).where(c.State == RunState.RUNNING, where).order_by(c.Id)
    return list(await look.connection.scalars(found))


def _named(ids: Sequence[int]) -> str:
    return humanize.listed([f"run {one}" for one in ids], _SHOWN)


def _run(ids: Sequence[int]) -> str:
    return "runs" if len(ids) == 1 else "run"
