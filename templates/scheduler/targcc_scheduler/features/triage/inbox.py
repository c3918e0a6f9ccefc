"""The inbox: error groups, and actions of people on error groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor
from ...core.errors import BulkError
from ...core.humanize import last_line
from ...core.states import ACTIVE, RunState
from ...db.columns import whole_seconds
from ...db.tables import job_audit, job_failure, job_run
from ...kernel import error_groups
from ...kernel.audit import audit
from ...kernel.error_groups import MISSED, is_open, require
from ...kernel.queries.models import Run, run_of
from ...kernel.queries.run_search import RunFilter, conditions, with_names
from ...kernel.queries.runs import recent_outcomes
from ...kernel.queries.sharing import Shared
from ...operations import Call

# Actions on error groups: each is one transaction with one audit row.

_LONGEST_NOTE = 1000


async def acknowledge(
    call: Call,
    cause: str,
    by: Actor,
    *,
    note: str | None = None,
    until: datetime | None = None,
    run_ids: Sequence[int] | None = None,
) -> int:
    """Acknowledge an error group and return the number of handled runs.

    Without ``until`` the open runs are handled, and the next failure opens the group again. With ``until`` the group is
    snoozed: the group is not open until then, no run is handled, and unhandled runs are open again afterwards.

    Raises:
        UnknownFailure: No error group has this cause.
        BulkError: ``until`` has passed.
    """
    if until is None:
        how = f"acknowledged: {note}" if note else "acknowledged"
        number = await error_groups.handle(
            call.connection, cause, str(by), how, now=call.now, run_ids=run_ids
        )
    else:
        if until <= call.now:
            raise BulkError(f"until {until.isoformat(timespec='minutes')} is in the past")
        number = 0
        await error_groups.change(
            call.connection,
            cause,
            SnoozedBy=str(by),
            SnoozedUntil=until,
            Note=note[:_LONGEST_NOTE] if note else None,
        )
    ends = f"until {until.isoformat(timespec='seconds')}" if until else f"{number} runs"
    await _note(call, by, "acknowledge", cause, ends, note, _one(run_ids))
    return number


async def discard(
    call: Call, cause: str, by: Actor, *, run_ids: Sequence[int] | None = None
) -> int:
    """Discard an error group's open runs and return their number.

    Raises:
        UnknownFailure: No error group has this cause.
    """
    number = await error_groups.handle(
        call.connection, cause, str(by), "discarded", now=call.now, run_ids=run_ids
    )
    await _note(call, by, "discard", cause, f"{number} runs", None, _one(run_ids))
    return number


async def mute(call: Call, cause: str, by: Actor, *, note: str | None = None) -> None:
    """Mute an error group: present and future failures need no attention.

    Raises:
        UnknownFailure: No error group has this cause.
    """
    await error_groups.change(
        call.connection,
        cause,
        MutedBy=str(by),
        MutedAt=call.now,
        Note=note[:_LONGEST_NOTE] if note else None,
    )
    await _note(call, by, "mute", cause, note)


async def reopen(call: Call, cause: str, by: Actor) -> None:
    """End an error group's mute and snooze.

    Raises:
        UnknownFailure: No error group has this cause.
    """
    await error_groups.change(
        call.connection, cause, MutedBy=None, MutedAt=None, SnoozedBy=None, SnoozedUntil=None
    )
    await _note(call, by, "reopen", cause)


async def assign(call: Call, cause: str, by: Actor, name: str | None) -> None:
    """Assign an error group to a person; ``None`` removes the assignee.

    Raises:
        UnknownFailure: No error group has this cause.
    """
    await error_groups.change(call.connection, cause, Assignee=name[:100] if name else None)
    await _note(call, by, "assign", cause, f"to {name}" if name else "to nobody")


async def link(call: Call, cause: str, by: Actor, ticket: str | None) -> None:
    """Link an error group to a ticket: an http(s) address, or the ticket's name; ``None`` removes the link.

    Raises:
        UnknownFailure: No error group has this cause.
        BulkError: The address has another scheme than http or https, so no page may link to the address.
    """
    if ticket and ":" in ticket and urlsplit(ticket).scheme not in {"http", "https"}:
        raise BulkError(f"{ticket!r} is no http address, nor the name of a ticket")
    await error_groups.change(call.connection, cause, Ticket=ticket[:500] if ticket else None)
    await _note(call, by, "link", cause, ticket or "to no ticket")


async def seen(call: Call, subject: str, kind: str, by: Actor) -> bool:
    """Delete a recorded issue that a person has seen, such as a lost node, and return whether the issue was recorded."""
    gone = await error_groups.remove(call.connection, subject, kind)
    if gone:
        await audit(call.connection, by, "seen", call.now, detail=f"{kind}: {subject}")
    return gone


async def _note(call: Call, by: Actor, action: str, cause: str, *details: str | int | None) -> None:
    row = await error_groups.require(call.connection, cause)
    run_id = next((detail for detail in details if isinstance(detail, int)), None)
    parts = [
        f"failure {cause}",
        *(detail for detail in details if isinstance(detail, str) and detail),
    ]
    await audit(
        call.connection,
        by,
        action,
        call.now,
        job_name=row.JobName,
        run_id=run_id,
        detail="; ".join(parts),
    )


def _one(run_ids: Sequence[int] | None) -> int | None:
    return run_ids[0] if run_ids is not None and len(run_ids) == 1 else None


# Error group queries: counts, times, and how people handled the failures.

DAYS = 7
"""Number of days in a trend."""
MOST_GROUPS = 100
"""Limit of error groups on a page of the inbox."""
_LATER = 5_000
"""Limit of successful runs that :func:`done_since` reads per job."""

Standing = Literal["open", "snoozed", "muted", "done"]


class GroupCounts(NamedTuple):
    """The counts of an error group: enough to sort the groups, or to count them.

    Args:
        cause: The fingerprint's key.
        job: The job.
        open: Number of unhandled runs.
        in_hand: Number of reruns that wait or run.
        newest_run: Id of the newest open run.
    """

    cause: str
    job: str
    open: int
    in_hand: int
    newest_run: int | None

    @property
    def number(self) -> int:
        """Return the number of runs that need attention."""
        return self.open + self.in_hand


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """A job's failed or missed runs with the same fingerprint.

    Args:
        cause: The fingerprint's key.
        kind: The exception type.
        place: File and function that raised the exception.
        message: The message, with placeholders for varying parts.
        open: Number of unhandled runs.
        in_hand: Number of reruns that wait or run.
        first_release: The release in which the first run failed.
        newest_run: Id of the newest open run.
        sample: Last line of the newest open run's message.
        snoozed_until: End of the snooze; until then the runs need no attention.
    """

    cause: str
    job: str
    kind: str
    place: str
    message: str
    open: int
    in_hand: int
    first_at: datetime
    first_release: str | None
    newest_run: int | None
    sample: str
    snoozed_by: str | None
    snoozed_until: datetime | None
    note: str | None
    muted_by: str | None
    muted_at: datetime | None
    assignee: str | None
    ticket: str | None

    @property
    def standing(self) -> Standing:
        """Return the group's state; ``open`` needs a person."""
        if self.muted_at is not None:
            return "muted"
        if not self.open and not self.in_hand:
            return "done"
        return "snoozed" if self.snoozed_until is not None else "open"

    @property
    def title(self) -> str:
        """Return a one-line description of the failure."""
        if self.sample:
            return self.sample
        if self.kind == MISSED:
            return "Its slot passed while nobody could start it"
        if self.kind == "Failure":
            return self.message or "No reason was given"
        return f"{self.kind}: {self.message}" if self.message else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(ErrorGroup):
    """An error group with the figures of all its runs.

    Args:
        total: Number of runs, including handled runs.
        last_at: End of the last run.
        trend: Runs per day for the last :data:`DAYS` days, oldest first.
        works_since: When the job's newest successful run ended, if later than the last failure.
    """

    total: int
    last_at: datetime
    trend: tuple[int, ...]
    works_since: datetime | None


async def groups(
    connection: AsyncConnection,
    now: datetime,
    *,
    everything: bool = False,
    wanted: RunFilter | None = None,
) -> list[GroupCounts]:
    """Return the open error groups, those with the most open runs and reruns first. The cost does not grow with their handled runs.

    With ``everything`` include groups in any state. A search keeps only groups with a matching open run; with
    ``everything`` a handled run may match too.
    """
    rows = await _selected(connection, now, everything=everything, wanted=wanted)
    return [GroupCounts(*row) for row in await connection.execute(rows)]


class Groups(NamedTuple):
    """The first of the error groups, the number of all of them, and the number of their open runs."""

    first: list[GroupCounts]
    total: int
    open_runs: int


_GROUPS = Shared[Groups](lambda found: found.open_runs)


async def first_groups(
    connection: AsyncConnection,
    now: datetime,
    most: int,
    *,
    skip: int = 0,
    everything: bool = False,
    wanted: RunFilter | None = None,
) -> Groups:
    """Return ``most`` of :func:`groups` after the first ``skip``.

    Many open runs are counted once in some seconds for all requests, and again after each entry of the audit: a person sees the effect of
    an action at once. See :class:`~...kernel.queries.sharing.Shared`.
    """

    async def read() -> Groups:
        rows = await _selected(connection, now, everything=everything, wanted=wanted)
        _, _, number, *_ = rows.selected_columns
        totals = sa.func.count().over(), sa.func.sum(number).over()
        found = (await connection.execute(rows.add_columns(*totals).limit(most).offset(skip))).all()
        if not found and skip:  # no row has the numbers
            others = await first_groups(connection, now, 1, everything=everything, wanted=wanted)
            return others._replace(first=[])
        total, open_runs = (int(number) for number in found[0][-2:]) if found else (0, 0)
        return Groups([GroupCounts(*row[:-2]) for row in found], total, open_runs)

    if everything or (wanted is not None and wanted.search.terms):
        return await read()
    newest = await connection.scalar(sa.select(sa.func.max(job_audit.c.Id)))
    return await _GROUPS.get(connection, (most, skip, newest), now, read)


async def _selected(
    connection: AsyncConnection, now: datetime, *, everything: bool, wanted: RunFilter | None
) -> sa.Select[Any]:
    """Select the counts of error groups; see :func:`groups`."""
    c = job_failure.c
    searched = wanted is not None and bool(wanted.search.terms)
    fits = list(conditions(await with_names(connection, wanted))) if wanted is not None else []
    opened, reruns = _open_runs(*fits), _active_reruns()
    number, in_hand = sa.func.coalesce(opened.c.open, 0), sa.func.coalesce(reruns.c.number, 0)
    rows = sa.select(c.Cause, c.JobName, number, in_hand, opened.c.newest).select_from(
        job_failure.outerjoin(opened, opened.c.Cause == c.Cause).outerjoin(
            reruns, reruns.c.Cause == c.Cause
        )
    )
    has_open = opened.c.open.is_not(None)
    if searched and everything:
        of_any = sa.select(job_run.c.Cause).where(job_run.c.Cause.is_not(None), *fits)
        rows = rows.where(c.Cause.in_(of_any))
    elif not everything:
        rows = rows.where(has_open if searched else sa.or_(has_open, reruns.c.Cause.is_not(None)))
        is_snoozed = sa.and_(c.SnoozedUntil.is_not(None), c.SnoozedUntil > now)
        rows = rows.where(c.MutedAt.is_(None), sa.not_(is_snoozed))
    return rows.order_by((number + in_hand).desc(), c.JobName, c.Cause)


async def inbox(
    connection: AsyncConnection,
    now: datetime,
    *,
    everything: bool = False,
    wanted: RunFilter | None = None,
) -> tuple[Failure, ...]:
    """Return the error groups of :func:`groups` with the figures of all their runs."""
    counted = await groups(connection, now, everything=everything, wanted=wanted)
    return await with_figures(connection, counted, now)


async def get(connection: AsyncConnection, cause: str, now: datetime) -> Failure:
    """Return an error group.

    Raises:
        UnknownFailure: No error group has this cause.
    """
    group = await require(connection, cause)
    opened = _open_runs(job_run.c.Cause == cause)
    row = (await connection.execute(sa.select(opened))).one_or_none()
    number, newest = (row.open, row.newest) if row is not None else (0, None)
    reruns = _active_reruns()
    again = sa.select(reruns.c.number).where(reruns.c.Cause == cause)
    in_hand = await connection.scalar(again) or 0
    counts = GroupCounts(cause, group.JobName, number, in_hand, newest)
    [failure] = await with_figures(connection, [counts], now)
    return failure


async def runs_of(
    connection: AsyncConnection,
    cause: str,
    *,
    only_open: bool = True,
    limit: int = 50,
    before: int | None = None,
) -> tuple[Run, ...]:
    """Return an error group's runs, newest first. With ``before``, return only runs older than this id."""
    where = [*is_open(cause)] if only_open else [job_run.c.Cause == cause]
    if before is not None:
        where.append(job_run.c.Id < before)
    query = sa.select(job_run).where(*where).order_by(job_run.c.Id.desc()).limit(limit)
    return tuple(run_of(row) for row in await connection.execute(query))


async def done_since(connection: AsyncConnection, runs: Sequence[Run]) -> frozenset[int]:
    """Return the ids of runs before a successful run with the same job and arguments."""
    c = job_run.c
    run_ids: set[int] = set()
    for job in {run.job for run in runs}:
        job_runs = [run for run in runs if run.job == job]
        later = (
            sa.select(c.Id, c.ArgumentsJson)
            .where(c.JobName == job, c.State == RunState.SUCCEEDED)
            .where(c.Id > min(run.id for run in job_runs))
            .order_by(c.Id.desc())
            .limit(_LATER)
        )
        newest: dict[str | None, int] = {}
        for row in await connection.execute(later):
            newest.setdefault(row.ArgumentsJson, row.Id)
        run_ids |= {run.id for run in job_runs if newest.get(run.arguments_json, 0) > run.id}
    return frozenset(run_ids)


def _open_runs(*where: sa.ColumnElement[bool]) -> sa.Subquery:
    """Select the number of unhandled runs that meet ``where``, and the newest run's id, by error group."""
    c = job_run.c
    counts = sa.func.count().label("open"), sa.func.max(c.Id).label("newest")
    return (
        sa.select(c.Cause, *counts).where(*is_open(), *where).group_by(c.Cause).subquery("opened")
    )


@cache
def _active_reruns() -> sa.Subquery:
    """Select the number of waiting and running reruns by error group. Built once: an alias has all columns."""
    new, old = job_run.alias("new"), job_run.alias("old")
    return (
        sa.select(old.c.Cause, sa.func.count().label("number"))
        .select_from(new.join(old, new.c.RetryOf == old.c.Id))
        .where(new.c.RetryOf.is_not(None), new.c.State.in_(sorted(ACTIVE)))
        .where(old.c.Cause.is_not(None))
        .group_by(old.c.Cause)
        .subquery("reruns")
    )


async def with_figures(
    connection: AsyncConnection, counted: Sequence[GroupCounts], now: datetime
) -> tuple[Failure, ...]:
    """Read error groups with the figures of all their runs."""
    counts, trends = await _counts(connection, [group.cause for group in counted], now)
    works = await _works_since(connection, {group.job for group in counted})
    failures = []
    for group in await described(connection, counted, now):
        total, last = counts.get(group.cause, (0, group.first_at))
        worked = works.get(group.job)
        failures.append(
            Failure(
                **{field.name: getattr(group, field.name) for field in fields(group)},
                total=total,
                last_at=last,
                trend=trends.get(group.cause, (0,) * DAYS),
                works_since=worked if worked is not None and worked > last else None,
            )
        )
    return tuple(failures)


async def described(
    connection: AsyncConnection, counted: Sequence[GroupCounts], now: datetime
) -> list[ErrorGroup]:
    """Read error groups, in the order of ``counted``; leave out groups that are gone."""
    newest = [group.newest_run for group in counted if group.newest_run is not None]
    samples = await _samples(connection, newest)
    keys = [group.cause for group in counted]
    rows = await connection.execute(sa.select(job_failure).where(job_failure.c.Cause.in_(keys)))
    row_of = {row.Cause: row for row in rows}
    error_groups = []
    for group in counted:
        row = row_of.get(group.cause)
        if row is None:
            continue
        snoozed = row.SnoozedUntil is not None and row.SnoozedUntil > now
        error_groups.append(
            ErrorGroup(
                cause=row.Cause,
                job=row.JobName,
                kind=row.Kind,
                place=row.Place or "",
                message=row.Message or "",
                open=group.open,
                in_hand=group.in_hand,
                first_at=row.FirstAt,
                first_release=row.FirstRelease,
                newest_run=group.newest_run,
                sample=samples.get(group.newest_run, "") if group.newest_run is not None else "",
                snoozed_by=row.SnoozedBy if snoozed else None,
                snoozed_until=row.SnoozedUntil if snoozed else None,
                note=row.Note,
                muted_by=row.MutedBy,
                muted_at=row.MutedAt,
                assignee=row.Assignee,
                ticket=row.Ticket,
            )
        )
    return error_groups


async def _samples(connection: AsyncConnection, run_ids: Sequence[int]) -> dict[int, str]:
    """Map run ids to the last line of each run's message."""
    c = job_run.c
    rows = await connection.execute(sa.select(c.Id, c.Message).where(c.Id.in_(run_ids)))
    return {row.Id: last_line(row.Message) for row in rows if row.Message}


async def _counts(
    connection: AsyncConnection, keys: Sequence[str], now: datetime
) -> tuple[dict[str, tuple[int, datetime]], dict[str, tuple[int, ...]]]:
    """Return two maps by error group: run count with the last run's end, and the daily trend."""
    c = job_run.c
    last = sa.func.max(c.CompletedAt, type_=c.CompletedAt.type)
    totals = await connection.execute(
        sa.select(c.Cause, sa.func.count(), last)
        .where(c.Cause.is_not(None), c.Cause.in_(keys))
        .group_by(c.Cause)
    )
    run_counts = {row[0]: (row[1], row[2]) for row in totals}
    day = timedelta(days=1)
    ago = whole_seconds(c.CompletedAt, sa.literal(now, c.CompletedAt.type))
    back = (ago // int(day.total_seconds())).label("Back")
    lately = await connection.execute(
        sa.select(c.Cause, back, sa.func.count())
        .where(c.Cause.is_not(None), c.Cause.in_(keys))
        .where(c.CompletedAt > now - DAYS * day, c.CompletedAt <= now)
        .group_by(c.Cause, back)
    )
    bars = Counter({(cause, days): number for cause, days, number in lately})
    trends = {key: tuple(bars[key, n] for n in reversed(range(DAYS))) for key in keys}
    return run_counts, trends


async def _works_since(connection: AsyncConnection, jobs: set[str]) -> dict[str, datetime]:
    """Map each job to the end of its newest successful run."""
    newest = await recent_outcomes(connection, jobs, 1, job_run.c.State == RunState.SUCCEEDED)
    return {
        job: run.completed_at
        for job, runs in newest.items()
        for run in runs
        if run.completed_at is not None
    }
