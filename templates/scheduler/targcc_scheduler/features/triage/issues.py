"""Current issues, worst first. The overview is green when no issue exists."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import humanize
from ...core.actor import SYSTEM
from ...core.languages import gettext, ngettext
from ...db.tables import job_concern
from ...kernel import error_groups
from ...kernel import job_owner as owners
from ...kernel import pauses as calendar_model
from ...kernel.job_owner import Ownership
from ...kernel.jobs.chains import chains
from ...kernel.jobs.definition import JobDefinition
from ...kernel.pauses import Window
from ...kernel.queries import system
from ...kernel.queries.models import Pause, Queue, Server
from . import sla
from .inbox import MOST_GROUPS, ErrorGroup, described, first_groups, groups

Kind = Literal[
    "no-server",
    "slot",
    "node",
    "unfinished",
    "must_finish_by",
    "must_start_within",
    "at_least",
    "failure",
    "queue",
    "alert",
    "unknown",
    "paused-queue",
    "paused-job",
    "maintenance",
]
"""Kinds of issues, worst first."""
_WORST_FIRST: tuple[Kind, ...] = get_args(Kind)
_WARNINGS = frozenset({"unknown", "paused-queue", "paused-job", "maintenance"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """Current issue.

    Args:
        kind: The kind of the issue.
        subject: The job, queue or node; for a failure the error group's key.
        title: A few words that begin a sentence: ``Import failed 207 times``.
        detail: More detail, in one line.
        since: Start of the issue.
        serious: Whether a part is broken; false while work only waits.
        number: Number of affected runs.
        can_be_seen: Whether the issue stays listed until a person marks the issue as seen.
    """

    kind: Kind
    subject: str
    title: str
    detail: str
    since: datetime | None = None
    serious: bool = True
    number: int = 1
    can_be_seen: bool = False


async def issues(
    connection: AsyncConnection,
    definitions: Iterable[JobDefinition],
    now: datetime,
    *,
    lost_after: float,
    failures: Iterable[ErrorGroup] | None = None,
) -> tuple[Issue, ...]:
    """Return all current issues, worst first. Pass ``failures`` if the inbox was read already."""
    jobs = list(definitions)
    if failures is None:
        failures = await described(connection, await groups(connection, now), now)
    failed = _failures(failures, _names(jobs), _places(jobs))
    others = await besides_failures(connection, jobs, now, lost_after=lost_after)
    return _in_order([*failed, *others])


async def worst_issues(
    connection: AsyncConnection,
    definitions: Iterable[JobDefinition],
    now: datetime,
    *,
    lost_after: float,
    most: int,
) -> tuple[tuple[Issue, ...], int]:
    """Return the first of :func:`issues`, and the number of all issues.

    The texts of the error groups beyond the first ``most`` are neither read nor written, except for the first serious error group.
    """
    jobs = list(definitions)
    names = _names(jobs)
    found = await first_groups(connection, now, MOST_GROUPS)  # as many as the inbox asks for
    first = found.first[:most]
    if not any(group.open for group in first):  # but only groups whose runs are being retried
        first += [group for group in await groups(connection, now) if group.open][:1]
    failed = _failures(await described(connection, first, now), names, _places(jobs))
    others = await besides_failures(connection, jobs, now, lost_after=lost_after)
    return _in_order([*failed, *others]), found.total + len(others)


async def besides_failures(
    connection: AsyncConnection,
    definitions: Iterable[JobDefinition],
    now: datetime,
    *,
    lost_after: float,
) -> tuple[Issue, ...]:
    """Return all current issues except error groups, worst first."""
    jobs = list(definitions)
    names = _names(jobs)
    queues = await system.queues(connection, system.queue_names(jobs), now, lost_after=lost_after)
    return _in_order(
        [
            *_servers(await system.read_servers(connection), jobs, now, lost_after),
            *_late(await sla.late(connection, jobs, now), names),
            *await _written(connection, names),
            *_unfinished(await owners.unfinished(connection, now), names),
            *_unknown(await system.count_unknown(connection), names),
            *_paused(queues, await system.pauses(connection, now), names),
            *_maintenance(await calendar_model.active(connection, now), queues),
        ]
    )


def _names(jobs: Iterable[JobDefinition]) -> dict[str, str]:
    return {job.name: job.display_name for job in jobs}


def _places(jobs: Iterable[JobDefinition]) -> dict[str, str]:
    """Map each job in a chain to the first job's display name."""
    return {job.name: chain[0].display_name for chain in chains(jobs) for job in chain}


def _in_order(issues: Iterable[Issue]) -> tuple[Issue, ...]:
    order = {kind: n for n, kind in enumerate(_WORST_FIRST)}
    return tuple(sorted(issues, key=lambda one: (order[one.kind], -one.number, one.title)))


def _servers(
    servers: Sequence[Server], jobs: Collection[JobDefinition], now: datetime, lost_after: float
) -> Iterable[Issue]:
    silent = [
        server for server in servers if (now - server.heartbeat_at).total_seconds() > lost_after
    ]
    if jobs and len(silent) == len(servers):
        yield Issue(
            kind="no-server",
            subject="",
            title=gettext("No server is up"),
            detail=gettext("Start a server: targcc worker."),
            since=max((server.heartbeat_at for server in silent), default=None),
        )
        return
    for server in silent:
        yield Issue(
            kind="node",
            subject=server.name,
            title=gettext("Server %(name)s does not respond", name=server.name),
            detail=gettext(
                "Process %(id)s, last heartbeat %(when)s.",
                id=server.process_id,
                when=humanize.relative(server.heartbeat_at, now),
            ),
            since=server.heartbeat_at,
        )
    for server in servers:
        if server not in silent and server.trouble:
            yield Issue(
                kind="node",
                subject=server.name,
                title=gettext("Server %(name)s needs attention", name=server.name),
                detail=f"{humanize.sentence(server.trouble)}.",
                since=server.stuck_since,
            )


def _late(late_runs: Iterable[sla.Late], names: Mapping[str, str]) -> Iterable[Issue]:
    for late in late_runs:
        kind: Kind = late.kind  # type: ignore[assignment]  # those of Late are among ours
        subject = names.get(late.subject, late.subject)
        yield Issue(
            kind=kind,
            subject=late.subject,
            title=(
                gettext("Queue %(name)s is behind", name=late.subject)
                if kind == "queue"
                else gettext("%(job)s is late", job=subject)
            ),
            detail=f"{humanize.sentence(late.detail)}.",
            since=late.since,
            number=late.number,
        )


def _failures(
    failures: Iterable[ErrorGroup], names: Mapping[str, str], places: Mapping[str, str]
) -> Iterable[Issue]:
    for failure in failures:
        job = names.get(failure.job, failure.job)
        hand = (
            f", {gettext('%(number)s being retried', number=failure.in_hand)}"
            if failure.in_hand
            else ""
        )
        if not failure.open:
            title = gettext("%(job)s is being retried", job=job)
        elif failure.kind == "Missed":
            title = ngettext(
                "%(job)s was missed", "%(job)s was missed %(num)s times", failure.open, job=job
            )
        else:
            title = ngettext(
                "%(job)s failed", "%(job)s failed %(num)s times", failure.open, job=job
            )
        yield Issue(
            kind="failure",
            subject=failure.cause,
            title=_in_chain(title, job, places.get(failure.job)),
            detail=f"{failure.title}{hand}",
            since=failure.first_at,
            serious=bool(failure.open),
            number=failure.open + failure.in_hand,
        )


def _in_chain(title: str, job: str, first: str | None) -> str:
    """Return an issue's title; name the first job of the chain if the job is in a chain."""
    if first is None:
        return title
    if first == job:
        return gettext("%(what)s, the first step of its chain", what=title)
    return gettext("%(what)s, in the chain of %(job)s", what=title, job=first)


async def _written(connection: AsyncConnection, names: Mapping[str, str]) -> list[Issue]:
    """Return the recorded issues that stay until a person has seen the issue: lost nodes and undelivered alerts."""
    c = job_concern.c
    kept = (
        sa.select(job_concern)
        .where(c.Kind.in_([error_groups.NODE, error_groups.ALERT]))
        .order_by(c.Since)
    )
    recorded = []
    for row in await connection.execute(kept):
        is_node = row.Kind == error_groups.NODE
        name = row.Subject if is_node else names.get(row.Subject, row.Subject)
        recorded.append(
            Issue(
                kind="node" if is_node else "alert",
                subject=row.Subject,
                title=(
                    gettext("Server %(name)s is missing", name=name)
                    if is_node
                    else gettext("An alert about %(name)s was not sent", name=name)
                ),
                detail=f"{humanize.sentence(row.Detail)}.",
                since=row.Since,
                can_be_seen=True,
            )
        )
    return recorded


def _unfinished(owners: Iterable[Ownership], names: Mapping[str, str]) -> Iterable[Issue]:
    """Yield an issue for each job with an unfinished switch from or to the old server."""
    for ownership in owners:
        command = ownership.step.command if ownership.step is not None else "targcc cutover status"
        yield Issue(
            kind="unfinished",
            subject=ownership.job,
            title=gettext(
                "%(job)s runs on neither side", job=names.get(ownership.job, ownership.job)
            ),
            detail=gettext("The cut-over is unfinished: repeat %(command)s.", command=command),
            since=ownership.since,
        )


def _unknown(counts: Mapping[str, int], names: Mapping[str, str]) -> Iterable[Issue]:
    for job, number in counts.items():
        yield Issue(
            kind="unknown",
            subject=job,
            title=gettext("No server can run %(job)s", job=names.get(job, job)),
            detail=ngettext(
                "%(num)s run waits for such a server.",
                "%(num)s runs wait for such a server.",
                number,
            ),
            serious=False,
            number=number,
        )


def _paused(
    queues: Iterable[Queue], jobs: Mapping[str, Pause], names: Mapping[str, str]
) -> Iterable[Issue]:
    """Yield an issue for each queue and job that is paused without an end."""
    for queue in queues:
        if queue.pause is not None and queue.pause.until is None:
            many = ngettext(
                "%(num)s run waits in the queue.", "%(num)s runs wait in the queue.", queue.waiting
            )
            waits = f" {many}" if queue.waiting else ""
            yield Issue(
                kind="paused-queue",
                subject=queue.name,
                title=gettext("Queue %(name)s is paused", name=queue.name),
                detail=gettext("%(by)s, no end date.", by=by(queue.pause)) + waits,
                since=queue.pause.at,
                serious=False,
                number=max(queue.waiting, 1),
            )
    for job, pause in jobs.items():
        if pause.until is None and job in names and pause.by != str(SYSTEM):  # paused in code
            yield Issue(
                kind="paused-job",
                subject=job,
                title=gettext("%(job)s is paused", job=names[job]),
                detail=gettext("%(by)s, no end date.", by=by(pause)),
                since=pause.at,
                serious=False,
            )


def _maintenance(active: Iterable[Window], queues: Sequence[Queue]) -> Iterable[Issue]:
    """Yield an issue for each active maintenance window."""
    for window in active:
        which = humanize.listed(list(window.queues)) if window.queues else gettext("all queues")
        waiting = sum(queue.waiting for queue in queues if window.covers(queue.name))
        many = ngettext(
            "%(num)s run waits for the end of the window.",
            "%(num)s runs wait for the end of the window.",
            waiting,
        )
        waits = f" {many}" if waiting else ""
        yield Issue(
            kind="maintenance",
            subject=str(window.id),
            title=gettext("Maintenance of %(which)s", which=which),
            detail=gettext(
                "By %(name)s: %(reason)s.", name=humanize.who(window.by), reason=window.reason
            )
            + waits,
            since=window.starts_at,
            serious=False,
            number=max(waiting, 1),
        )


def by(pause: Pause) -> str:
    """Describe a pause: author and reason."""
    name = humanize.who(pause.by)
    if pause.reason:
        return gettext("By %(name)s: %(reason)s", name=name, reason=pause.reason)
    return gettext("By %(name)s", name=name)
