"""Tables are created once, by whichever process is first, and are equal on every path and database."""

import asyncio
import contextlib
import re
import sqlite3
import subprocess
import sys

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from click.testing import CliRunner
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler import migrate
from targcc_scheduler.cli.main import main
from targcc_scheduler.db.columns import metadata
from targcc_scheduler.db.dialects.known import version_table
from targcc_scheduler.db.engines import make_engine, sync_engine
from targcc_scheduler.db.migrations.upgrade import current_revision, head_revision, sql_script
from targcc_scheduler.db.transactions import Store

DIALECTS = {"sqlite": "sqlite", "postgresql": "postgres", "mssql": "tsql"}


def test_migrating_says_the_version_and_does_nothing_the_second_time(tmp_path):
    url = f"sqlite:///{tmp_path / 'new.db'}"
    with sync_engine(url) as engine, engine.connect() as connection:
        assert current_revision(connection) is None
        assert migrate(url) == head_revision()
    with sync_engine(url) as engine, engine.connect() as connection:
        assert migrate(url) == current_revision(connection) == head_revision()


def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path):
    url = f"sqlite:///{tmp_path / 'new.db'}"
    migrate(url)
    with sync_engine(url) as engine, engine.connect() as connection:
        options = {
            "compare_type": True,
            "compare_server_default": False,
            "version_table": version_table(engine.dialect.name),
            "include_name": lambda name, _, __: not re.match("c_JobText(_|$)", name or ""),
        }  # FTS5 creates internal tables
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_history_reads_with_unquoted_names(database):
    assert database.rows("SELECT * FROM c_LoggedJob ORDER BY StartedAt DESC") == []
    columns = [row["name"] for row in database.rows("PRAGMA table_info(c_LoggedJob)")]
    assert columns[:16] == [
        *("ID", "JobName", "JobId", "JobType", "StartedAt", "CompletedAt", "DurationMs"),
        *("Success", "ResultMessage", "ErrorMessage", "StackTrace", "ServerName"),
        *("TriggeredBy", "MemoryUsedMB", "CpuTimeMs", "CreatedAt"),
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_step_begins_where_the_one_before_ends(dialect):
    first, rest = sql_script(dialect, revision="0001"), sql_script(dialect, since="0001")
    assert "-- Running upgrade  -> 0001" in first
    assert "-- Running upgrade 0001 -> " in rest
    assert "-- Running upgrade  -> " not in rest
    for step in rest.split("-- Running upgrade ")[1:]:
        assert step.partition("\n\nCOMMIT")[0].strip() in sql_script(dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_name_in_a_script_is_quoted(dialect):
    script = re.sub(r"\S*_pkc\S*", "", sql_script(dialect))  # Alembic's own constraint
    assert not re.search(r'["\[\]`]', script)


def tsql_batches(script: str) -> list[str]:
    return [batch.strip() for batch in re.split(r"^GO$", script, flags=re.MULTILINE)]


def executed_after_an_error(batches: list[str], failed: int) -> list[str]:
    """Return the batches that SQL Server executes after a batch whose error rolled the transaction back, as its tools send them."""
    is_off, executed = False, []
    for batch in batches[failed + 1 :]:
        if batch.startswith("IF @@TRANCOUNT = 0 SET NOEXEC ON;"):
            is_off = True
        elif batch == "SET NOEXEC OFF;":
            is_off = False
        elif batch and not is_off:
            executed.append(batch)
    return executed


@pytest.mark.parametrize("since", ["", "0001"])
def test_an_error_in_the_script_for_sql_server_changes_nothing(since):
    batches = tsql_batches(sql_script("mssql", since=since))
    begin, commit = batches.index("BEGIN TRANSACTION;"), batches.index("COMMIT;")
    changing = [n for n in range(begin + 1, commit) if not batches[n].startswith("IF @@TRAN")]
    assert len(changing) > 40
    assert [n for n in changing if executed_after_an_error(batches, n)] == []


def test_the_script_for_sql_server_sets_what_its_indexes_need_and_runs_once():
    first, second, *_ = tsql_batches(sql_script("mssql"))
    assert "QUOTED_IDENTIFIER ON" in first  # sqlcmd has it off, and filtered indexes need it
    assert "SET XACT_ABORT ON" in first
    assert second.startswith("IF OBJECT_ID(N'c_AlembicVersion') IS NOT NULL")
    assert second.endswith("SET NOEXEC ON;\nEND;")
    assert "OBJECT_ID" not in sql_script("mssql", since="0001")


def test_the_roles_on_sql_server_have_rights_on_each_table_and_no_more():
    done = CliRunner().invoke(
        main, ["migrate", "--sql", "mssql", "--roles"], catch_exceptions=False
    )
    granted = re.findall(r"GRANT (.*) ON (?!SCHEMA)(\w+) TO targcc_runtime;", done.output)
    tables = {table: rights for rights, table in granted}
    assert set(tables) >= {"c_JobRun", "c_LoggedJob", "c_JobUser", "c_JobSession"}
    assert {tables[name] for name in tables if name != "c_AlembicVersion"} == {
        "SELECT, INSERT, UPDATE, DELETE"
    }
    assert tables["c_AlembicVersion"] == "SELECT"
    readable = set(re.findall(r"GRANT SELECT ON (\w+) TO targcc_reader;", done.output))
    assert readable == {"c_LoggedJob", "c_JobRun", "c_JobSchedule", "c_JobStat"}


@pytest.mark.parametrize("given", [["--roles"], ["--roles", "--sql", "postgresql"]])
def test_roles_are_of_sql_server(given):
    done = CliRunner().invoke(main, ["migrate", *given])
    assert done.exit_code == 2
    assert "--roles goes with --sql mssql" in done.output


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("dialect", ["mssql", "postgresql"])
def test_the_script_parses(dialect):
    command = [sys.executable, "-m", "sqlfluff", "parse", "--dialect", DIALECTS[dialect], "-"]
    script = sql_script(dialect, revision="0001")
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "unparsable" not in done.stdout


def test_the_script_for_sqlite_makes_the_same_tables(tmp_path, database):
    connection = sqlite3.connect(tmp_path / "by-hand.db")
    connection.executescript(sql_script("sqlite"))
    by_hand = connection.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
    assert by_hand == [
        (row[0],) for row in database.rows("SELECT name FROM sqlite_master ORDER BY name")
    ]
    connection.close()


def test_sql_server_allows_many_runs_without_a_slot():
    [index] = re.findall(r"CREATE UNIQUE INDEX UQ_c_JobRun_Slot.*", sql_script("mssql"))
    assert index.endswith("WHERE ScheduledFor IS NOT NULL;")


async def test_the_file_is_in_wal_mode_and_survives_a_power_cut(database):
    engine = make_engine(database.url)
    async with engine.connect() as connection:
        assert await connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert await connection.scalar(sa.text("PRAGMA synchronous")) == 1
    await engine.dispose()


async def test_a_writer_waits_for_another_process_without_holding_up_the_loop(database):
    store = Store(database.url)
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    turns = 0

    async def write() -> None:
        async with store.write() as connection:
            await connection.execute(sa.text("UPDATE c_JobQueue SET Name = Name"))

    writing = asyncio.create_task(write())
    while turns < 50:
        await asyncio.sleep(0.001)
        turns += 1
    assert not writing.done()
    other.execute("COMMIT")
    await asyncio.wait_for(writing, 30)
    other.close()
    await store.dispose()


async def test_a_store_waits_for_connections_that_cancelled_tasks_still_close(
    migrated_url, monkeypatch
):
    """A task that is cancelled twice leaves the closing of its connection behind; the pool of a disposed engine would keep it open."""
    store = Store(migrated_url)
    may_close, writing = asyncio.Event(), asyncio.Event()
    drivers = []
    close = AsyncConnection.close

    async def slow_close(connection):
        await may_close.wait()
        await close(connection)

    async def write():
        async with store.write() as connection:
            drivers.append((await connection.get_raw_connection()).driver_connection)
            writing.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await writing.wait()
    monkeypatch.setattr(AsyncConnection, "close", slow_close)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.wait([task])
    disposal = asyncio.create_task(store.dispose())
    await asyncio.sleep(0)
    may_close.set()
    await disposal
    [driver] = drivers
    _assert_closed(driver)


@pytest.mark.parametrize("begin", ["read", "write", "write_at_once", "beat"])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_connection_that_is_in_use_when_its_store_is_closed_is_closed_after_its_use(
    migrated_url, begin, fails
):
    store = Store(migrated_url)
    with contextlib.suppress(LookupError):
        async with getattr(store, begin)() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            await store.dispose()
            if fails:
                raise LookupError
    _assert_closed(driver)


def _assert_closed(driver):
    if isinstance(driver, psycopg.AsyncConnection):
        assert driver.closed
    else:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            driver._open.commit()
