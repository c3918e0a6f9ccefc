"""A run that stands alone is created by one statement of the application's transaction; the rows are those of several statements."""

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from targcc_scheduler import Scheduler, hosting, job, operations
from targcc_scheduler.core.errors import OtherDatabase
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.tables import job_run

OWN = {"Id", "CreatedAt", "DueAt", "LifeLog"}


@job()
async def hello(number: int = 0) -> None:
    """Do nothing."""


@pytest.fixture
async def theirs(migrated_url: str):
    """The engine of an application on the scheduler's database."""
    url = sa.make_url(migrated_url)
    engine = known.for_url(url).make_engine(url)
    yield engine
    await engine.dispose()


async def runs_of(scheduler: Scheduler) -> list:
    query = sa.select(job_run).order_by(job_run.c.Id)
    return (await scheduler.read(lambda db: db.execute(query))).mappings().all()


async def test_the_row_is_that_of_several_statements(not_started, theirs, monkeypatch):
    async with theirs.begin() as connection:
        alone = await not_started.enqueue("Hello", connection=connection, number=1)
        monkeypatch.setattr(hosting, "stands_alone", lambda _run: False)
        several = await not_started.enqueue("Hello", connection=connection, number=1)
    first, second = await runs_of(not_started)
    assert (first["Id"], second["Id"]) == (alone, several)
    same = [column for column in first if column not in OWN]
    assert {column: first[column] for column in same} == {column: second[column] for column in same}


async def test_no_other_operation_is_needed(not_started, theirs, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("the run is created by several statements")

    monkeypatch.setattr(operations.submit, "create_runs", refuse)
    async with theirs.begin() as connection:
        ids = [await not_started.enqueue("Hello", connection=connection) for _ in range(3)]
    assert [run["Id"] for run in await runs_of(not_started)] == ids


async def test_a_rollback_leaves_no_run(not_started, theirs):
    async with theirs.connect() as connection:
        await not_started.enqueue("Hello", connection=connection)
        await connection.rollback()
    assert await runs_of(not_started) == []


async def test_a_run_of_a_transaction_runs_once_it_is_committed(not_started, theirs):
    await not_started.start(schedule=False)
    async with theirs.begin() as connection:
        run_id = await not_started.enqueue("Hello", connection=connection)
    assert await not_started.wait(run_id, 30) == "succeeded"


async def test_a_database_without_the_tables_is_named_each_time(not_started, tmp_path):
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'other.db'}")
    async with engine.connect() as connection:
        for _ in range(2):
            with pytest.raises(OtherDatabase, match=r"other\.db"):
                await not_started.enqueue("Hello", connection=connection)
    await engine.dispose()
