"""Queries of people end in time, cannot write, and never delay the scheduler."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from rt_tools import QUICK, until
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler import JobContext, Scheduler, Settings, job
from targcc_scheduler.core.errors import QueryTimeout
from targcc_scheduler.db.engines import make_engine
from targcc_scheduler.db.reader import Reader
from targcc_scheduler.db.tables import job_run

ENDLESS = {
    "sqlite": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(600)",
}


async def ask_for_ever(db: AsyncConnection, *_: object) -> Any:
    return await db.scalar(sa.text(ENDLESS[db.dialect.name]))


@job()
async def quick(ctx: JobContext) -> str:  # noqa: ARG001 - a job takes its context
    await asyncio.sleep(0.01)
    return "done"


@pytest.fixture
async def make_reader(migrated_url: str) -> AsyncIterator[Callable[[float], Reader]]:
    made: list[Reader] = []

    def make(limit: float) -> Reader:
        made.append(Reader(migrated_url, limit=limit))
        return made[-1]

    yield make
    for reader in made:
        await reader.close()


async def still_asked(url: str) -> int:
    """Return the number of endless queries that PostgreSQL is executing; 0 on SQLite, where ``close`` waits for the query's thread."""
    if url.startswith("sqlite"):
        return 0
    engine = make_engine(url)
    sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = :endless"
    async with engine.connect() as connection:
        count = await connection.scalar(sa.text(sql), {"endless": ENDLESS["postgresql"]})
    await engine.dispose()
    return int(count)


@pytest.mark.sqlite  # its long query is SQL of SQLite or PostgreSQL
@pytest.mark.slow
async def test_a_question_that_takes_too_long_is_ended_in_the_database(make_reader, migrated_url):
    reader = make_reader(0.3)
    for _ in range(6):  # more than the reader's connections
        with pytest.raises(QueryTimeout, match=r"longer than 0\.3 s"):
            await reader.read(ask_for_ever)
    assert await still_asked(migrated_url) == 0
    async with asyncio.timeout(30):
        while True:
            with suppress(QueryTimeout):  # on a busy machine even a short answer may take 0.3 s
                assert await reader.read(lambda db: db.scalar(sa.text("SELECT 7"))) == 7
                break


async def test_a_cancelled_question_is_ended_in_the_database(make_reader, migrated_url):
    reader, started = make_reader(600), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def ask(db: AsyncConnection) -> Any:
        loop.call_soon_threadsafe(started.set)
        return await ask_for_ever(db)

    for _ in range(6):
        asking = asyncio.create_task(reader.read(ask))
        await started.wait()
        started.clear()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert await asyncio.wait_for(reader.read(lambda db: db.scalar(sa.text("SELECT 7"))), 30) == 7
    assert await still_asked(migrated_url) == 0


async def test_a_reader_that_is_closed_leaves_no_question_behind(make_reader, migrated_url):
    reader, started = make_reader(600), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def ask(db: AsyncConnection) -> Any:
        loop.call_soon_threadsafe(started.set)
        return await ask_for_ever(db)

    others = set(threading.enumerate())
    questions = []
    for cancelled in (True, False, True):
        questions.append(asyncio.create_task(reader.read(ask)))
        await started.wait()
        started.clear()
        if cancelled:
            questions[-1].cancel()
    await reader.close()
    ended = await asyncio.gather(*questions, return_exceptions=True)
    assert {type(result) for result in ended} == {asyncio.CancelledError}
    assert await still_asked(migrated_url) == 0

    def left() -> list[str]:
        return [t.name for t in threading.enumerate() if t not in others and "connection" in t.name]

    await until(lambda: not left())  # a thread reports the closed connection shortly before it ends


@pytest.mark.sqlite  # SQL Server has no read-only transactions
async def test_a_question_cannot_write(make_reader):
    reader = make_reader(10)
    with pytest.raises(sa.exc.DBAPIError, match=r"readonly|read-only"):
        await reader.read(lambda db: db.execute(sa.delete(job_run)))


@pytest.mark.sqlite  # its long query is SQL of SQLite or PostgreSQL
@pytest.mark.slow
async def test_slow_questions_hold_up_neither_heartbeats_nor_runs(database):
    """A slow query on the heartbeat's event loop would make the node look lost, and its runs would start again."""
    settings = Settings(
        database_url=database.url, query_seconds=3, **{**QUICK, "lost_after_seconds": 2}
    )
    nodes = [Scheduler(settings, jobs_package=__name__, notify=ignore) for _ in range(2)]
    try:
        for node in nodes:
            await node.start(schedule=False)
        questions = [asyncio.create_task(nodes[0].read(ask_for_ever)) for _ in range(4)]
        ids, waits, longest_gap = [], [], 0.0
        while not all(question.done() for question in questions):
            began = time.monotonic()
            ids.append(await nodes[0].enqueue(quick))
            await until(lambda: database.run(ids[-1])["State"] == "succeeded")
            waits.append(time.monotonic() - began)
            longest_gap = max(longest_gap, seconds_since_the_oldest_beat(database))
        for question in questions:
            with pytest.raises(QueryTimeout):
                await question
    finally:
        for node in nodes:
            await node.stop()
    assert longest_gap < settings.lost_after_seconds
    assert sorted(waits)[len(waits) // 2] < settings.query_seconds / 2
    assert [len(database.history(run_id)) for run_id in ids] == [1] * len(ids)
    assert {database.run(run_id)["LostWorkers"] for run_id in ids} == {0}


def seconds_since_the_oldest_beat(database: Any) -> float:
    sql = "SELECT (julianday('now') - julianday(min(HeartbeatAt))) * 86400 FROM c_JobServer"
    return float(database.one(sql))


async def ignore(event: object) -> None:
    """Send no alerts."""


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
async def test_each_question_is_planned_for_what_it_asks(make_reader: Callable[[float], Reader]):
    """PostgreSQL plans a statement anew for its values; SQLite plans each statement once."""

    async def ask_often(db: AsyncConnection) -> Any:
        for text in "abcdefghijklmnopqrst":
            await db.execute(sa.select(job_run.c.Id).where(job_run.c.Message.contains(text)))
        plans = "SELECT sum(custom_plans), sum(generic_plans) FROM pg_prepared_statements WHERE statement LIKE '%LIKE%'"
        return (await db.execute(sa.text(plans))).one()

    own, for_all = await make_reader(60).read(ask_often)
    assert own > 10
    assert not for_all


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
async def test_a_statement_of_a_page_stays_prepared(make_reader: Callable[[float], Reader]):
    """A page executes each statement once, in a transaction of its own."""
    reader = make_reader(60)

    async def page(db: AsyncConnection) -> int:
        await db.execute(sa.select(job_run.c.Id).where(job_run.c.Message == "of a page"))
        prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE :part"
        return int(await db.scalar(sa.text(prepared), {"part": "%c_JobRun.Message = %"}))

    assert [await reader.read(page) for _ in range(8)] == [0, 0, 0, 0, 0, 1, 1, 1]
