"""Deadlocked transactions are repeated: no error reaches a user, and no attempt is counted."""

import asyncio
import logging
from collections import Counter
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa
from targcc_scheduler import JobContext, Settings, job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.outage import MOST_UNDONE, Outage
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.tables import job_run, logged_job

ONCE = """
    CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.State <> OLD.State AND nextval('tries_' || NEW.State) = 1 THEN
            RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER undo BEFORE UPDATE ON c_JobRun FOR EACH ROW EXECUTE FUNCTION undo()
"""
"""Trigger that fails the first transaction per state with a deadlock; a sequence keeps its value after the rollback."""


MAY_END: list[bool] = []


@job(limit={"key": "tenant", "running": 1})
class RoomJob:
    async def execute(self, tenant: str) -> None:  # noqa: ARG002 - its key
        """Hold its capacity until another run waits for it."""
        while not MAY_END:  # noqa: ASYNC110 - jobs have a loop of their own
            await asyncio.sleep(0.02)


@job(retries=1, backoff="0s")
class FlakyJob:
    async def execute(self, ctx: JobContext) -> None:
        if ctx.attempt == 1:
            raise ValueError("not at first")


@job(retries=0)
class FailingJob:
    async def execute(self) -> None:
        raise ValueError("not at all")


@pytest.fixture
def settings(migrated_postgresql_url: str) -> Settings:
    """Settings of a database that fails the first transition to each state."""
    with psycopg.connect(migrated_postgresql_url, autocommit=True) as connection:
        for state in RunState:
            connection.execute(f"CREATE SEQUENCE tries_{state}")
        connection.execute(ONCE)
    return Settings(
        database_url=migrated_postgresql_url,
        migrate_on_start=False,
        poll_seconds=0.2,
        keepalive=False,
    )


async def test_what_a_node_and_its_callers_do_is_done_again(scheduler, caplog):
    caplog.set_level(logging.INFO, "targcc")
    MAY_END.clear()
    room = await scheduler.enqueue(RoomJob, tenant="acme")
    waiting = await scheduler.enqueue(RoomJob, tenant="acme")
    flaky = await scheduler.schedule(FlakyJob, delay="200ms")
    failing = await scheduler.enqueue(FailingJob)
    last = await scheduler.schedule(RoomJob, tenant="last", after=[room, flaky], delay="100ms")
    later = await scheduler.schedule(RoomJob, delay="1h", tenant="later")
    await scheduler.cancel(later, by=SYSTEM)
    async with asyncio.timeout(60):
        while "awaiting" not in [  # noqa: ASYNC110 - a node sets it
            await _state(scheduler, item) for item in (room, waiting)
        ]:
            await asyncio.sleep(0.02)
    MAY_END.append(True)
    ran = room, waiting, flaky, failing, last
    ended = {item: await scheduler.wait(item, 40) for item in ran}
    assert ended == dict.fromkeys(ran, "succeeded") | {failing: "failed"}

    logged_ids = await scheduler.read(lambda db: _all(db, sa.select(logged_job.c.JobId)))
    assert Counter(logged_ids) == {str(item): 1 for item in ran} | {str(flaky): 2}
    c = job_run.c
    attempts = sa.select(c.Id, c.Attempt).order_by(c.Id)
    rows = await scheduler.read(lambda db: db.execute(attempts))
    assert dict(map(tuple, rows)) == dict.fromkeys(ran, 1) | {flaky: 2, later: 0}

    states = set(RunState) - {RunState.MISSED, RunState.SKIPPED}
    for state in states:
        tries = await scheduler.read(
            lambda db, state=state: db.scalar(sa.text(f"SELECT last_value FROM tries_{state}"))
        )
        assert tries > 1, state
    assert any("the database undid it" in item for item in caplog.messages)
    assert not any("will be tried again" in item for item in caplog.messages)


async def _state(scheduler, run_id):
    query = sa.select(job_run.c.State).where(job_run.c.Id == run_id)
    return await scheduler.read(lambda db: db.scalar(query))


async def _all(connection, query):
    return list(await connection.scalars(query))


class UndoneError(Exception):
    sqlstate = "40P01"


def test_what_is_undone_time_after_time_is_an_outage(caplog):
    caplog.set_level(logging.INFO)
    outage = Outage(logging.getLogger("targcc.test"), "counting")
    for _ in range(2):
        waits = [outage.failed(UndoneError()) for _ in range(MOST_UNDONE + 1)]
        assert max(waits[:-1]) < timedelta(seconds=0.2) <= waits[-1]
        outage.over()
    levels = [record.levelname for record in caplog.records]
    assert levels == [*["INFO"] * MOST_UNDONE, "ERROR", "WARNING"] * 2
