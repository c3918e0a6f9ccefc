"""Dropping a whole month of the history, instead of its rows one by one."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..retention import HISTORY, border
from . import months
from .months import TABLE, Partition, execute

_MOST_KEPT = 5_000
"""So many rows are moved at most while the history is locked; else the others are removed one by one."""


async def old_months(connection: AsyncConnection, before: datetime) -> list[Partition]:
    """The parts of the history that ended before an instant, the oldest first."""
    found = await connection.run_sync(months.partitions)
    return [one for one in found if one.until is not None and one.until <= before]


async def drop_month(
    connection: AsyncConnection, month: Partition, keep: int, borders: dict[str, int]
) -> int:
    """Drop a part of the history with all its rows but the newest of each job, in a transaction; returns how many are gone.

    What stays goes to the default partition. Nothing is dropped when too much would stay: then rows are removed as in any table.

    Args:
        connection: The transaction.
        month: The part.
        keep: How many attempts of each job stay whatever their age.
        borders: Up to which keys rows of jobs may go; what is not known yet is looked up and added.

    Raises:
        OperationalError: others use the history all the time, see :func:`~.months.is_busy`.
    """
    jobs = await connection.run_sync(_jobs, month.name)
    for job in set(jobs) - borders.keys():
        borders[job] = await border(connection, HISTORY, job, keep)
    mine = {job: borders[job] for job in jobs}
    rows, kept = await connection.run_sync(_count, month.name, mine)
    if kept > _MOST_KEPT or (rows == kept and rows):
        return 0
    dropped = await connection.run_sync(_drop, month.name, mine)
    return rows - kept if dropped else 0


def _drop(connection: sa.Connection, table: str, borders: dict[str, int]) -> bool:
    months.lock_partitions(connection)
    if table not in {one.name for one in months.partitions(connection)}:
        return False  # another node was faster
    execute(connection, f"ALTER TABLE {TABLE} DETACH PARTITION {table}")
    late = set(_jobs(connection, table)) - borders.keys()
    given = borders | dict.fromkeys(late, 0)  # nobody has looked at their newest: all stay
    jobs, keys = _GIVEN, {"jobs": list(given), "borders": list(given.values())}
    stays = f"SELECT one.* FROM {table} AS one JOIN {jobs} ON one.JobName = job AND one.ID > last"
    connection.execute(sa.text(f"INSERT INTO {TABLE} {stays}"), keys)
    execute(connection, f"DROP TABLE {table}")
    return True


_GIVEN = "unnest(CAST(:jobs AS text[]), CAST(:borders AS bigint[])) AS given (job, last)"


def _jobs(connection: sa.Connection, table: str) -> list[str]:
    """The jobs that have rows there: one look at an index for each, however many rows they have."""
    found = sa.text(f"""
        WITH RECURSIVE jobs (name) AS (
            (SELECT JobName FROM {table} ORDER BY JobName LIMIT 1)
            UNION ALL
            SELECT (SELECT JobName FROM {table} WHERE JobName > name ORDER BY JobName LIMIT 1) FROM jobs WHERE name IS NOT NULL
        ) SELECT name FROM jobs WHERE name IS NOT NULL
        """)
    return list(connection.scalars(found))


def _count(connection: sa.Connection, table: str, borders: dict[str, int]) -> tuple[int, int]:
    """How many rows there are, and how many of them stay."""
    rows = connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
    kept = connection.scalar(
        sa.text(
            f"SELECT count(*) FROM {table} AS one JOIN {_GIVEN} ON one.JobName = job AND one.ID > last"
        ),
        {"jobs": list(borders), "borders": list(borders.values())},
    )
    return rows, kept or 0
