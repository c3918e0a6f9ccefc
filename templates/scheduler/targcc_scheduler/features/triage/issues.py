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
from ...kernel import maintenance_windows as calendar_model
from ...kernel.job_owner import Ownership
from ...kernel.jobs.chains import chains
from ...kernel.jobs.definition import JobDefinition
from ...kernel.maintenance_windows import Window
from ...kernel.queries import system
from ...kernel.queries.models import Pause, Queue, Server
from . import sla
from .inbox import Failure, inbox

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
    failures: Iterable[Failure] | None = None,
) -> tuple[Issue, ...]:
    """Return all current issues, worst first. Pass ``failures`` if the inbox was read already."""
    jobs = list(definitions)
    found = await inbox(connection, now) if failures is None else failures
    failed = _failures(found, _names(jobs), _places(jobs))
    others = await besides_failures(connection, jobs, now, lost_after=lost_after)
    return _in_order([*failed, *others])


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
    return {one.name: chain[0].display_name for chain in chains(jobs) for one in chain}


def _in_order(found: Iterable[Issue]) -> tuple[Issue, ...]:
    order = {kind: n for n, kind in enumerate(_WORST_FIRST)}
    return tuple(sorted(found, key=lambda one: (order[one.kind], -one.number, one.title)))


def _servers(
    servers: Sequence[Server], jobs: Collection[JobDefinition], now: datetime, lost_after: float
) -> Iterable[Issue]:
    silent = [one for one in servers if (now - one.heartbeat_at).total_seconds() > lost_after]
    if jobs and len(silent) == len(servers):
        yield Issue(
            kind="no-server",
            subject="",
            title=gettext("No server is up"),
            detail=gettext("Nothing runs until one is: targcc worker."),
            since=max((one.heartbeat_at for one in silent), default=None),
        )
        return
    for one in silent:
        yield Issue(
            kind="node",
            subject=one.name,
            title=gettext("Server %(name)s says nothing", name=one.name),
            detail=gettext(
                "Process %(id)s, last heard of %(when)s.",
                id=one.process_id,
                when=humanize.relative(one.heartbeat_at, now),
            ),
            since=one.heartbeat_at,
        )
    for one in servers:
        if one not in silent and one.trouble:
            yield Issue(
                kind="node",
                subject=one.name,
                title=gettext("Server %(name)s needs attention", name=one.name),
                detail=f"{humanize.sentence(one.trouble)}.",
                since=one.stuck_since,
            )


def _late(found: Iterable[sla.Late], names: Mapping[str, str]) -> Iterable[Issue]:
    for one in found:
        kind: Kind = one.kind  # type: ignore[assignment]  # those of Late are among ours
        subject = names.get(one.subject, one.subject)
        yield Issue(
            kind=kind,
            subject=one.subject,
            title=(
                gettext("Queue %(name)s is behind", name=one.subject)
                if kind == "queue"
                else gettext("%(job)s is late", job=subject)
            ),
            detail=f"{humanize.sentence(one.detail)}.",
            since=one.since,
            number=one.number,
        )


def _failures(
    found: Iterable[Failure], names: Mapping[str, str], places: Mapping[str, str]
) -> Iterable[Issue]:
    for one in found:
        job = names.get(one.job, one.job)
        hand = (
            f", {gettext('%(number)s being done again', number=one.in_hand)}" if one.in_hand else ""
        )
        if not one.open:
            title = gettext("%(job)s is done again", job=job)
        elif one.kind == "Missed":
            title = ngettext(
                "%(job)s was missed", "%(job)s was missed %(num)s times", one.open, job=job
            )
        else:
            title = ngettext("%(job)s failed", "%(job)s failed %(num)s times", one.open, job=job)
        yield Issue(
            kind="failure",
            subject=one.cause,
            title=_in_chain(title, job, places.get(one.job)),
            detail=f"{one.title}{hand}",
            since=one.first_at,
            serious=bool(one.open),
            number=one.open + one.in_hand,
        )


def _in_chain(title: str, job: str, first: str | None) -> str:
    """Return the title; for a job in a chain add the chain."""
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
    found = []
    for row in await connection.execute(kept):
        is_node = row.Kind == error_groups.NODE
        name = row.Subject if is_node else names.get(row.Subject, row.Subject)
        found.append(
            Issue(
                kind="node" if is_node else "alert",
                subject=row.Subject,
                title=(
                    gettext("Server %(name)s is missing", name=name)
                    if is_node
                    else gettext("An alert about %(name)s did not go out", name=name)
                ),
                detail=f"{humanize.sentence(row.Detail)}.",
                since=row.Since,
                can_be_seen=True,
            )
        )
    return found


def _unfinished(found: Iterable[Ownership], names: Mapping[str, str]) -> Iterable[Issue]:
    """Yield an issue for each job with an unfinished switch from or to the old server."""
    for one in found:
        command = one.step.command if one.step is not None else "targcc cutover status"
        yield Issue(
            kind="unfinished",
            subject=one.job,
            title=gettext("%(job)s is on neither side", job=names.get(one.job, one.job)),
            detail=gettext(
                "Its change of sides is not finished: repeat %(command)s.", command=command
            ),
            since=one.since,
        )


def _unknown(found: Mapping[str, int], names: Mapping[str, str]) -> Iterable[Issue]:
    for job, number in found.items():
        yield Issue(
            kind="unknown",
            subject=job,
            title=gettext("No server knows %(job)s, or not as it waits", job=names.get(job, job)),
            detail=ngettext(
                "%(num)s run waits for one that does.",
                "%(num)s runs wait for one that does.",
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
            many = ngettext("%(num)s run waits in it.", "%(num)s runs wait in it.", queue.waiting)
            waits = f" {many}" if queue.waiting else ""
            yield Issue(
                kind="paused-queue",
                subject=queue.name,
                title=gettext("Queue %(name)s is paused", name=queue.name),
                detail=gettext("%(by)s, with no end.", by=by(queue.pause)) + waits,
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
                detail=gettext("%(by)s, with no end.", by=by(pause)),
                since=pause.at,
                serious=False,
            )


def _maintenance(active: Iterable[Window], queues: Sequence[Queue]) -> Iterable[Issue]:
    """Yield an issue for each active maintenance window."""
    for window in active:
        which = humanize.listed(list(window.queues)) if window.queues else gettext("all queues")
        waiting = sum(queue.waiting for queue in queues if window.covers(queue.name))
        many = ngettext("%(num)s run waits for its end.", "%(num)s runs wait for its end.", waiting)
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
