"""Inline jobs enqueued in a test within the application's transaction run after its commit, and never after a rollback."""

import contextlib
import threading
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest
import sqlalchemy as sa
from sessions_rig import (
    POSTGRESQL,
    SQLITE,
    address,
    django_connection,
    ended,
    execute,
    of_psycopg,
    plain_session,
)
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from targcc_scheduler import Client, job
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.errors import UnknownRun
from targcc_scheduler.core.states import RunState

SEEN: list[str] = []
URL: list[str] = []


def people() -> list[str]:
    """Return the names that another connection reads."""
    url = URL[0]
    engine = sa.create_engine(address(url, "+psycopg" if "postgresql" in url else ""))
    with engine.connect() as connection:
        names = list(connection.scalars(sa.text("SELECT name FROM people ORDER BY name")))
    engine.dispose()
    return names


@job()
def greet(name: str) -> str:
    """Greet a person who is in the table."""
    assert name in people()
    SEEN.append(name)
    return name


@job(after=[greet])
async def count_greetings() -> str:
    """Follow a greeting."""
    SEEN.append(f"{len(SEEN)} greeted")
    return "counted"


@job()
async def complain(name: str) -> str:
    """Fail."""
    raise LookupError(f"no {name}")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'theirs.db'}"
    database_url: str = request.getfixturevalue("postgresql_url")
    return database_url


@pytest.fixture(autouse=True)
def _under_pytest(monkeypatch, url):
    monkeypatch.delenv("TARGCC_MODE")
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", __name__)
    SEEN.clear()
    URL[:] = [url]
    engine = sa.create_engine(address(url, "+psycopg" if "postgresql" in url else ""))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE people (name varchar(20) UNIQUE)"))
    engine.dispose()


DANA = "INSERT INTO people VALUES ('Dana')"


KINDS = [("sqlite", kind) for kind in SQLITE] + [("postgresql", kind) for kind in POSTGRESQL]


@pytest.mark.parametrize(("url", "kind"), KINDS, indirect=["url"])
async def test_a_job_runs_after_the_commit_and_never_after_a_roll_back(
    url, kind, scheduler, enqueued
):
    kinds: dict[str, Any] = SQLITE if "sqlite" in url else POSTGRESQL
    async with kinds[kind](url) as session:
        await execute(session, DANA)
        never = await scheduler.enqueue("greet", session=session, name="Dana")
        assert [run.state for run in enqueued()] == [RunState.ENQUEUED]
        await ended(session, "rollback")
        assert enqueued() == []
        with pytest.raises(UnknownRun, match="rolled back"):
            await scheduler.wait(never)
        await execute(session, DANA)
        [run] = await scheduler.enqueue_many("greet", [{"name": "Dana"}], session=session)
        assert SEEN == []
        await ended(session, "commit")
        assert await scheduler.wait(run) == RunState.SUCCEEDED
        await ended(session, "commit")
    assert SEEN == ["Dana", "1 greeted"]
    assert [run.state for run in enqueued()] == [RunState.SUCCEEDED] * 2


@pytest.mark.parametrize("kind", ["session", "connection"])
async def test_a_savepoint_that_is_rolled_back_takes_its_runs_along(kind, url, scheduler, enqueued):
    kinds: dict[str, Any] = SQLITE if "sqlite" in url else POSTGRESQL
    async with kinds[kind](url) as session:
        await execute(session, DANA)
        await scheduler.enqueue("greet", session=session, name="Dana")
        with session.begin_nested():
            await scheduler.enqueue("greet", session=session, name="Dana")
        savepoint = session.begin_nested()
        await scheduler.enqueue("greet", session=session, name="Nobody")
        savepoint.rollback()
        assert [run.arguments["name"] for run in enqueued()] == ["Dana", "Dana"]
        assert SEEN == []
        session.commit()
    assert SEEN == ["Dana", "1 greeted", "Dana", "3 greeted"]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_a_transaction_block_of_psycopg_that_fails_takes_its_runs_along(
    url, scheduler, enqueued
):
    async with of_psycopg(url) as session:
        with session.transaction():
            await execute(session, DANA)
            Client(scheduler).enqueue("greet", session=session, name="Dana")
            with contextlib.suppress(LookupError), session.transaction():
                Client(scheduler).enqueue("greet", session=session, name="Nobody")
                raise LookupError
            assert SEEN == []
        assert SEEN == ["Dana", "1 greeted"]
        session.autocommit = True
        Client(scheduler).enqueue("greet", session=session, name="Dana")
    assert len(enqueued(greet)) == 2
    assert SEEN[2:] == ["Dana", "3 greeted"]


async def test_the_commit_raises_what_the_job_raises_and_the_session_goes_on(
    url, scheduler, enqueued
):
    async with plain_session(url, "+psycopg" if "postgresql" in url else "") as session:
        await execute(session, DANA)
        await scheduler.enqueue("complain", session=session, name="Dana")
        await scheduler.enqueue("greet", session=session, name="Dana")
        with pytest.raises(LookupError, match="no Dana"):
            session.commit()
        assert SEEN == ["Dana", "1 greeted"]
        assert [run.state for run in enqueued(complain)] == [RunState.FAILED]
        assert session.scalar(sa.text("SELECT name FROM people")) == "Dana"
        session.commit()
    assert len(SEEN) == 2


async def test_an_async_session_runs_async_jobs_on_its_own_loop(url, scheduler):
    """The pool has a single connection, which is returned by then."""
    driver = "+asyncpg" if "postgresql" in url else "+aiosqlite"
    pool = {"poolclass": sa.AsyncAdaptedQueuePool, "pool_size": 1, "max_overflow": 0}
    engine = create_async_engine(address(url, driver), pool_timeout=1, **pool)

    async def greet_again(name: str = "nobody") -> None:
        async with AsyncSession(engine) as own:
            stored_name = await own.scalar(sa.text("SELECT name FROM people"))
            SEEN.append(f"{stored_name} or {name}")

    scheduler.add_recurring("Again", greet_again, "0 0 1 1 *")
    async with AsyncSession(engine) as session, session.begin():
        await execute(session, DANA)
        await scheduler.enqueue("Again", session=session, name="Noa")
        assert SEEN == []
    await engine.dispose()
    assert SEEN == ["Dana or Noa"]


def test_what_belongs_together_waits_for_the_commit_together(url, scheduler, enqueued):
    """Cover several runs, a batch with its callback, and a run that waits for another run of the same transaction."""
    engine = sa.create_engine(address(url, "+psycopg" if "postgresql" in url else ""))
    jobs = Client(scheduler)
    with Session(engine) as session:
        for how in ("rollback", "commit"):
            session.execute(sa.text(DANA))
            first, _ = jobs.enqueue_many("greet", [{"name": "Dana"}] * 2, session=session)
            jobs.enqueue("greet", session=session, after=first, name="Dana")
            with jobs.batch("month end", on_finish="count_greetings", session=session) as batch:
                batch.enqueue("greet", name="Dana")
            later = jobs.schedule("greet", delay="1h", session=session, name="Dana")
            assert SEEN == []
            getattr(session, how)()
    engine.dispose()
    assert SEEN.count("Dana") == 4
    assert [run.state for run in enqueued(greet) if run.run_id != later] == ["succeeded"] * 4
    assert len(enqueued(count_greetings)) == 5


async def test_runs_that_are_added_to_a_batch_run_after_the_commit(url, scheduler, enqueued):
    async with plain_session(url, "+psycopg" if "postgresql" in url else "") as session:
        async with scheduler.batch("month end") as batch:
            batch.enqueue("count_greetings")
        await execute(session, DANA)
        many = [{"name": "Dana"}]
        [run] = await scheduler.batches.add(batch.batch_id, greet, many, session=session)
        assert [entry.run_id for entry in enqueued(greet)] == [run]
        assert "Dana" not in SEEN
        session.commit()
    assert "Dana" in SEEN


async def test_a_roll_back_takes_a_cancellation_back(url, scheduler):
    async with plain_session(url, "+psycopg" if "postgresql" in url else "") as session:
        run = await scheduler.schedule("greet", delay="1h", name="Dana")
        await scheduler.cancel(run, by=SYSTEM, connection=session)
        session.rollback()
        with pytest.raises(TimeoutError, match="still scheduled"):
            await scheduler.wait(run)
        await scheduler.cancel(run, by=SYSTEM, connection=session)
        session.commit()
        assert await scheduler.wait(run) == RunState.CANCELLED


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("theirs", [MagicMock(), AsyncMock(spec=AsyncSession), object()])
async def test_with_a_mock_for_a_session_jobs_run_at_once(theirs, scheduler):
    with pytest.raises(LookupError):
        await scheduler.enqueue("complain", session=theirs, name="Dana")


def test_a_transaction_of_django_runs_jobs_after_its_commit_in_its_own_thread(
    url, scheduler, enqueued, monkeypatch
):
    from django.db import connections
    from django.db.transaction import atomic

    connection, jobs, threads = django_connection(url), Client(scheduler), []
    monkeypatch.setattr(type(connections), "__getitem__", lambda *_: connection)
    scheduler.add_recurring("Thread", lambda: threads.append(threading.get_ident()), "0 0 1 1 *")
    with atomic():
        connection.cursor().execute(DANA)
        jobs.enqueue("greet", session=connection, name="Dana")
        jobs.enqueue("Thread", session=connection)
        with contextlib.suppress(LookupError), atomic():
            jobs.enqueue("greet", session=connection, name="Nobody")
            raise LookupError
        assert [run.arguments for run in enqueued(greet)] == [{"name": "Dana"}]
        assert SEEN == []
    assert SEEN == ["Dana", "1 greeted"]
    with contextlib.suppress(LookupError), atomic():
        jobs.enqueue("greet", session=connection, name="Nobody")
        raise LookupError
    jobs.enqueue("greet", session=connection, name="Dana")  # each statement commits by itself
    assert [run.state for run in enqueued(greet)] == ["succeeded"] * 2
    assert threads == [threading.get_ident()]
    connection.set_autocommit(False)
    jobs.enqueue("greet", session=connection, name="Dana")
    connection.commit()
    connection.set_autocommit(True)
    connection.close()
    assert [run.state for run in enqueued(greet)] == ["succeeded"] * 3
