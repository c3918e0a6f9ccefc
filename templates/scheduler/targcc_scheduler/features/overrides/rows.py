"""Table ``c_JobOverride``. ``features/overrides/effective.py`` applies its rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...db.columns import UtcDateTime, joined_texts
from ...db.dialects import known
from ...db.dialects.frequent import FrequentStatement
from ...db.tables import job_override
from ...kernel.jobs.overrides import Override

_C = job_override.c
_ALL = FrequentStatement(
    sa.select(
        _C.JobName, _C.Field, _C.ValueJson, _C.SetBy, _C.SetAt, _C.Reason, _C.EndsAt
    ).order_by(_C.JobName, _C.Field)
)
MARK = sa.select(joined_texts(sa.cast(_C.SetAt, sa.Text) + _C.ValueJson)).scalar_subquery()
"""Change marker: the value differs after each change of an override."""
_ENDED = sa.and_(_C.EndsAt.is_not(None), _C.EndsAt <= sa.bindparam("now", type_=UtcDateTime))


async def load(connection: AsyncConnection) -> tuple[Override, ...]:
    """Return all overrides, sorted by job and option. Expired overrides are included until a node removes them."""
    return tuple(Override(*row) for row in await _ALL.all(connection, {}))


async def put(connection: AsyncConnection, overrides: Sequence[Override]) -> None:
    """Insert overrides, replacing existing overrides of the same option."""
    dialect = known.of(connection)
    for override in overrides:
        values: dict[str, Any] = {
            "JobName": override.job,
            "Field": override.field,
            "ValueJson": override.value_json,
            "SetBy": override.by[:100],
            "SetAt": override.at,
            "Reason": override.reason[:500],
            "EndsAt": override.until,
        }
        await connection.execute(dialect.upsert(job_override, [_C.JobName, _C.Field], values))


async def remove(connection: AsyncConnection, job: str, fields: Collection[str]) -> list[str]:
    """Delete overrides of a job; return the options that had an override."""
    condition = sa.and_(_C.JobName == job, _C.Field.in_(sorted(fields)))
    rows = await connection.scalars(sa.select(_C.Field).where(condition).order_by(_C.Field))
    removed = list(rows)
    if removed:
        await connection.execute(sa.delete(job_override).where(condition))
    return removed


async def remove_ended(connection: AsyncConnection, now: datetime) -> list[Override]:
    """Delete expired overrides and return the deleted overrides.

    Needs a write transaction. The rows are locked, so only one node gets each override.
    """
    over = sa.select(job_override).where(_ENDED).order_by(_C.JobName, _C.Field).with_for_update()
    rows = await connection.execute(over, {"now": now})
    ended = [Override(*row) for row in rows]
    for override in ended:
        await connection.execute(
            sa.delete(job_override).where(_C.JobName == override.job, _C.Field == override.field)
        )
    return ended
