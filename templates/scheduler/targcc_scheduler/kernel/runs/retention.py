"""Remove old runs, history and audit rows.

The newest rows of each job stay, whatever their age. The border is the key of the newest row that may be removed; the border is looked up
once for each job. An index returns old rows in order of age, in small steps. Each step continues after the previous step's last row, so
the cost depends on the rows in the step and not on the history's length.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import SYSTEM
from ...core.states import RunState
from ...db.dialects import known
from ...db.dialects.frequent import changed
from ...db.tables import job_link, job_run, logged_job
from .. import audit as chain
from ..audit import PRUNED, audit
from ..dependencies import RUN
from ..feature import Needed, load
from .operate import delete_rows


@dataclass(frozen=True)
class Kept:
    """A table to prune; the newest rows of each job stay.

    Args:
        key: The key column; later rows have larger keys.
        at: The column with the instant at which a row's age begins; NULL in a row that may not be removed, such as an unfinished run.
    """

    key: sa.Column[Any]
    at: sa.Column[Any]

    @property
    def job(self) -> sa.Column[Any]:
        """Return the column with the job's name."""
        column: sa.Column[Any] = self.key.table.c.JobName
        return column


# No condition on the state of runs: SQLite without statistics would read every old run by an index of states, at each step.
RUNS = Kept(job_run.c.Id, job_run.c.CompletedAt)
HISTORY = Kept(logged_job.c.ID, logged_job.c.StartedAt)


@dataclass(frozen=True)
class OldRow:
    """A row that is old enough to be removed."""

    at: datetime
    key: int
    job: str


async def old_rows(
    connection: AsyncConnection, kept: Kept, *, before: datetime, after: OldRow | None, most: int
) -> list[OldRow]:
    """Return at most ``most`` rows older than the instant ``before``, oldest first, starting after the row ``after``."""
    rows = sa.select(kept.at, kept.key, kept.job).where(kept.at < before)
    if after is not None:
        place = sa.tuple_(sa.literal(after.at, kept.at.type), sa.literal(after.key, kept.key.type))
        rows = rows.where(sa.tuple_(kept.at, kept.key) > place)
    result = await connection.execute(rows.order_by(kept.at, kept.key).limit(most))
    return [OldRow(*row) for row in result]


async def border(connection: AsyncConnection, kept: Kept, job: str, keep: int) -> int:
    """Return the largest key of a job's rows that may be removed, so that the ``keep`` newest rows stay; 0 if no row may be removed."""
    removable = sa.select(kept.key).where(kept.job == job, kept.at.is_not(None))
    newest = removable.order_by(kept.key.desc())
    return int(await connection.scalar(newest.offset(keep).limit(1)) or 0)


async def remove(connection: AsyncConnection, kept: Kept, keys: list[int]) -> int:
    """Remove rows by key (runs with their logs and steps, or history rows); return the number of rows removed.

    Rows stay if their run has waiting dependents or a feature needs the run.
    """
    if not keys:
        return 0
    runs = {key: key for key in keys} if kept is RUNS else await _runs_of(connection, keys)
    needed = await _needed(connection, sorted(set(runs.values())))
    gone = [key for key in keys if runs.get(key) not in needed]
    if not gone:
        return 0
    if kept is RUNS:
        return await delete_rows(connection, gone)
    among = known.of(connection).among(kept.key, gone)
    return await changed(connection, sa.delete(kept.key.table).where(among))


async def _runs_of(connection: AsyncConnection, history: list[int]) -> dict[int, int]:
    """Map history rows to their runs. Rows that a legacy system wrote have no run and are left out."""
    c = logged_job.c
    rows = await connection.execute(
        sa.select(c.ID, c.JobId).where(known.of(connection).among(c.ID, history))
    )
    return {row.ID: int(row.JobId) for row in rows if row.JobId and row.JobId.isdecimal()}


async def _needed(connection: AsyncConnection, run_ids: list[int]) -> set[int]:
    """Return the runs whose metadata may still be read: runs with a waiting dependent, and runs that a feature needs.

    All given runs are locked first, so that no new dependent can appear.
    """
    if not run_ids:
        return set()
    among = known.of(connection).among
    lock = sa.select(job_run.c.Id).where(among(job_run.c.Id, run_ids)).order_by(job_run.c.Id)
    await connection.execute(lock.with_for_update())
    awaited = (
        sa.select(job_link.c.ParentId)
        .join(job_run, job_run.c.Id == job_link.c.ChildId)
        .where(job_link.c.ParentKind == RUN, among(job_link.c.ParentId, run_ids))
        .where(job_run.c.State == RunState.AWAITING)
    )
    by_features = (
        sa.select(job_run.c.Id).where(among(job_run.c.Id, run_ids), condition)
        for condition in load(Needed)
    )
    return set((await connection.execute(sa.union(awaited, *by_features))).scalars())


async def remove_audit(
    connection: AsyncConnection, *, before: datetime, now: datetime, most: int
) -> int:
    """Remove up to ``most`` audit rows older than the instant ``before``; return the number of rows removed.

    The last removed row is recorded in the audit.
    """
    gone, last = await connection.run_sync(partial(chain.remove, before=before, most=most))
    if last is not None:
        await audit(connection, SYSTEM, PRUNED, now, detail=f"up to {last}")
    return gone
