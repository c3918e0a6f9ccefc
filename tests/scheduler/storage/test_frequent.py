"""Statements executed directly by the driver return and raise the same as through SQLAlchemy."""

import asyncio
import contextlib
from datetime import UTC, datetime

import psycopg
import pytest
import sqlalchemy as sa
from rt_tools import until
from sqlalchemy.exc import IntegrityError, OperationalError
from targcc_scheduler.db.dialects.frequent import FrequentStatement
from targcc_scheduler.db.dialects.psycopg_driver import QuietConnection
from targcc_scheduler.db.tables import job_server
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel.poller import see

NOW = datetime(2026, 6, 10, 12, 0, 0, 123456, tzinfo=UTC)
ROWS = sa.select(job_server.c.Id, job_server.c.HeartbeatAt, job_server.c.StuckIn).order_by("Id")
ADD = FrequentStatement(
    job_server.insert().values(
        Id=sa.bindparam("name"),
        Name="here",
        ProcessId=sa.bindparam("process"),
        Queues="default",
        Workers=1,
        Version="1",
        StartedAt=NOW,
        HeartbeatAt=NOW,
    )
)

WHO = FrequentStatement(sa.text("SELECT pg_backend_pid() AS pid").columns(pid=sa.Integer))
SLEEP = FrequentStatement(sa.text("SELECT pg_sleep(30)::text AS x").columns(x=sa.Text))


@pytest.fixture
async def store(migrated_url):
    made = Store(migrated_url)
    yield made
    await made.dispose()


async def test_rows_are_as_sqlalchemy_gives_them(store):
    async with store.write() as connection:
        added = [{"name": name, "process": 1} for name in ("a", "b")]
        await ADD.run(connection, added)
    async with store.read() as connection:
        rows = await FrequentStatement(ROWS).all(connection, {})
        plain = (await connection.execute(ROWS)).all()
    assert [tuple(row) for row in rows] == [tuple(row) for row in plain]
    assert [(row.Id, row.HeartbeatAt, row.StuckIn) for row in rows] == [
        ("a", NOW, None),
        ("b", NOW, None),
    ]


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
async def test_what_it_changes_is_committed_with_the_connection_of_whoever_it_belongs_to(store):
    async with store.engine.connect() as connection:
        await ADD.run(connection, [{"name": "a", "process": 1}])
        await connection.commit()
    async with store.read() as connection:
        assert [beat.server_id for beat in (await see(connection)).beats] == ["a"]


async def test_what_the_database_refuses_is_an_error_of_sqlalchemys_and_rolled_back(store):
    with pytest.raises(IntegrityError):
        async with store.write() as connection:
            await ADD.run(connection, [{"name": "a", "process": 1}] * 2)
    async with store.read() as connection:
        assert (await see(connection)).beats == ()


@pytest.mark.parametrize("way", [FrequentStatement.all, FrequentStatement.planned_once])
@pytest.mark.parametrize("begin", ["read", "write", "write_at_once", "beat"])
@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
async def test_a_connection_that_the_server_has_ended_is_an_outage_and_nobody_gets_it_again(
    store, migrated_url, begin, way, caplog
):
    async def ask_twice():
        async with getattr(store, begin)() as connection:
            [row] = await way(WHO, connection, {})
            _end(migrated_url, row.pid)
            await way(WHO, connection, {})

    with pytest.raises(OperationalError) as caught:
        await ask_twice()
    assert caught.value.connection_invalidated
    assert [record for record in caplog.records if record.exc_info] == []
    async with getattr(store, begin)() as connection:
        assert (await see(connection)).beats == ()


@pytest.mark.parametrize("way", [FrequentStatement.all, FrequentStatement.planned_once])
@pytest.mark.parametrize("begin", ["read", "write", "write_at_once", "beat"])
@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
async def test_a_call_that_is_cancelled_while_the_server_ends_its_connection_logs_no_traceback(
    store, migrated_url, begin, way, caplog
):
    backend = []

    async def ask():
        async with getattr(store, begin)() as connection:
            [row] = await way(WHO, connection, {})
            backend.append(row.pid)
            await way(SLEEP, connection, {})

    asking = asyncio.create_task(ask())
    await until(lambda: backend and _is_asleep(migrated_url, backend[0]))
    _end(migrated_url, backend[0])
    asking.cancel()  # before the loop has looked at the connection
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [record for record in caplog.records if record.exc_info] == []
    async with getattr(store, begin)() as connection:
        assert (await see(connection)).beats == ()


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
async def test_one_that_was_kept_and_that_the_server_has_closed_meanwhile_is_lent_to_nobody(
    store, migrated_url
):
    async with store.read() as kept:
        driver = (await kept.get_raw_connection()).driver_connection
    async with store.read() as again:
        assert again is kept
    _end(migrated_url, driver.info.backend_pid)
    await until(lambda: not store.dialect.is_open(kept))
    async with store.read() as another:
        assert another is not kept
        assert (await see(another)).beats == ()


def _end(url: str, backend: int) -> None:
    """Let the server end a connection, and wait until it has."""
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (backend,))


def _is_asleep(url: str, backend: int) -> bool:
    with psycopg.connect(url, autocommit=True) as other:
        query = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s"
        return bool(other.execute(query, (backend,)).fetchone()[0])


async def test_a_connection_that_listens_hears_at_once_and_does_not_wake_for_nothing(
    migrated_postgresql_url, monkeypatch
):
    waits = []

    async def wait(self, gen, interval, *more, **options):
        waits.append(interval)
        return await own(self, gen, interval, *more, **options)

    own = psycopg.AsyncConnection.wait
    monkeypatch.setattr(psycopg.AsyncConnection, "wait", wait)
    async with await QuietConnection.connect(migrated_postgresql_url, autocommit=True) as listening:
        await listening.execute("LISTEN news")
        async with contextlib.aclosing(listening.notifies()) as heard:
            hears = asyncio.create_task(anext(heard))
            await asyncio.sleep(0)  # until the statement waits
            with psycopg.connect(migrated_postgresql_url, autocommit=True) as other:
                other.execute("NOTIFY news, 'hello'")
            assert (await asyncio.wait_for(hears, 30)).payload == "hello"
    assert min(waits) >= 10  # seconds; Psycopg's own value is a tenth of a second
