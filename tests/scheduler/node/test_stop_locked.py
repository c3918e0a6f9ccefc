"""A stopping node ends in time even while another process locks the database, such as a node frozen in the middle of a write."""

# ruff: noqa: ARG001 - a job takes its context

import asyncio
import time
from contextlib import contextmanager

from guarantee_rig import Ledger
from rt_tools import QUICK, until
from targcc_scheduler import JobContext, Settings, job
from targcc_scheduler.kernel.node import node

GRACE, SETTLE, LAST_WORDS = 0.5, 2, 3


@job(retries=0)
async def patient(ctx: JobContext) -> None:
    """Wait until the stop request."""
    await asyncio.sleep(60)


@contextmanager
def nobody_writes(url):
    """Hold the write lock, like a process stopped in the middle of a write."""
    engine = Ledger(url).engine
    locks = {
        "sqlite": "BEGIN IMMEDIATE",
        "postgresql": "LOCK TABLE c_JobServer IN ACCESS EXCLUSIVE MODE",
        "mssql": "UPDATE c_JobServer SET Name = Name",
    }
    with engine.connect() as connection:
        connection.connection.cursor().execute(locks[engine.dialect.name])
        yield
        connection.rollback()


async def test_it_ends_after_its_grace_and_the_time_for_outcomes(
    migrated_url, make_scheduler, monkeypatch
):
    monkeypatch.setattr(node, "_SETTLE_SECONDS", SETTLE)
    settings = Settings(_env_file=None, database_url=migrated_url, **QUICK)
    scheduler = make_scheduler(settings=settings)
    await scheduler.start(schedule=True)
    await scheduler.enqueue(patient)
    await until(lambda: scheduler._host.node.executor._running)
    with nobody_writes(migrated_url):
        began = time.monotonic()
        await scheduler.stop()
        took = time.monotonic() - began
    assert took < 5 * (GRACE + SETTLE + LAST_WORDS)  # the lock is held until the node has ended
