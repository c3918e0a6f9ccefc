"""Rename jobs with years of history and many waiting runs in short steps, because no slot is created during a step."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from engine_rig import Node, nodes_on
from targcc_scheduler.db.tables import job_run, job_stat
from targcc_scheduler.kernel.releases import take_history, take_over

LONG_AGO, QUARTER = datetime(2024, 1, 1, tzinfo=UTC), timedelta(minutes=15)
MOST_PARAMETERS = 65_535
"""Maximum parameters of a statement on PostgreSQL."""


@pytest.fixture
async def node(migrated_url: str) -> AsyncIterator[Node]:
    """A node that does not claim runs."""
    async with nodes_on(migrated_url) as make:
        yield await make()


def counted(job: str, number: int) -> dict[str, object]:
    begins = {"JobName": job, "BeginsAt": LONG_AGO + number * QUARTER, "Outcome": "succeeded"}
    return begins | {"Bucket": 9, "Shard": 0, "Count": 2, "Retried": 1, "SumMs": 7, "MaxMs": number}


async def test_what_was_counted_for_years_moves_in_short_steps(node):
    async with node.store.write() as connection:
        both = [("Old", n) for n in range(130)] + [("New", n) for n in range(100, 140)]
        await connection.execute(sa.insert(job_stat), [counted(*arguments) for arguments in both])
    kept, more = [130], True
    while more:
        async with node.store.write() as connection:
            more = await take_history(connection, "New", "Old", 50)
        async with node.store.read() as connection:
            rows = list(await connection.execute(sa.select(job_stat)))
        kept.append(sum(row.JobName == "Old" for row in rows))
    assert kept == [130, 80, 30, 0]
    numbers = {(row.BeginsAt - LONG_AGO) // QUARTER: row for row in rows}
    assert sorted(numbers) == list(range(140))
    for number, row in numbers.items():
        twice = 2 if 100 <= number < 130 else 1
        assert (row.Count, row.Retried, row.SumMs) == (2 * twice, twice, 7 * twice)
        assert row.MaxMs == number


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
async def test_however_many_runs_wait_they_get_the_new_name(node):
    await node.create("Old")
    columns = ", ".join(f"{column.name}" for column in job_run.columns if column.name != "Id")
    copied = f"INSERT INTO c_JobRun ({columns}) SELECT {columns} FROM c_JobRun, generate_series(1, {MOST_PARAMETERS})"
    async with node.store.write() as connection:
        await connection.exec_driver_sql(copied)
        taken = await take_over(connection, "New", "Old", "1")
        names = await connection.execute(
            sa.select(job_run.c.JobName, sa.func.count()).group_by(job_run.c.JobName)
        )
    assert taken.refused == ()
    assert [tuple(row) for row in names] == [("New", MOST_PARAMETERS + 1)]
