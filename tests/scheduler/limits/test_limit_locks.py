"""Settling a limited run locks its key until the transaction ends, so that two transactions never release the same capacity."""

import pytest
import sqlalchemy as sa
from targcc_scheduler import job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.db.tables import job_limit

FREE = sa.select(job_limit.c.LimitKey).order_by(job_limit.c.LimitKey)
FREE = FREE.with_for_update(skip_locked=True)


@pytest.fixture
def migrated_url(migrated_postgresql_url):
    """PostgreSQL only: SQLite has one writer."""
    return migrated_postgresql_url


@job(limit={"key": "tenant", "running": 1})
async def limited(tenant: str) -> None:
    """Run once per tenant at a time."""


async def free_keys(scheduler):
    async def look(connection):
        return list(await connection.scalars(FREE))

    return await scheduler.change(look)


async def test_the_key_of_a_run_that_ends_is_locked_until_the_commit(not_started):
    ids = await not_started.enqueue_many(limited, [{"tenant": name} for name in "aab"])
    await not_started.start(schedule=False)
    for run_id in ids:
        await not_started.wait(run_id, 60)
    await not_started.stop()
    keys = await free_keys(not_started)
    assert len(keys) == 2
    left = await not_started.enqueue(limited, tenant="a")

    async def end(connection):
        await not_started.cancel(left, by=SYSTEM, connection=connection)
        return await free_keys(not_started)

    assert await not_started.change(end) == keys[1:]
    assert await free_keys(not_started) == keys
