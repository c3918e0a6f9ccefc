"""The services of a rendered project, tried from inside it. Copied there by tests/e2e/test_services.py."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import sqlalchemy as sa
from shop_jobs.scheduler import Settings, procedure_call
from shop_jobs.services import (
    Cursors,
    Database,
    Mailer,
    ProcedureResult,
    make_container,
)

POSTGRESQL = os.environ["TEST_POSTGRESQL_URL"]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = POSTGRESQL if request.param == "postgresql" else f"sqlite:///{tmp_path / 'jobs.db'}"
    database = Database(url, threads=2)
    yield database
    with database.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS JobCursor"))
        connection.execute(sa.text('DROP TABLE IF EXISTS "JobCursor"'))
        connection.execute(sa.text("DROP TABLE IF EXISTS note"))
    database.close()


@pytest.fixture
def postgresql() -> Iterator[Database]:
    database = Database(POSTGRESQL)
    yield database
    database.close()


def run_sql(database: Database, *statements: str) -> None:
    with database.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


async def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    run_sql(database, "CREATE TABLE note (text VARCHAR(20))")

    def work(connection: sa.Connection) -> None:
        connection.exec_driver_sql("INSERT INTO note VALUES ('one')")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await database.run(work)

    count = sa.text("SELECT COUNT(*) FROM note")
    assert await database.run(lambda connection: connection.scalar(count)) == 0


async def test_a_cancelled_transaction_leaves_nothing(database: Database) -> None:
    run_sql(database, "CREATE TABLE note (text VARCHAR(20))")
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work(connection: sa.Connection) -> None:
        connection.exec_driver_sql("INSERT INTO note VALUES ('one')")
        began.set()
        may_end.wait(10)
        ended.set()

    task = asyncio.create_task(database.run(work))
    await asyncio.to_thread(began.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_end.set()
    assert ended.wait(10)

    count = sa.text("SELECT COUNT(*) FROM note")
    assert await database.run(lambda connection: connection.scalar(count)) == 0


async def test_a_cancelled_statement_is_interrupted(postgresql: Database) -> None:
    began = time.monotonic()
    query = sa.text("SELECT pg_sleep(60)")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(postgresql.run(lambda connection: connection.scalar(query)), 0.3)

    active = sa.text(
        "SELECT COUNT(*) FROM pg_stat_activity"
        " WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
    )
    while await postgresql.run(lambda connection: connection.scalar(active)):
        assert time.monotonic() - began < 20
        await asyncio.sleep(0.05)


async def test_only_so_many_statements_run_at_once(database: Database) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work(_: sa.Connection) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    await asyncio.gather(*(database.run(work) for _ in range(8)))

    assert most == 2


async def test_a_cursor_lasts_with_the_transaction_that_saved_it(database: Database) -> None:
    cursors = Cursors(database)
    assert await cursors.get("sync") is None

    await database.run(lambda connection: cursors.save(connection, "sync", "1"))
    await database.run(lambda connection: cursors.save(connection, "sync", "2"))

    def fail(connection: sa.Connection) -> None:
        cursors.save(connection, "sync", "3")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await database.run(fail)
    assert await cursors.get("sync") == "2"
    assert await cursors.get("other") is None


async def test_a_procedure_gets_its_arguments_and_may_commit_by_itself(
    postgresql: Database,
) -> None:
    run_sql(
        postgresql,
        "CREATE TABLE IF NOT EXISTS closed (year INTEGER, note TEXT)",
        """CREATE OR REPLACE PROCEDURE "SP Close 100%%" (year INTEGER, note TEXT, INOUT total INTEGER DEFAULT 0)
        LANGUAGE plpgsql AS $$ BEGIN
          INSERT INTO closed VALUES (year, note); COMMIT;
          SELECT COUNT(*) INTO total FROM closed;
        END $$""",
    )

    result = await postgresql.call("[SP Close 100%]", note="it's 100%", year=2026)

    assert result.rows == [{"total": 1}]
    with postgresql.engine.begin() as connection:
        assert connection.execute(sa.text("SELECT * FROM closed")).all() == [(2026, "it's 100%")]


async def test_a_procedure_without_arguments(postgresql: Database) -> None:
    run_sql(
        postgresql,
        'CREATE OR REPLACE PROCEDURE "100%%"() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$',
    )

    assert (await postgresql.call("[100%]")).sets == ()


async def test_the_error_of_a_procedure_comes_through(postgresql: Database) -> None:
    run_sql(
        postgresql,
        "CREATE OR REPLACE PROCEDURE broken() LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the ledger is closed'; END $$",
    )

    with pytest.raises(psycopg.errors.RaiseException, match="the ledger is closed"):
        await postgresql.call("broken")


@pytest.mark.parametrize(
    ("name", "arguments", "statement"),
    [
        ("dbo.SP_Nightly", {}, "EXEC dbo.SP_Nightly"),
        ("dbo.[Daily Load]", {"Year": 2026, "Note": ""}, "EXEC dbo.[Daily Load] @Year = ?, @Note = ?"),
        ("Acme..SP_Nightly", {}, "EXEC Acme..SP_Nightly"),
        ("[a]]b].[c]", {}, "EXEC [a]]b].[c]"),
    ],
)
def test_sql_server_gets_exec(name: str, arguments: dict[str, Any], statement: str) -> None:
    assert procedure_call("mssql", name, arguments) == statement


@pytest.mark.parametrize(
    "name",
    ["", "SP; DROP TABLE Orders", "SP 1", "dbo.", "[open", 'a"b', "SP--", "EXEC SP", "SP\n"],
)
def test_what_is_not_the_name_of_a_procedure_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a stored procedure"):
        procedure_call("mssql", name, {})


def test_what_is_not_the_name_of_a_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match="not the name of a parameter"):
        procedure_call("mssql", "SP", {"a = 1; DROP TABLE Orders --": 1})


def test_the_first_set_is_the_rows() -> None:
    assert ProcedureResult((), 4).rows == []
    assert ProcedureResult(([{"a": 1}], [{"b": 2}]), 0).rows == [{"a": 1}]


async def test_mail_without_a_server_lands_in_the_outbox(tmp_path: Path) -> None:
    mailer = Mailer(Settings(smtp_host="", smtp_from="jobs@example.com"), tmp_path / "out")

    await mailer.send(
        ["a@example.com", "b@example.com"],
        "שלום ✓",
        "text",
        html="<b>text</b>",
        attachments={"table.csv": b"1;2", "blob": b"\0"},
    )

    (file,) = (tmp_path / "out").iterdir()
    content = file.read_text()
    assert "To: a@example.com, b@example.com" in content
    assert "text/html" in content
    assert 'filename="table.csv"' in content


@pytest.mark.parametrize("kind", [Database, Mailer, Cursors, httpx.AsyncClient, Settings])
async def test_everything_the_guide_promises_is_offered(kind: type) -> None:
    container = make_container()

    async with container() as request:
        assert isinstance(await request.get(kind), kind)
    await container.close()
