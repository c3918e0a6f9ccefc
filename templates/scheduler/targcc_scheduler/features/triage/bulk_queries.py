"""Bulk operation queries: runs that match a filter, and progress."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.search_language import parse
from ...db.tables import job_bulk, job_run
from ...kernel.queries.run_search import RunFilter, conditions, with_names
from . import bulk

ACTIONS = (
    "retry",
    "cancel",
    "delete",
    "run-now",
    "pause",
    "queue",
    "priority",
    "discard",
)
"""Bulk actions."""
_RUNS_SAID = 20
CAN_BE_UNDONE = frozenset(ACTIONS) - {"delete", "run-now"}


@dataclass(frozen=True, slots=True)
class Found:
    """Number of runs that match a filter: in total, by state and by job. ``newest`` is the highest run id."""

    total: int
    states: Mapping[str, int]
    jobs: Mapping[str, int]
    newest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """Bulk operation with its progress.

    Args:
        filter: The run filter, as text.
        done: Number of changed runs.
        refused: Number of runs left unchanged because their state did not allow the action.
        undoes: Id of the operation that this operation undoes.
        undone_by: Id of the operation that undoes this operation.
    """

    id: int
    action: str
    filter: str
    options: dict[str, Any]
    state: str
    total: int
    done: int
    refused: int
    by: str
    started_at: datetime
    ended_at: datetime | None
    undoes: int | None
    undone_by: int | None
    message: str | None

    @property
    def can_be_undone(self) -> bool:
        """Return whether the operation can be undone."""
        fits = self.action in CAN_BE_UNDONE and self.undoes is None
        return fits and self.undone_by is None and self.state != bulk.RUNNING and self.done > 0

    @property
    def share(self) -> float:
        """Return the share of processed runs, from 0 to 1."""
        return min((self.done + self.refused) / self.total, 1.0) if self.total else 1.0


async def find(connection: AsyncConnection, wanted: RunFilter) -> Found:
    """Count the runs that match a filter."""
    c = job_run.c
    where = conditions(await with_names(connection, wanted))
    counted = sa.select(c.State, c.JobName, sa.func.count(), sa.func.max(c.Id)).where(*where)
    states: dict[str, int] = {}
    jobs: dict[str, int] = {}
    newest = 0
    for state, job, number, last in await connection.execute(counted.group_by(c.State, c.JobName)):
        states[state] = states.get(state, 0) + number
        jobs[job] = jobs.get(job, 0) + number
        newest = max(newest, last)
    return Found(sum(states.values()), states, jobs, newest)


async def next_ids(
    connection: AsyncConnection,
    wanted: RunFilter,
    *,
    place: int | None,
    ceiling: int,
    newest_first: bool,
    most: int,
) -> list[int]:
    """Return up to ``most`` matching run ids behind the run ``place``, in order; skip runs newer than ``ceiling``."""
    c = job_run.c
    wanted = await with_names(connection, wanted)
    query = sa.select(c.Id).where(*conditions(wanted), c.Id <= ceiling)
    if place is not None:
        query = query.where(c.Id < place if newest_first else c.Id > place)
    query = query.order_by(c.Id.desc() if newest_first else c.Id).limit(most)
    return list(await connection.scalars(query))


async def get(connection: AsyncConnection, bulk_id: int) -> Bulk:
    """Return an operation.

    Raises:
        UnknownBulk: No operation has this id.
    """
    row = await bulk.get(connection, bulk_id)
    return _bulk(row, await bulk.undone_by(connection, bulk_id))


async def latest(
    connection: AsyncConnection, limit: int = 20, *, before: int | None = None
) -> tuple[Bulk, ...]:
    """Return the last operations, newest first. With ``before``, return only operations older than this id."""
    statement = sa.select(job_bulk).order_by(job_bulk.c.Id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(job_bulk.c.Id < before)
    rows = (await connection.execute(statement)).all()
    undone = {row.Undoes: row.Id for row in rows if row.Undoes is not None}
    return tuple(_bulk(row, undone.get(row.Id)) for row in rows)


def _bulk(row: Any, undone_by: int | None) -> Bulk:
    return Bulk(
        id=row.Id,
        action=row.Action,
        filter=words(filter_of(row.FilterJson)),
        options=json.loads(row.OptionsJson, parse_constant=str),  # JSON has no NaN
        state=row.Status,
        total=row.Total,
        done=row.Done,
        refused=row.Refused,
        by=row.Actor,
        started_at=row.StartedAt,
        ended_at=row.EndedAt,
        undoes=row.Undoes,
        undone_by=undone_by,
        message=row.Message,
    )


def filter_json(wanted: RunFilter) -> str:
    """Serialize a filter to the stored JSON."""
    kept = {"search": str(wanted.search), "arguments_of": sorted(wanted.arguments_of)}
    return json.dumps({name: value for name, value in kept.items() if value})


def filter_of(text: str) -> RunFilter:
    """Parse a filter that :func:`filter_json` has stored; stored times are absolute."""
    fields = json.loads(text)
    search = parse(fields.get("search", ""), now=datetime.now(UTC), zone=ZoneInfo("UTC"))
    return RunFilter(search=search, arguments_of=frozenset(fields.get("arguments_of", ())))


def words(wanted: RunFilter) -> str:
    """Return a filter as text for people and the audit, such as ``job:Import state:failed``; list at most 20 runs."""
    terms = []
    for term in wanted.search.terms:
        more = len(term.values) - _RUNS_SAID if term.key == "run" else 0
        text = str(replace(term, values=term.values[:_RUNS_SAID]) if more > 0 else term)
        terms.append(f"{text} and {more} more" if more > 0 else text)
    return " ".join(terms) or "every run"
