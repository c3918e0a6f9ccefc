"""What only a real SQL Server shows: locks, deadlocks, row versions, messages in other languages. ``uv run python tests/sql_server`` runs it."""

import asyncio
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from rt_tools import NodeProcess, ServerDatabase, until
from sqlalchemy.exc import DBAPIError
from targcc_scheduler.core.clock import SystemClock
from targcc_scheduler.core.errors import SchemaError
from targcc_scheduler.core.outage import is_held_up, is_undone
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.tables import job_setting
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.kernel.engine.leased import Lease

import sql_server

pytestmark = pytest.mark.sqlserver

NAMES = ["first", "second", "third"]
c = job_setting.c
LOCK = sa.select(c.Name).where(c.Name.in_(NAMES)).order_by(c.Name).limit(1)


@pytest.fixture
async def store(migrated_mssql_url):
    made = Store(migrated_mssql_url)
    async with made.write() as connection:
        for name in NAMES:
            row = {"Name": name, "Value": "0", "UpdatedAt": datetime.now(UTC)}
            await connection.execute(sa.insert(job_setting).values(row))
    yield made
    await made.dispose()


def _set(name, value="1"):
    return sa.update(job_setting).where(c.Name == name).values(Value=value)


async def test_a_claim_skips_rows_that_another_transaction_has_locked(store):
    async with store.write() as first, store.write() as second:
        skipping = LOCK.with_for_update(skip_locked=True)
        assert await first.scalar(skipping) == "first"
        assert await second.scalar(skipping) == "second"


async def test_a_lock_of_a_row_makes_another_transaction_wait(store):
    async with store.write() as first:
        await first.execute(_set("first"))
        async with store.write() as second:
            waiting = asyncio.create_task(second.scalar(LOCK.with_for_update()))
            done, _ = await asyncio.wait({waiting}, timeout=0.5)
            assert not done
            await first.commit()
            assert await waiting == "first"


async def test_a_statement_that_waits_briefly_gives_up(store):
    dialect = store.dialect
    async with store.write() as first:
        await first.execute(_set("first"))
        async with store.write() as second:
            await second.execute(dialect.wait_briefly)
            with pytest.raises(DBAPIError) as caught:
                await second.execute(_set("first"))
    assert is_held_up(caught.value)


async def test_a_deadlock_is_recognised_and_may_be_done_again(store):
    async def change(one, other, both_hold):
        async with store.write() as connection:
            await connection.execute(_set(one))
            await both_hold.wait()
            await connection.execute(_set(other))

    barrier = asyncio.Barrier(2)
    tasks = [change("first", "second", barrier), change("second", "first", barrier)]
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [outcome for outcome in outcomes if outcome is not None]
    assert [is_undone(error) for error in errors] == [True]
    async with store.write() as connection:  # the connection of the victim is usable again
        await connection.execute(_set("first", "2"))


async def test_a_reader_does_not_wait_for_a_writer(store):
    async with store.write() as writer:
        await writer.execute(_set("first"))
        async with store.read() as reader:
            value = await asyncio.wait_for(
                reader.scalar(sa.select(c.Value).where(c.Name == "first")), timeout=10
            )
    assert value == "0"


def test_without_row_versions_the_scheduler_refuses_to_start(migrated_mssql_url):
    address = sa.make_url(migrated_mssql_url)
    master = sql_server.SQLServer._connect(address.set(database="master"))
    name = address.database
    engine = sa.create_engine(known.for_url(address).url(address, is_async=False))
    option = f"ALTER DATABASE [{name}] SET READ_COMMITTED_SNAPSHOT"
    try:
        master.execute(f"{option} OFF WITH ROLLBACK IMMEDIATE")
        with (
            engine.connect() as connection,
            pytest.raises(SchemaError, match="READ_COMMITTED_SNAPSHOT ON"),
        ):
            known.of(connection).require(connection)
    finally:
        engine.dispose()
        master.execute(f"{option} ON WITH ROLLBACK IMMEDIATE")
    with engine.connect() as connection:
        known.of(connection).require(connection)
    engine.dispose()


@pytest.mark.parametrize("language", ["German", "French", "Japanese"])
async def test_a_duplicate_is_recognised_in_any_language(store, language):
    row = {"Name": "first", "Value": "0", "UpdatedAt": datetime.now(UTC)}
    async with store.write() as connection:
        await connection.execute(sa.text(f"SET LANGUAGE {language}"))
        with pytest.raises(DBAPIError) as caught:
            await connection.execute(sa.insert(job_setting).values(row))
    assert is_undone(caught.value)


async def test_names_that_differ_only_in_case_meet_one_row(store):
    async with store.read() as connection:
        count = sa.select(sa.func.count()).where(c.Name == "FIRST")
        collation = await connection.scalar(
            sa.text("SELECT CAST(DATABASEPROPERTYEX(DB_NAME(), 'Collation') AS nvarchar(100))")
        )
        assert await connection.scalar(count) == int("_ci_" in collation.lower())


async def _held(lease):
    while not await lease.is_held():  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.1)


async def test_a_standby_takes_the_lease_of_a_session_that_was_killed(store, migrated_mssql_url):
    other = Store(migrated_mssql_url)
    first, second = Lease(store.engine, SystemClock()), Lease(other.engine, SystemClock())
    try:
        assert [await first.is_held(), await second.is_held()] == [True, False]
        session = await first._connection.scalar(sa.text("SELECT @@SPID"))
        sql_server.SQLServer._connect(sa.make_url(migrated_mssql_url)).execute(f"KILL {session}")
        async with asyncio.timeout(30):
            await _held(second)
    finally:
        await first.close()
        await second.close()
        await other.dispose()


@pytest.mark.usefixtures("processes")
async def test_a_standby_goes_on_when_the_active_node_is_killed(migrated_mssql_url, tmp_path):
    database = ServerDatabase(migrated_mssql_url, tmp_path)
    notes = tmp_path / "notes"
    notes.touch()
    nodes = [NodeProcess(database, notes) for _ in range(2)]
    try:
        await until(lambda: database.one("SELECT COUNT(*) FROM c_JobServer") == 2, seconds=60)
        mark = "SELECT Value FROM c_JobSetting WHERE Name = 'active node'"
        await until(lambda: database.rows(mark), seconds=60)
        before = database.one(mark)
        active = next(node for node in nodes if "this node is active now" in node.said())
        active.kill()
        await until(lambda: database.one(mark) != before, seconds=30)
    finally:
        for node in nodes:
            if node.process.poll() is None:
                node.kill()
