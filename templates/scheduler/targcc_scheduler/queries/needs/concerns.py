"""Everything that is wrong at the moment, worst first. The overview is green when there is nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core import humanize
from ...core.actor import SYSTEM
from ...jobs.definition import JobDefinition
from ...storage.failures import concerns as rows
from ...storage.maintenance import rows as windows
from ...storage.maintenance.rows import Window
from ...storage.owners import rows as owners
from ...storage.owners.values import Ownership
from ...storage.tables import job_concern
from .. import releases, system
from ..models import Pause, Queue, Server
from . import late
from .failures import Failure, inbox

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
"""From the worst on."""
_WORST_FIRST: tuple[Kind, ...] = get_args(Kind)
_WARNINGS = frozenset({"unknown", "paused-queue", "paused-job", "maintenance"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """Something that is wrong.

    Args:
        kind: What.
        subject: The job, queue or node; the cause of a failure.
        title: In a few words that begin a sentence: ``Import failed 207 times``.
        detail: More of it, in one line.
        since: Since when.
        serious: Whether something does not work, rather than waits.
        number: How many runs it is about.
        can_be_seen: Whether it stays until a person has seen it.
    """

    kind: Kind
    subject: str
    title: str
    detail: str
    since: datetime | None = None
    serious: bool = True
    number: int = 1
    can_be_seen: bool = False


async def concerns(
    connection: AsyncConnection,
    definitions: Iterable[JobDefinition],
    now: datetime,
    *,
    lost_after: float,
) -> tuple[Concern, ...]:
    """Everything that is wrong, worst first."""
    jobs = list(definitions)
    names = {job.name: job.display_name for job in jobs}
    queues = await system.queues(connection, system.queue_names(jobs), now)
    found = [
        *_servers(await system.servers(connection), jobs, now, lost_after),
        *_late(await late.late(connection, jobs, now), names),
        *_failures(await inbox(connection, now), names),
        *await _written(connection, names),
        *_unfinished(await owners.unfinished(connection, now), names),
        *_unknown(await releases.count_unknown(connection), names),
        *_paused(queues, await system.pauses(connection, now), names),
        *_maintenance(await windows.active(connection, now), queues),
    ]
    found.sort(key=lambda one: (_WORST_FIRST.index(one.kind), -one.number, one.title))
    return tuple(found)


def _servers(
    servers: Sequence[Server], jobs: Collection[JobDefinition], now: datetime, lost_after: float
) -> Iterable[Concern]:
    silent = [one for one in servers if (now - one.heartbeat_at).total_seconds() > lost_after]
    if jobs and len(silent) == len(servers):
        yield Concern(
            kind="no-server",
            subject="",
            title="No server is up",
            detail="Nothing runs until one is: targcc worker.",
            since=max((one.heartbeat_at for one in silent), default=None),
        )
        return
    for one in silent:
        yield Concern(
            kind="node",
            subject=one.name,
            title=f"Server {one.name} says nothing",
            detail=f"Process {one.process_id}, last heard of {humanize.relative(one.heartbeat_at, now)}.",
            since=one.heartbeat_at,
        )
    for one in servers:
        if one not in silent and one.trouble:
            yield Concern(
                kind="node",
                subject=one.name,
                title=f"Server {one.name} needs attention",
                detail=f"{humanize.sentence(one.trouble)}.",
                since=one.stuck_since,
            )


def _late(found: Iterable[late.Late], names: Mapping[str, str]) -> Iterable[Concern]:
    for one in found:
        kind: Kind = one.kind  # type: ignore[assignment]  # those of Late are among ours
        subject = names.get(one.subject, one.subject)
        yield Concern(
            kind=kind,
            subject=one.subject,
            title=f"Queue {one.subject} is behind" if kind == "queue" else f"{subject} is late",
            detail=f"{humanize.sentence(one.detail)}.",
            since=one.since,
            number=one.number,
        )


def _failures(found: Iterable[Failure], names: Mapping[str, str]) -> Iterable[Concern]:
    for one in found:
        job = names.get(one.job, one.job)
        hand = f", {one.in_hand} being done again" if one.in_hand else ""
        word = "was missed" if one.kind == "Missed" else "failed"
        times = "" if one.open == 1 else f" {one.open:,} times"
        yield Concern(
            kind="failure",
            subject=one.cause,
            title=f"{job} {word}{times}" if one.open else f"{job} is done again",
            detail=f"{one.title}{hand}",
            since=one.first_at,
            serious=bool(one.open),
            number=one.open + one.in_hand,
        )


async def _written(connection: AsyncConnection, names: Mapping[str, str]) -> list[Concern]:
    """What was written down and stays until a person has seen it: nodes that were lost, alerts that did not go out."""
    c = job_concern.c
    kept = sa.select(job_concern).where(c.Kind.in_([rows.NODE, rows.ALERT])).order_by(c.Since)
    found = []
    for row in await connection.execute(kept):
        is_node = row.Kind == rows.NODE
        name = row.Subject if is_node else names.get(row.Subject, row.Subject)
        found.append(
            Concern(
                kind="node" if is_node else "alert",
                subject=row.Subject,
                title=(
                    f"Server {name} is missing"
                    if is_node
                    else f"An alert about {name} did not go out"
                ),
                detail=f"{humanize.sentence(row.Detail)}.",
                since=row.Since,
                can_be_seen=True,
            )
        )
    return found


def _unfinished(found: Iterable[Ownership], names: Mapping[str, str]) -> Iterable[Concern]:
    """Jobs whose change from or to the old server was begun and not finished."""
    for one in found:
        command = one.step.command if one.step is not None else "targcc cutover status"
        yield Concern(
            kind="unfinished",
            subject=one.job,
            title=f"{names.get(one.job, one.job)} is on neither side",
            detail=f"Its change of sides is not finished: repeat {command}.",
            since=one.since,
        )


def _unknown(found: Mapping[str, int], names: Mapping[str, str]) -> Iterable[Concern]:
    for job, number in found.items():
        waits = "waits" if number == 1 else "wait"
        yield Concern(
            kind="unknown",
            subject=job,
            title=f"No server knows {names.get(job, job)}, or not as it waits",
            detail=f"{humanize.count(number, 'run')} {waits} for one that does.",
            serious=False,
            number=number,
        )


def _paused(
    queues: Iterable[Queue], jobs: Mapping[str, Pause], names: Mapping[str, str]
) -> Iterable[Concern]:
    """What is paused with no end."""
    for queue in queues:
        if queue.pause is not None and queue.pause.until is None:
            verb = "waits" if queue.waiting == 1 else "wait"
            many = f" {humanize.count(queue.waiting, 'run')} {verb} in it."
            waits = many if queue.waiting else ""
            yield Concern(
                kind="paused-queue",
                subject=queue.name,
                title=f"Queue {queue.name} is paused",
                detail=f"{by(queue.pause)}, with no end.{waits}",
                since=queue.pause.at,
                serious=False,
                number=max(queue.waiting, 1),
            )
    for job, pause in jobs.items():
        if pause.until is None and job in names and pause.by != str(SYSTEM):  # as the code says
            yield Concern(
                kind="paused-job",
                subject=job,
                title=f"{names[job]} is paused",
                detail=f"{by(pause)}, with no end.",
                since=pause.at,
                serious=False,
            )


def _maintenance(active: Iterable[Window], queues: Sequence[Queue]) -> Iterable[Concern]:
    """The maintenance windows that have begun."""
    for window in active:
        which = humanize.listed(list(window.queues)) if window.queues else "all queues"
        waiting = sum(queue.waiting for queue in queues if window.covers(queue.name))
        verb = "waits" if waiting == 1 else "wait"
        waits = f" {humanize.count(waiting, 'run')} {verb} for its end." if waiting else ""
        yield Concern(
            kind="maintenance",
            subject=str(window.id),
            title=f"Maintenance of {which}",
            detail=f"By {humanize.who(window.by)}: {window.reason}.{waits}",
            since=window.starts_at,
            serious=False,
            number=max(waiting, 1),
        )


def by(pause: Pause) -> str:
    """Who paused something, and why."""
    said = f"By {humanize.who(pause.by)}"
    return f"{said}: {pause.reason}" if pause.reason else said
