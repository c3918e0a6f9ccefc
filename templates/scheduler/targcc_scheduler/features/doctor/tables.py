"""Check the rows: nodes, waiting runs, retention, statistics, text index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.humanize import count, duration, listed
from ...core.numbers import CLOCK_OFF_MS
from ...core.secrets import SEALS
from ...core.states import UNBEGUN, WAITING, RunState
from ...db.dialects import known
from ...db.dialects.sqlite import CREATE_INDEX
from ...db.tables import job_alert, job_run, job_user, job_webhook, logged_job
from ...kernel import counts as kernel_counts
from ...kernel import job_owner as owners
from ...kernel import statistics as kernel_statistics
from ...kernel import text_index as index_keeper
from ...kernel.jobs.definition import JobDefinition
from ...kernel.node import slots
from ...kernel.queries import system
from ...kernel.queries.models import Server
from ...kernel.runs import retention
from ...schedules.intervals import AfterRunSchedule
from ...schedules.zones import parse_zone
from ...settings import Settings
from .findings import Finding, Level

# Checks of the rows. Each check takes a :class:`Look`. The function's name appears in messages about checks that fail to run.

_BEHIND = timedelta(days=2)
"""Tolerance in the retention check. Retention runs once a day, so rows older than the retention time plus this tolerance are overdue."""
_LATE = timedelta(minutes=10)
_LOOKED_AT = 1000
_SEALED: tuple[tuple[str, sa.Column[Any], tuple[sa.ColumnElement[bool], ...]], ...] = (
    ("the arguments", job_run.c.ArgumentsJson, (job_run.c.State.in_(sorted(UNBEGUN)),)),
    ("the addresses of webhooks", job_webhook.c.SealedJson, ()),
    ("the second factors", job_user.c.TotpSecret, ()),
)
"""Columns with encrypted values."""


@dataclass(frozen=True)
class Look:
    """Input for a check.

    Args:
        connection: A read-only connection.
        settings: The settings.
        jobs: The jobs in the code; empty if the jobs could not be imported.
        now: The current time by the database's clock.
    """

    connection: AsyncConnection
    settings: Settings
    jobs: Mapping[str, JobDefinition]
    now: datetime


async def clock(look: Look) -> list[Finding]:
    """Compare this machine's clock with the database's clock."""
    own = datetime.now(UTC)
    database_time = await known.of(look.connection).read_clock(look.connection)
    off = (own - database_time).total_seconds() if database_time is not None else 0.0
    if abs(off) * 1000 <= CLOCK_OFF_MS:
        return []
    way = "ahead of" if off > 0 else "behind"
    return [
        Finding(
            "warn",
            "clock",
            f"this machine's clock is {abs(off):.1f} s {way} the database's",
            "set it right (NTP); schedules follow the database's clock",
        )
    ]


async def nodes(look: Look) -> list[Finding]:
    """Check nodes: existence, heartbeats, reported trouble, releases."""
    servers = await system.read_servers(look.connection)
    if not servers:
        return [
            Finding(
                "warn", "nodes", "no node is up: nothing runs", "targcc serve, or targcc worker"
            )
        ]
    findings: list[Finding] = []
    for server in servers:
        name, silent = f"{server.name}:{server.process_id}", look.now - server.heartbeat_at
        if silent.total_seconds() > look.settings.lost_after_seconds:
            findings.append(
                Finding(
                    "fail",
                    "nodes",
                    f"node {name} has said nothing for {duration(silent)}",
                    "another node takes its runs over; if none is up, start one",
                )
            )
        if server.trouble:
            level: Level = "fail" if server.stuck_since is not None else "warn"
            advice = "targcc server list shows it; set clocks by NTP, and run what blocks with isolation: process"
            findings.append(Finding(level, "nodes", f"node {name}: {server.trouble}", advice))
    if not findings:
        names = listed([f"{server.name}:{server.process_id}" for server in servers], most=5)
        findings = [Finding("ok", "nodes", f"{count(len(servers), 'node')} up: {names}")]
    return [*findings, *_roles(servers), *await _releases(look.connection)]


def _roles(servers: Sequence[Server]) -> list[Finding]:
    """Name the active node and the standbys, on a database where one node at a time runs jobs."""
    if all(server.role is None for server in servers):
        return []
    names = {server.id: f"{server.name}:{server.process_id}" for server in servers}
    active = [names[server.id] for server in servers if server.role == "active"]
    waiting = [names[server.id] for server in servers if server.role == "standby"]
    if not active:
        message = f"no node is active: {listed(waiting, most=5)} {'stands' if len(waiting) == 1 else 'stand'} by"
        advice = "a standby takes over within seconds; if not, look at its log. A web process (serve --no-worker) is no standby"
        return [Finding("warn", "lease", message, advice)]
    standbys = f"standby: {listed(waiting, most=5)}" if waiting else "no standby"
    return [Finding("ok", "lease", f"the active node is {active[0]}; {standbys}")]


async def queues(look: Look) -> list[Finding]:
    """Find queues with jobs or waiting runs, but without a node that takes these runs."""
    lost = timedelta(seconds=look.settings.lost_after_seconds)
    up = [
        server
        for server in await system.read_servers(look.connection)
        if look.now - server.heartbeat_at <= lost and server.takes_runs
    ]
    if not up:
        return []
    taken = {queue for server in up for queue in server.queues}
    jobs: dict[str, list[str]] = {}
    for job in look.jobs.values():
        if job.queue not in taken:
            jobs.setdefault(job.queue, []).append(job.name)
    c = job_run.c
    waits = sa.select(c.Queue, sa.func.count()).where(c.State == RunState.ENQUEUED)
    waiting = {
        queue: number
        for queue, number in await look.connection.execute(waits.group_by(c.Queue))
        if queue not in taken
    }
    findings = []
    for queue in sorted({*jobs, *waiting}):
        about = [f"its jobs are {listed(sorted(jobs[queue]))}"] if queue in jobs else []
        if number := waiting.get(queue, 0):
            about.append(f"it holds {count(number, 'waiting run')}")
        message = f"no node takes runs of the queue {queue}: {'; '.join(about)}"
        advice = f"start a node that does: targcc worker --queues {queue}; or give the jobs a queue that one takes"
        findings.append(Finding("fail", "queues", message, advice))
    return findings


async def sealed(look: Look) -> list[Finding]:
    """Find encrypted values without a matching key in this process."""
    findings = []
    for what, column, where in _SEALED:
        texts = sa.select(column).where(column.like('%"$sealed"%'), *where)
        rows = (await look.connection.scalars(texts.limit(_LOOKED_AT))).all()
        closed = sum(not SEALS.opens(text) for text in rows)
        if closed:
            more = "at least " if len(rows) == _LOOKED_AT else ""
            reason = (
                "their key is not in TARGCC_SECRET_KEY here"
                if SEALS.keys
                else "TARGCC_SECRET_KEY is not set here"
            )
            findings.append(
                Finding(
                    "fail",
                    "secrets",
                    f"{what} of {more}{count(closed, 'row')} are encrypted, and {reason}",
                    "set TARGCC_SECRET_KEY to the key that encrypted them, on every node; several keys are separated by commas",
                )
            )
    return findings


async def _releases(connection: AsyncConnection) -> list[Finding]:
    up = [release for release in await system.releases(connection) if release.servers]
    if len(up) < 2:  # noqa: PLR2004 - one is what is wanted
        return []
    first = next((release.name for release in up if release.decides), "none of them")
    differ = [f"{release.name}: {line}" for release in up for line in release.differences]
    message = (
        f"nodes run different releases: {listed([release.name for release in up])}; {first} decides"
    )
    detail = f" ({listed(differ)})" if differ else ""
    return [Finding("warn", "releases", message + detail, "finish the deployment")]


async def unknown_runs(look: Look) -> list[Finding]:
    """Find runs that wait because no node knows their job or arguments."""
    c = job_run.c
    waiting = await look.connection.execute(
        sa.select(
            c.JobName, sa.func.count(), sa.func.min(c.UnknownSince, type_=c.UnknownSince.type)
        )
        .where(c.UnknownSince.is_not(None), c.State.in_(sorted(WAITING)))
        .group_by(c.JobName)
        .order_by(c.JobName)
    )
    return [
        Finding(
            "fail",
            "runs",
            f"{count(number, 'run')} of {job}: no node knows the job or its arguments since {since:%Y-%m-%d %H:%M} UTC",
            "start a node of the release that has it, or end them: targcc run fail ID",
        )
        for job, number, since in waiting
    ]


async def changes_of_sides(look: Look) -> list[Finding]:
    """Find jobs with an unfinished cut-over: neither the old server nor this scheduler runs the job."""
    return [
        Finding(
            "fail",
            "cut-over",
            f"{change.job} is on neither side: its change was begun at {change.since:%Y-%m-%d %H:%M} UTC and is not finished",
            f'repeat {change.step.command} --job "{change.job}"; targcc cutover status shows both sides',
        )
        for change in await owners.unfinished(look.connection, look.now)
        if change.step is not None
    ]


async def alert_rows(look: Look) -> list[Finding]:
    """Find rows of ``c_JobAlert`` with a reference to a secret. References are not resolved there, so these alerts cannot be sent."""
    c = job_alert.c
    rows = await look.connection.execute(
        sa.select(c.JobName, c.SlackWebhook, c.TeamsWebhook).order_by(c.JobName)
    )
    wrong = [name for name, *targets in rows if any(map(_is_reference, targets))]
    if not wrong:
        return []
    message = f"rows of c_JobAlert hold a reference to a secret, which is not looked up there: {listed(wrong)}"
    return [Finding("fail", "alerts", message, "write the address itself, or use @job(alerts=…)")]


def _is_reference(target: str | None) -> bool:
    return target is not None and ("${" in target or target.startswith("file:"))


async def schedules(look: Look) -> list[Finding]:
    """Find jobs with an overdue slot, and schedules whose job is not in the code."""
    rows = await slots.load(look.connection)
    findings = [
        Finding(
            "fail",
            "schedules",
            f"{job.name} was due at {due:%Y-%m-%d %H:%M} UTC, and nobody has handled that",
            "is a node up that schedules (targcc serve, or targcc worker) and knows this job?",
        )
        for job in look.jobs.values()
        if (due := _overdue(job, rows.get(job.name), look.now)) is not None
    ]
    gone = sorted(
        name
        for name, row in rows.items()
        if row.text and not row.text.startswith(slots.RENAMED) and name not in look.jobs
    )
    if gone and look.jobs and not look.settings.legacy_url:
        message = f"schedules of jobs that are not in this code: {listed(gone)}"
        advice = "nothing to do if they were removed or renamed, or if another release has them"
        findings.append(Finding("ok", "schedules", message, advice))
    return findings


def _overdue(job: JobDefinition, row: slots.ScheduleRow | None, now: datetime) -> datetime | None:
    if job.schedule is None or isinstance(job.schedule, AfterRunSchedule):
        return None
    if row is None or row.last_slot is None or row.is_paused(now):
        return None
    due = job.schedule.next(row.last_slot, parse_zone(job.timezone))
    return due if due is not None and due < now - _LATE else None


async def kept(look: Look) -> list[Finding]:
    """Check that retention keeps up."""
    c, settings = logged_job.c, look.settings
    oldest = await look.connection.scalar(
        sa.select(c.StartedAt).order_by(c.StartedAt, c.ID).limit(1)
    )
    kept_for = f"{count(settings.history_days, 'day')}, and the newest {settings.history_keep:,} of each job"
    message = (
        f"history is kept for {kept_for}; the oldest attempt is of {oldest:%Y-%m-%d}"
        if oldest
        else ""
    )
    before = look.now - timedelta(days=settings.history_days) - _BEHIND
    for what, table in (("runs", retention.RUNS), ("attempts", retention.HISTORY)):
        if late := await _may_go(look, table, before):
            return [
                Finding(
                    "warn",
                    "retention",
                    f"{what} from before {before:%Y-%m-%d} should be gone, but the oldest is of {late:%Y-%m-%d}",
                    "nodes prune once a day: is one up? Now: targcc prune",
                )
            ]
    return [Finding("ok", "retention", message)] if message else []


async def _may_go(look: Look, table: retention.Kept, before: datetime) -> datetime | None:
    """Return the time of the oldest row that retention should have removed, or ``None``. Reads at most 1,000 old rows."""
    old = await retention.old_rows(
        look.connection, table, before=before, after=None, most=_LOOKED_AT
    )
    borders: dict[str, int] = {}
    for row in old:
        if row.job not in borders:
            keep = look.settings.history_keep
            borders[row.job] = await retention.border(look.connection, table, row.job, keep)
        if row.key <= borders[row.job]:
            return row.at
    return None


async def statistics(look: Look) -> list[Finding]:
    """Check that the statistics include rows from an earlier release."""
    left = await kernel_statistics.left(look.connection)
    if not left:
        return []
    message = f"statistics lack about {count(left, 'row')} of an earlier release"
    return [
        Finding(
            "warn", "statistics", message, "nodes count them beside their work; now: targcc migrate"
        )
    ]


_WAYS_OUT = {
    "batch": "targcc doctor --repair counts its members again",
    "flow": "targcc flow rerun continues the flow once its runs are over",
    "the": "the pages show fewer runs than there were; look for a program that writes c_LoggedJob or c_JobStat",
    "limit": "nothing to do if the limit was lowered: it holds again once the runs are over",
}
"""Advice for a difference, by the first word of its subject."""


async def counts(look: Look) -> list[Finding]:
    """Compare stored counts with the rows that they count."""
    return [
        Finding("warn", "counts", str(item), _WAYS_OUT[item.subject.partition(" ")[0]])
        for item in await kernel_counts.differences(look.connection, look.now)
    ]


CHECKS = (
    clock,
    nodes,
    queues,
    sealed,
    unknown_runs,
    changes_of_sides,
    alert_rows,
    schedules,
    kept,
    statistics,
    counts,
)


# Check of the text index.


async def texts(look: Look) -> list[Finding]:
    """Check that the text index exists and covers runs from earlier releases."""
    texts_of_runs = known.of(look.connection).texts
    if not texts_of_runs.can_exist:
        message = "this database has no index of texts: searches of texts read run after run, until TARGCC_QUERY_SECONDS are over"
        return [Finding("ok", "search", message)]
    if not await texts_of_runs.is_there(look.connection):
        message = "this SQLite cannot index texts: searches read run after run, until TARGCC_QUERY_SECONDS are over"
        advice = f"use a Python with SQLite 3.34 or newer and FTS5; if that is not enough, create the index: {'; '.join(CREATE_INDEX)}"
        return [Finding("warn", "search", message, advice)]
    unseen = await index_keeper.unseen(look.connection)
    if unseen:
        first = int(await look.connection.scalar(sa.select(sa.func.min(job_run.c.Id))) or 0)
        left = count(max(unseen - first + 1, 0), "run")
        message = f"texts of about {left} of earlier releases are not indexed yet: searches read them one after the other"
        return [Finding("ok", "search", f"{message}; nodes go on with it")]
    return [Finding("ok", "search", "texts of runs are indexed")]
