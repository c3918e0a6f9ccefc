"""Timeout and cancellation of a job stop its statement in the database. Uses real SQLite and PostgreSQL."""

import asyncio
import threading
import time
from datetime import timedelta

import pytest
import sqlalchemy as sa
from rt_tools import until
from targcc_scheduler import Actor, ActorKind, RunState
from targcc_scheduler.core.clock import deadline
from targcc_scheduler.services import transaction
from targcc_scheduler.services.database import Database

SHORT = timedelta(seconds=0.3)
DANA = Actor(ActorKind.MANUAL, "dana")
ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
}
WAITING = "SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"


@pytest.fixture(params=["sqlite", "postgresql"])
def jobs_database(request, tmp_path):
    url = (
        f"sqlite:///{tmp_path / 'shop.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgresql_url")
    )
    made = Database(url, threads=1)
    with made.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE Half (Id INT)")
    yield made
    made.close()


@pytest.fixture
def postgresql(postgresql_url):
    made = Database(postgresql_url, threads=2)
    with made.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE Done (At TIMESTAMPTZ)")
        connection.exec_driver_sql(
            "CREATE PROCEDURE SP_Slow() LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO Done VALUES (now()); COMMIT; PERFORM pg_sleep(60); INSERT INTO Done VALUES (now()); END $$"
        )
    yield made
    made.close()


def endless(connection):
    connection.exec_driver_sql("INSERT INTO Half VALUES (1)")
    return connection.exec_driver_sql(ENDLESS[connection.dialect.name]).scalar()


def usable(connection):
    """Query with the only thread and the only connection, which must be free again; uncommitted rows must be gone."""
    return connection.exec_driver_sql("SELECT Id FROM Half").all()


@pytest.mark.slow
async def test_the_end_of_a_jobs_time_stops_the_statement(jobs_database):
    deadline.set(time.monotonic() + 0.1)
    with pytest.raises(TimeoutError, match="the statement was stopped"):
        await jobs_database.run(endless)

    deadline.set(None)
    assert await jobs_database.run(usable) == []


async def test_a_job_may_still_save_its_position_after_its_time(jobs_database):
    deadline.set(time.monotonic() - 1)

    assert await jobs_database.run(usable) == []


async def test_a_cancelled_job_stops_the_statement(jobs_database):
    began = threading.Event()

    def work(connection):
        began.set()
        endless(connection)

    task = asyncio.create_task(jobs_database.run(work))
    await asyncio.to_thread(began.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await jobs_database.run(usable) == []


async def test_work_that_was_stopped_while_it_waited_for_a_connection_is_not_begun(jobs_database):
    begun = []
    work = transaction.Transaction(jobs_database.engine, begun.append, None)
    with jobs_database.engine.connect():
        work.abandon()
    with pytest.raises(asyncio.CancelledError):
        work()

    assert begun == []


async def test_a_jobs_error_stays_its_own(jobs_database):
    deadline.set(time.monotonic() + 60)
    with pytest.raises(sa.exc.DBAPIError, match="no_such_table"):
        await jobs_database.run(lambda c: c.exec_driver_sql("SELECT 1 FROM no_such_table"))


async def test_a_timeout_ends_the_procedure_of_a_job_on_postgresql(postgresql, scheduler, database):
    async def close_month():
        await postgresql.call("SP_Slow")

    scheduler.add_recurring("close-month", close_month, "0 0 1 1 *", timeout=SHORT, retries=0)
    run = await scheduler.trigger("close-month", by=DANA)

    assert await scheduler.wait(run, timeout=30) == RunState.FAILED
    assert "timed out after" in database.history(run)[0]["ErrorMessage"]

    def waiting():
        with postgresql.engine.connect() as connection:
            return connection.scalar(sa.text(WAITING))

    await until(lambda: waiting() == 0)
    with postgresql.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT COUNT(*) FROM Done")) == 1
