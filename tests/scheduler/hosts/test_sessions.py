"""Runs created within an application's transaction exist after its commit, and do not exist after a rollback."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from hosting_rig import until
from rt_tools import QUICK
from sessions_rig import POSTGRESQL, SQLITE, address, django_connection, ended
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from targcc_scheduler import Client, Scheduler, Settings, job, migrate
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.db.transactions import Store


@job()
async def note(text: str) -> str:
    """Return without a write."""
    return text


async def count(scheduler: Scheduler) -> int:
    async def query(db: Any) -> int:
        return (await db.scalar(sa.select(sa.func.count()).select_from(job_run))) or 0

    return await scheduler.read(query)


@contextlib.asynccontextmanager
async def working(url: str) -> AsyncIterator[Scheduler]:
    made = Scheduler(Settings(database_url=url, **QUICK), jobs_package=__name__)
    await made.start(schedule=False)
    try:
        yield made
    finally:
        await made.stop()


@pytest.fixture
async def on_sqlite(migrated_sqlite_url):
    async with working(migrated_sqlite_url) as made:
        yield made


@pytest.fixture
async def on_postgresql(migrated_postgresql_url):
    async with working(migrated_postgresql_url) as made:
        yield made


async def commits_and_rolls_back(scheduler: Scheduler, open_theirs: Any) -> None:
    async with open_theirs(scheduler.settings.database_url) as session:
        await scheduler.enqueue("note", session=session, text="never")
        await ended(session, "rollback")
        assert await count(scheduler) == 0
        first = await scheduler.enqueue("note", session=session, text="one")
        many = [{"text": "two"}, {"text": "three"}]
        rest = await scheduler.enqueue_many("note", many, session=session)
        assert await count(scheduler) == 0
        await ended(session, "commit")
    for run in (first, *rest):
        assert await scheduler.wait(run, timeout=30) == RunState.SUCCEEDED


@pytest.mark.sqlite  # sessions on SQLite
@pytest.mark.parametrize("kind", SQLITE)
async def test_on_sqlite_it_commits_with_the_application(kind, on_sqlite):
    await commits_and_rolls_back(on_sqlite, SQLITE[kind])


@pytest.mark.parametrize("kind", POSTGRESQL)
async def test_on_postgresql_it_commits_with_the_application(kind, on_postgresql):
    await commits_and_rolls_back(on_postgresql, POSTGRESQL[kind])


def rows(url: str, table: str = "c_JobRun") -> int:
    engine = sa.create_engine(address(url, "+psycopg" if "postgresql" in url else ""))
    with engine.connect() as connection:
        number = connection.scalar(sa.text(f"SELECT count(*) FROM {table}"))
    engine.dispose()
    return number or 0


@pytest.mark.sqlite  # it opens a connection with another driver
def test_plain_code_has_a_client(migrated_sqlite_url):
    """As in a Flask view: no event loop, and a worker in another process."""
    settings = Settings(database_url=migrated_sqlite_url, **QUICK)
    engine = sa.create_engine(migrated_sqlite_url)
    with Client(Scheduler(settings, jobs_package=__name__)) as client:
        assert client.enqueue("note", text="alone") == 1
        assert client.schedule("note", delay="15m", text="later") == 2
        with pytest.raises(ValueError, match="either delay= or at="):
            client.schedule("note", text="when?")
        with Session(engine) as session:
            client.enqueue("note", session=session, text="never")
            session.rollback()
            client.enqueue("note", session=session, text="once")
            session.commit()
        with pytest.raises(TimeoutError):
            client.wait(1, timeout=0)
    engine.dispose()
    assert rows(migrated_sqlite_url) == 3


@pytest.mark.sqlite  # Django has no driver of SQL Server here
def test_a_view_of_django_creates_runs_in_its_transaction(migrated_url):
    """Also without ``atomic()``: each statement then commits by itself."""
    settings = Settings(database_url=migrated_url, **QUICK)
    connection = django_connection(migrated_url)
    with Client(Scheduler(settings, jobs_package=__name__)) as client:
        client.enqueue("note", session=connection, text="at once")
        assert rows(migrated_url) == 1
        connection.set_autocommit(False)  # as atomic() does
        client.enqueue("note", session=connection, text="never")
        connection.rollback()
        client.enqueue("note", session=connection, text="with the others")
        assert rows(migrated_url) == 1
        connection.commit()
    connection.close()
    assert rows(migrated_url) == 2
    if "postgresql" in migrated_url:
        assert rows(migrated_url, "procrastinate_jobs") == 2


async def test_the_engine_hears_of_runs_after_the_outermost_commit_alone(migrated_postgresql_url):
    """The engine cannot submit on this driver's connections.

    Releasing a savepoint is no commit, and a later commit belongs to other runs.
    """
    url = migrated_postgresql_url
    made = Scheduler(Settings(database_url=url, **QUICK), jobs_package=__name__)
    async with POSTGRESQL["async session of asyncpg"](url) as session:
        await made.enqueue("note", session=session, text="never")
        await session.rollback()
        await session.commit()
        async with session.begin_nested():
            await made.enqueue("note", session=session, text="never")
        await session.rollback()
        await made.enqueue("note", session=session, text="once")
        await session.commit()

    async def is_submitted() -> bool:
        return rows(url, "procrastinate_jobs") > 0

    await until(is_submitted)
    await made.stop()
    assert rows(url, "procrastinate_jobs") == 1


async def test_what_is_no_session_is_said(on_sqlite):
    with pytest.raises(TypeError, match="SQLAlchemy, Django, psycopg or sqlite3, not object"):
        await on_sqlite.enqueue("note", session=object(), text="x")
    with pytest.raises(ValueError, match="give one"):
        await on_sqlite.enqueue("note", session=object(), connection=object(), text="x")


def test_the_database_of_an_application_is_taken_from_its_engine():
    engine = create_async_engine("postgresql+asyncpg://dana:s3c%40t@db:6432/shop?ssl=require")
    settings = Settings.for_engine(engine, pool_size=3)
    assert settings.database_url == "postgresql://dana:s3c%40t@db:6432/shop?sslmode=require"
    plain = sa.create_engine("sqlite+pysqlite:///shop.db")
    assert Settings.for_engine(plain).database_url == "sqlite:///shop.db"
    store = Store("postgresql://db/shop", settings.pool_size)
    assert (store.engine.pool.size(), store.engine.pool._max_overflow) == (3, 0)


@pytest.mark.sqlite  # Django has no driver of SQL Server here
def test_the_database_of_a_django_application_is_taken_from_its_connection(migrated_url):
    """Tables can also be created there; a database in memory raises an error that says what to set."""
    connection = django_connection(migrated_url)
    settings = Settings.for_engine(connection, **QUICK)
    assert rows(settings.database_url) == 0
    with Client(Scheduler(settings, jobs_package=__name__)) as client:
        client.enqueue("note", text="once")
    assert rows(migrated_url) == 1
    assert migrate(connection) == migrate(migrated_url)


def test_a_database_of_django_that_cannot_be_shared_says_so():
    with pytest.raises(ValueError, match="give that of the tests a file"):
        migrate(django_connection("sqlite:///:memory:"))


def test_options_of_django_are_those_of_the_driver():
    connection = django_connection("postgresql://dana:s3c%40t@db:6432/shop")
    connection.settings_dict["OPTIONS"] = {"sslmode": "require", "pool": True}
    url = Settings.for_engine(connection).database_url
    assert url == "postgresql://dana:s3c%40t@db:6432/shop?sslmode=require"
