"""Why a job or a run does not run, or what it waits for: in plain sentences, the one that decides first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import humanize
from ...core.languages.reader import gettext, ngettext, zone_of_reader
from ...core.states import FINAL, UNBEGUN, RunState
from ...jobs.definition import JobDefinition
from ...jobs.discovery import BrokenModule
from ...jobs.overrides.effective import shown
from ...project import current
from ...storage import locks
from ...storage.owners import rows as owners
from ...storage.owners.values import Owner
from ...storage.tables import job_run
from .. import runs, system
from ..following import family
from ..models import Queue, Run
from . import busy, calendars, keyed
from .reasons import (
    Answer,
    Look,
    Reason,
    elsewhere,
    in_maintenance,
    is_alive,
    locked,
    no_able_server,
    of_final,
    stuck,
)
from .slots import of_schedule

_SHOWN = 5
_OF_ALL_RUNS = frozenset(
    {"queue-paused", "maintenance", "no-server", "no-worker", "draining", "stuck-server"}
    | {"database-lock"}
)
"""Reasons that hold for a job and for each of its runs: they are given once."""
_BEFORE_SLOTS = frozenset(
    {"old-server", "paused", "no-server", "stuck-server", "database-lock", "late"}
)
_BY_RUNS = frozenset({"no-schedule", "after-run"})
"""Reasons of jobs whose runs, and no slots, decide when they run."""
_SOON = timedelta(seconds=2)
"""A worker takes a due run within this time, if nothing is in its way."""


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
    """Why a run is as it is; ``broken`` is the file of its job, if it cannot be imported."""
    look = _look(connection, definitions, now, lost_after)
    reasons = (*await _of_run(look, run), *_expires(look, run))
    if broken is not None and not run.final and run.job not in definitions:
        reasons = (_not_in_code(broken), *reasons)
    moved = calendars.reasons_of_run(definitions.get(run.job), run)
    return Answer(f"run {run.id}", (*reasons, *moved))


def _expires(look: Look, run: Run) -> list[Reason]:
    """Until when it has to begin."""
    if run.expires_at is None or run.attempt > 0 or run.state not in UNBEGUN:
        return []
    text = gettext(
        "It expires %(when)s, if it has not begun by then.", when=look.at(run.expires_at)
    )
    return [Reason("expires", text)]


async def barred(
    connection: AsyncConnection, subject: str, now: datetime, *, lost_after: float
) -> Answer | None:
    """Name a lock of the database that even readers wait for, without reading a locked table; ``None``: tables can be read.

    Args:
        connection: To read by.
        subject: The job's name, or ``run 17``.
        now: The instant it is.
        lost_after: After so many seconds without a heartbeat a server is lost.
    """
    if connection.dialect.name != "postgresql":
        return None
    look = _look(connection, {}, now, lost_after)
    if not any(one.is_total for one in await locks.held(connection)):
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
    """When a job runs next, or why it does not.

    Args:
        connection: To read by.
        name: The job's key.
        definitions: The jobs.
        now: The instant it is.
        lost_after: After so many seconds without a heartbeat a server is lost.
        broken: The file of the job, if it cannot be imported.
    """
    look = _look(connection, definitions, now, lost_after)
    definition = definitions.get(name)
    waits = await _first_waiting(look, name)
    if definition is None:
        return Answer(name, (_not_in_code(broken), *waits))
    schedule = _with_changes(await of_schedule(look, definition), _changed(look, definition))
    kinds = {reason.kind for reason in schedule}
    if not kinds & {"next-slot", *_BY_RUNS}:
        return Answer(name, (*schedule, *waits))
    servers = [one for one in await system.servers(look.connection) if is_alive(look, one)]
    unable = no_able_server(look, servers, definition.queue) if servers else []
    held = [*unable, *_queue_closed(look, await _queue(look, definition.queue))]
    held = [reason for reason in held if reason not in schedule]
    told = {reason.kind for reason in (*held, *schedule)} & _OF_ALL_RUNS
    waits = [reason for reason in waits if reason.kind not in told]
    if kinds & _BY_RUNS:
        return Answer(name, (*held, *waits, *schedule))
    return Answer(name, (*held, *schedule, *waits))


def _with_changes(schedule: Sequence[Reason], changes: Sequence[Reason]) -> list[Reason]:
    """Put the overrides of a schedule before the slots that they make, and after the reasons for which no slot counts."""
    first = [reason for reason in schedule if reason.kind in _BEFORE_SLOTS]
    rest = [reason for reason in schedule if reason.kind not in _BEFORE_SLOTS]
    return [*first, *changes, *rest]


def _not_in_code(broken: BrokenModule | None) -> Reason:
    """Say that no server has the job, and with which error its file fails."""
    if broken is None:
        text = gettext("It is not in the code any more: no run of it comes by itself.")
        return Reason("not-in-code", text)
    text = gettext(
        "Its file %(file)s cannot be imported: %(error)s. No run of it comes by itself until it can.",
        file=broken.path or broken.module,
        error=broken.error.removesuffix("."),
    )
    return Reason("not-imported", text)


def _changed(look: Look, job: JobDefinition) -> list[Reason]:
    """That its schedule is not the one in the code."""
    return [
        Reason(
            "override",
            gettext(
                "Its %(field)s is %(shown)s and not the code's %(code)s:"
                " changed by %(name)s %(when)s because: %(reason)s",
                field=one.field,
                shown=one.shown,
                code=shown(job.coded, one.field),
                name=humanize.who(one.by),
                when=look.at(one.at),
                reason=one.reason,
            )
            + (gettext("; until %(when)s.", when=look.at(one.until)) if one.until else "."),
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
    return [
        Reason(
            one.kind,
            gettext("Run %(id)s: %(reason)s", id=run.id, reason=one.text),
            (run.id, *one.runs),
        )
        for one in reasons
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
        for_keys = await keyed.for_key(look, run.id) or await keyed.for_room(look, run.id)
        return for_keys or [await _after_others(look, run)]
    if (later := _not_due(look, run)) is not None:
        for_keys = await keyed.for_key(look, run.id) or await keyed.for_token(look, run.id)
        return for_keys or [later]
    return await keyed.for_room(look, run.id) or await _in_its_way(look, run)


def _not_due(look: Look, run: Run) -> Reason | None:
    """That its time has not come."""
    if run.state is RunState.RETRYING and run.due_at > look.now:
        text = gettext(
            "It waits for its retry at %(when)s; attempt %(number)s failed",
            when=look.at(run.due_at),
            number=run.attempt,
        )
        said = humanize.last_line(run.message)
        return Reason("retry", text + (gettext(": %(said)s.", said=said) if said else "."))
    if run.state is RunState.SCHEDULED and run.due_at > look.now:
        return Reason("not-due", gettext("It is due at %(when)s.", when=look.at(run.due_at)))
    return None


async def _after_others(look: Look, run: Run) -> Reason:
    """That it waits for other runs: those that are not over, or that did not end as it asks."""
    job = look.definitions.get(run.job)
    every = await family.parents(look.connection, run.id, job.after if job is not None else ())
    wanted = {"success": "succeeded", "failure": "failed"}
    waits = [one for one in every if one.state is None or one.state != wanted.get(one.on)]
    named = humanize.listed([_relative(one) for one in waits], _SHOWN)
    text = gettext("It waits for others to end: %(runs)s.", runs=named)
    ids = [one.id for one in waits if one.kind == "run" and one.id is not None]
    return Reason("awaits", text, tuple(ids))


def _relative(one: family.Relative) -> str:
    if one.id is None:
        return gettext("the next run of %(job)s", job=one.job or "?")
    said = [part for part in (one.job, one.state) if part]
    return f"{one.kind} {one.id} ({', '.join(said)})" if said else f"{one.kind} {one.id}"


async def _lost(look: Look, run: Run) -> list[Reason]:
    """Say that the server of a running run is silent, or stuck."""
    servers = await system.servers(look.connection)
    server = next((one for one in servers if one.id == run.server), None)
    if server is None:
        return []
    if not is_alive(look, server):
        text = gettext(
            "Server %(name)s has said nothing since %(when)s: another server takes its runs over.",
            name=server.name,
            when=look.at(server.heartbeat_at),
        )
        return [Reason("lost-server", text)]
    return stuck(look, server) if server.stuck_since is not None else []


def _of_running(look: Look, run: Run) -> list[Reason]:
    text = gettext("It runs, attempt %(number)s.", number=run.attempt)
    if run.server and run.started_at:
        text = gettext(
            "It runs on %(server)s since %(when)s, attempt %(number)s.",
            server=run.server.partition(":")[0],
            when=look.at(run.started_at),
            number=run.attempt,
        )
    reasons = [Reason("running", text)]
    if run.cancel_requested_by:
        name = humanize.who(run.cancel_requested_by)
        text = gettext("%(name)s asked it to stop, and it has not yet.", name=name)
        reasons.insert(0, Reason("stopping", text))
    return reasons


async def _in_its_way(look: Look, run: Run) -> list[Reason]:
    """What a due run waits for, the first thing that holds it up first."""
    queue = await _queue(look, run.queue)
    servers = [one for one in await system.servers(look.connection) if is_alive(look, one)]
    reasons = [
        *no_able_server(look, servers, run.queue),
        *_unknown(look, run),
        *_queue_closed(look, queue),
        *await _limited(look, run),
    ]
    if reasons:
        return reasons
    reason = await busy.for_worker(look, run, servers)
    if reason.kind != "soon" or run.due_at > look.now - _SOON:
        return [reason]
    return await locked(look) or [reason]


async def _queue(look: Look, name: str) -> Queue:
    queues = await system.queues(look.connection, [name], look.now, lost_after=look.lost_after)
    return next(one for one in queues if one.name == name)


def _unknown(look: Look, run: Run) -> list[Reason]:
    if run.unknown_since is None:
        return []
    asked = "; ".join(f"{one.node} (release {one.release}): {one.why}" for one in run.refusals)
    text = gettext(
        "No server has known it since %(when)s: %(asked)s.",
        when=look.at(run.unknown_since),
        asked=asked or gettext("none was asked yet"),
    )
    return [Reason("unknown", text)]


def _queue_closed(look: Look, queue: Queue) -> list[Reason]:
    """That no run of a queue starts: it is in maintenance, or paused."""
    found = [] if queue.maintenance is None else [in_maintenance(look, queue.maintenance)]
    if queue.pause is not None:
        held = look.paused(queue.pause)
        text = gettext("Its queue %(queue)s is paused %(held)s.", queue=queue.name, held=held)
        found.append(Reason("queue-paused", text))
    return found


async def _limited(look: Look, run: Run) -> list[Reason]:
    """Limits of the job and the queue that are reached."""
    job = look.definitions.get(run.job)
    found = []
    mine = await busy.running(look, job_run.c.JobName == run.job)
    if job is not None and job.limit is not None and len(mine) >= job.limit:
        what = f"concurrency {job.concurrency}" if job.concurrency else f"overlap {job.overlap}"
        text = ngettext(
            "It is limited by %(what)s of its job: %(runs)s runs already.",
            "It is limited by %(what)s of its job: %(runs)s run already.",
            len(mine),
            what=what,
            runs=busy.named(mine),
        )
        found.append(Reason("job-limit", text, tuple(mine)))
    limit = current().queue_limits.get(run.queue)
    if limit is not None:
        there = await busy.running(look, job_run.c.Queue == run.queue)
        if len(there) >= limit:
            text = gettext(
                "The queue %(queue)s is limited to %(limit)s at once on all servers: %(runs)s.",
                queue=run.queue,
                limit=limit,
                runs=busy.named(there),
            )
            found.append(Reason("queue-limit", text, tuple(there)))
    return found
