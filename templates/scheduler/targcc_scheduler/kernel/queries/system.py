"""Read nodes, queues, pauses, releases and history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Self

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import UnknownQueue
from ...core.pools import pools_of
from ...core.states import WAITING, RunState
from ...db.dialects import known
from ...db.tables import (
    ACTIVE_NODE,
    active_node,
    job_queue,
    job_run,
    job_schedule,
    job_server,
    job_setting,
    logged_job,
)
from ...project import current
from .. import pauses as calendar_model
from .. import releases as kernel_releases
from ..jobs.definition import JobDefinition
from .models import Attempt, Pause, PoolUse, Queue, Server, attempt_of, pause_of

# System state: nodes, queues, pauses.


async def pauses(connection: AsyncConnection, now: datetime) -> dict[str, Pause]:
    """Map each job that is paused at ``now`` to its pause."""
    statement = sa.select(job_schedule).where(job_schedule.c.PausedAt.is_not(None))
    pause_by_job = {row.JobName: pause_of(row, now) for row in await connection.execute(statement)}
    return {name: pause for name, pause in pause_by_job.items() if pause is not None}


async def read_servers(connection: AsyncConnection) -> tuple[Server, ...]:
    """Return the nodes with their running runs counted, sorted by start."""
    role_of = await _roles(connection)
    busy = await _count_by(connection, job_run.c.ServerId, job_run.c.State == RunState.RUNNING)
    rows = await connection.execute(sa.select(job_server).order_by(job_server.c.StartedAt))
    return tuple(
        Server(
            id=row.Id,
            name=row.Name,
            process_id=row.ProcessId,
            queues=tuple(name.strip() for name in row.Queues.split(",") if name.strip()),
            workers=row.Workers,
            version=row.Version,
            started_at=row.StartedAt,
            heartbeat_at=row.HeartbeatAt,
            stopping_at=row.StoppingAt,
            release=row.Release,
            fingerprint=row.Fingerprint,
            drain_requested_by=row.DrainRequestedBy,
            drain_requested_at=row.DrainRequestedAt,
            clock_offset_ms=row.ClockOffsetMs,
            stuck_since=row.StuckSince,
            stuck_in=row.StuckIn,
            running=busy.get(row.Id, 0),
            role=role_of(row.Id) if row.Workers else None,
        )
        for row in rows
    )


async def _roles(
    connection: AsyncConnection,
) -> Callable[[str], Literal["active", "standby"] | None]:
    """Return the role of a node with workers, by its id. On a database where every node is active, no node has a role."""
    if not known.of(connection).has_lease:
        return lambda _: None
    mark = sa.select(job_setting.c.Value).where(job_setting.c.Name == ACTIVE_NODE)
    _, active, _ = active_node(await connection.scalar(mark))
    return lambda server: "active" if server == active else "standby"


async def _count_by(
    connection: AsyncConnection, column: sa.ColumnElement[Any], *where: sa.ColumnElement[bool]
) -> dict[Any, int]:
    statement = sa.select(column, sa.func.count()).where(*where).group_by(column)
    return {row[0]: row[1] for row in await connection.execute(statement)}


async def queues(
    connection: AsyncConnection, names: Iterable[str], now: datetime, *, lost_after: float
) -> tuple[Queue, ...]:
    """Return the queues in ``names``, and every other queue that is paused or has active or waiting runs.

    Args:
        connection: The database.
        names: The project's queue names.
        now: The present instant.
        lost_after: The seconds without a heartbeat after which a node's workers no longer count.
    """
    c = job_run.c
    active = [RunState.SCHEDULED, RunState.ENQUEUED, RunState.RETRYING, RunState.RUNNING]
    statement = (
        sa.select(c.Queue, c.State, sa.func.count(), sa.func.min(c.DueAt, type_=c.DueAt.type))
        .where(c.State.in_(active))
        .group_by(c.Queue, c.State)
    )
    counts: dict[tuple[str, str], int] = {}
    oldest: dict[str, datetime] = {}
    for queue, state, count, due in await connection.execute(statement):
        counts[queue, state] = count
        if state == RunState.ENQUEUED:
            oldest[queue] = due
    rows = (await connection.execute(sa.select(job_queue))).all()
    paused = {row.Name: pause for row in rows if (pause := pause_of(row, now)) is not None}
    closed = await calendar_model.active(connection, now)
    running = {name: counts.get((name, RunState.RUNNING), 0) for name, _ in counts}
    pools = await _pools(connection, running, now - timedelta(seconds=lost_after))
    every = [*dict.fromkeys([*names, *sorted({*paused, *(name for name, _ in counts)})])]
    return tuple(
        Queue(
            name=name,
            waiting=counts.get((name, RunState.ENQUEUED), 0),
            scheduled=counts.get((name, RunState.SCHEDULED), 0),
            retrying=counts.get((name, RunState.RETRYING), 0),
            running=counts.get((name, RunState.RUNNING), 0),
            oldest_due=oldest.get(name),
            pause=paused.get(name),
            limit=current().queue_limits.get(name),
            maintenance=next((window for window in closed if window.covers(name)), None),
            aging_seconds=current().queue_aging.get(name),
            pool=pools.get(name),
        )
        for name in every
    )


async def _pools(
    connection: AsyncConnection, running: Mapping[str, int], heard_since: datetime
) -> dict[str, PoolUse]:
    """Map each queue that shares workers to its pool."""
    uses: dict[str, PoolUse] = {}
    every = await read_servers(connection) if current().pools else ()
    nodes = [node for node in every if node.takes_runs and node.heartbeat_at >= heard_since]
    for pool in pools_of(current().pools):
        names = set(pool.queues)
        pool_nodes = [node for node in nodes if not names.isdisjoint(node.queues)]
        busy, workers = sum(running.get(name, 0) for name in names), len(pool_nodes) * pool.workers
        order = "strict" if pool.strict else "weighted"
        for name, weight in pool.weights.items():
            shown = None if pool.strict else weight
            uses[name] = PoolUse(pool.name, order, shown, busy, workers)
    return uses


def queue_names(definitions: Iterable[JobDefinition]) -> list[str]:
    """Return the project's queues, followed by queues that only jobs name."""
    return list(dict.fromkeys([*current().queues, *sorted(job.queue for job in definitions)]))


def check_queue(name: str, definitions: Iterable[JobDefinition]) -> None:
    """Check that a queue exists.

    Raises:
        UnknownQueue: No queue has the name; the message lists the existing queues.
    """
    known = queue_names(definitions)
    if name not in known:
        raise UnknownQueue(f"there is no queue {name!r}: {', '.join(known)}")


# Releases: the deciding release, each release's nodes, and the differences in their jobs.

_MOST_SHOWN = 20
Jobs = Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release whose servers have registered.

    Args:
        decides: Whether the schedules of this release are in use.
        servers: Servers with this release, by name and process.
        differences: Differences between the jobs of this release and the jobs of the deciding release; a long list is cut.
    """

    name: str
    first_seen_at: datetime
    chosen_by: str | None
    chosen_at: datetime | None
    decides: bool
    servers: tuple[str, ...]
    differences: tuple[str, ...]


async def releases(connection: AsyncConnection) -> tuple[Release, ...]:
    """Return the releases with nodes and differences, newest first."""
    known = await kernel_releases.load(connection)
    first = kernel_releases.deciding(known)
    servers = await read_servers(connection)
    stands_for = await kernel_releases.definitions_of(
        connection, {one.fingerprint for one in servers if one.fingerprint}
    )
    holds = _jobs_of(first.name, servers, stands_for) if first is not None else None
    return tuple(
        Release(
            name=one.name,
            first_seen_at=one.first_seen_at,
            chosen_by=one.chosen_by,
            chosen_at=one.chosen_at,
            decides=one == first,
            servers=tuple(
                f"{server.name}:{server.process_id}"
                for server in servers
                if server.release == one.name
            ),
            differences=(
                ()
                if one == first or holds is None
                else _differences(holds, _jobs_of(one.name, servers, stands_for))
            ),
        )
        for one in known
    )


async def count_unknown(connection: AsyncConnection) -> dict[str, int]:
    """Count by job the runs that wait for a node that knows the job and accepts the arguments."""
    c = job_run.c
    rows = await connection.execute(
        sa.select(c.JobName, sa.func.count())
        .where(c.UnknownSince.is_not(None), c.State.in_(sorted(WAITING)))
        .group_by(c.JobName)
        .order_by(c.JobName)
    )
    return {row[0]: row[1] for row in rows}


def _jobs_of(
    release: str, servers: Iterable[Server], stands_for: Mapping[str, Jobs]
) -> Jobs | None:
    """Return the jobs that a release's first node knows; ``None`` if the release has no node."""
    for server in servers:
        if server.release == release and (server.fingerprint or "") in stands_for:
            return stands_for[server.fingerprint or ""]
    return None


def _differences(holds: Jobs, other: Jobs | None) -> tuple[str, ...]:
    if other is None:
        return ()
    lines = [line for name in sorted({*holds, *other}) for line in _of_job(name, holds, other)]
    if len(lines) > _MOST_SHOWN:
        lines[_MOST_SHOWN:] = [f"and {len(lines) - _MOST_SHOWN} more"]
    return tuple(lines)


def _of_job(name: str, holds: Jobs, other: Jobs) -> list[str]:
    if name not in holds:
        return [f"{name} is only here"]
    if name not in other:
        return [f"{name} is not here"]
    (arguments, schedule), (other_arguments, other_schedule) = holds[name], other[name]
    lines = [f"{name} has other arguments"] if arguments != other_arguments else []
    if schedule != other_schedule:
        lines.append(f"{name} runs by {other_schedule or 'no schedule'}, not {schedule or 'any'}")
    return lines


# History: the jobs that have runs, and finished attempts.


async def known_jobs(connection: AsyncConnection) -> list[str]:
    """Return all job names that have runs, including jobs no longer in the code; one index lookup per job."""
    names = known.of(connection).each_value(job_run.c.JobName)
    job_names = await connection.scalars(sa.select(names.c.value).where(names.c.value.is_not(None)))
    return sorted(job_names)


@dataclass(frozen=True, slots=True)
class Place:
    """The cursor after a history page: the last attempt's start and id."""

    started_at: datetime
    id: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a cursor's text, as :meth:`__str__` writes it.

        Raises:
            ValueError: The text is not a cursor.
        """
        at, _, key = text.partition("~")
        instant = datetime.fromisoformat(at)
        if instant.tzinfo is None or not key.isdecimal():
            raise ValueError(f"no place in a history: {text!r}")
        return cls(instant, int(key))

    def __str__(self) -> str:
        return f"{self.started_at.isoformat()}~{self.id}"


async def ended_since(
    connection: AsyncConnection, jobs: Collection[str], since: datetime, limit: int = 5000
) -> tuple[Attempt, ...]:
    """Return finished attempts of some jobs that started since an instant, oldest first; at most the last ``limit``. Omit imported history."""
    c = logged_job.c
    statement = (
        sa.select(logged_job)
        .where(c.JobName.in_(list(jobs)), c.StartedAt >= since)
        .where(c.JobId.is_not(None), c.CompletedAt.is_not(None))  # without JobId: it was imported
        .order_by(c.StartedAt.desc(), c.ID.desc())
        .limit(limit)
    )
    return tuple(attempt_of(row) for row in reversed((await connection.execute(statement)).all()))


async def history(
    connection: AsyncConnection,
    job: str | None = None,
    limit: int = 50,
    *,
    after: Place | None = None,
) -> tuple[Attempt, ...]:
    """Return a page with attempts from c_LoggedJob, newest first, for one job or for all jobs; ``after`` is the previous page's end."""
    c = logged_job.c
    statement = sa.select(logged_job).order_by(c.StartedAt.desc(), c.ID.desc())
    if job is not None:
        statement = statement.where(c.JobName == job)
    if after is not None:
        place = sa.tuple_(
            sa.literal(after.started_at, c.StartedAt.type), sa.literal(after.id, c.ID.type)
        )
        statement = statement.where(
            c.StartedAt <= after.started_at, sa.tuple_(c.StartedAt, c.ID) < place
        )
    return tuple(attempt_of(row) for row in await connection.execute(statement.limit(limit)))


def place_of(attempts: Sequence[Attempt], limit: int) -> Place | None:
    """Return the cursor for the page after these attempts; ``None`` if the page was not full, so no page follows."""
    if len(attempts) < limit:
        return None
    return Place(attempts[-1].started_at, attempts[-1].id)
