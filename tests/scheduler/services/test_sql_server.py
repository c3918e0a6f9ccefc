"""SQL Server as the jobs' database: the real driver against a fake server that speaks its protocol; see ``tds_double.py``."""

import asyncio
import time
from datetime import timedelta
from types import SimpleNamespace

import mssql_python
import pytest
from pysqlbridge.tds.result import QueryError
from rt_tools import until
from sqlalchemy.exc import DBAPIError
from targcc_scheduler import Actor, ActorKind, RunState
from targcc_scheduler.core.clock import deadline
from targcc_scheduler.services import transaction
from targcc_scheduler.services import transaction as service_transaction
from targcc_scheduler.services.database import Database
from tds_double import Slow, tds_double

SHORT = timedelta(seconds=0.3)
DANA = Actor(ActorKind.MANUAL, "dana")


@pytest.fixture
def double():
    with tds_double() as made:
        made.answers["SP_Slow"] = Slow()
        yield made


@pytest.fixture
def sql_server(double):
    made = Database(double.url(), threads=1)
    yield made
    made.close()


async def test_a_timeout_stops_the_procedure_on_the_server(double, sql_server, scheduler, database):
    async def close_month():
        await sql_server.call("dbo.SP_Slow")

    scheduler.add_recurring("close-month", close_month, "0 0 1 1 *", timeout=SHORT, retries=0)
    run = await scheduler.trigger("close-month", by=DANA)

    assert await scheduler.wait(run, timeout=30) == RunState.FAILED
    assert "timed out after" in database.history(run)[0]["ErrorMessage"]
    (statement, _), *_ = await until(lambda: double.stopped)
    assert (statement, double.finished) == ("EXEC dbo.SP_Slow", [])


@pytest.mark.parametrize(
    "number", [[{"number": 50000}], [{"number": 0}], QueryError("gone", number=596)]
)
async def test_an_error_of_a_procedure_is_what_the_procedure_said(
    double, sql_server, scheduler, database, number
):
    double.answers |= {"SELECT @@ERROR": number, "SP_Bad": QueryError("no orders [today]")}

    async def close_month():
        await sql_server.call("dbo.SP_Bad")

    scheduler.add_recurring("close-month", close_month, "0 0 1 1 *", retries=0)
    run = await scheduler.trigger("close-month", by=DANA)

    assert await scheduler.wait(run, timeout=30) == RunState.FAILED
    said = "no orders [today]" + (" (error 50000)" if number == [{"number": 50000}] else "")
    assert database.history(run)[0]["ErrorMessage"].endswith(f"ProgrammingError: {said}")


@pytest.mark.parametrize(
    ("number", "kind"), [(8134, "DataError"), (2627, "IntegrityError"), (208, "ProgrammingError")]
)
async def test_an_error_of_a_statement_is_what_the_server_said(double, sql_server, number, kind):
    double.answers |= {
        "SELECT @@ERROR": [{"number": number}],
        "SP_Bad": QueryError("it is so", number=number),
    }
    with pytest.raises(getattr(mssql_python, kind)) as caught:
        await sql_server.call("dbo.SP_Bad")

    assert str(caught.value) == f"it is so (error {number})"


@pytest.mark.parametrize("statement", ["EXEC SP_Slow", "SELECT * FROM SP_Slow"])
async def test_a_cancelled_job_stops_its_statement_and_the_connection_goes_on(
    double, sql_server, statement
):
    task = asyncio.create_task(sql_server.run(lambda c: c.exec_driver_sql(statement)))
    await until(lambda: statement in double.seen)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await until(lambda: double.stopped)
    assert await sql_server.run(lambda c: c.exec_driver_sql("SELECT 1 AS one").scalar()) == 1
    assert double.seen.count("SELECT @@SPID") == 1  # a single connection


async def test_without_any_cancel_the_drivers_own_time_limit_stops_the_statement(
    double, sql_server, monkeypatch
):
    monkeypatch.setattr(transaction.Transaction, "expire", lambda _self: None)
    deadline.set(time.monotonic() + 0.1)
    with pytest.raises(DBAPIError, match="timeout expired"):
        await sql_server.run(lambda c: c.exec_driver_sql("EXEC SP_Slow"))

    [(_, seconds)] = double.stopped
    assert 1 < seconds < Slow.seconds


async def test_the_time_limit_is_taken_back_before_the_pool_gets_the_connection(sql_server):
    deadline.set(time.monotonic() + 60)
    seen = []
    await sql_server.run(lambda c: seen.append(c.connection.driver_connection.timeout))
    with sql_server.engine.connect() as connection:
        seen.append(connection.connection.driver_connection.timeout)

    assert 32 < seen[0] <= 62
    assert seen[1] == 0


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(transaction, "_PATIENCE", 0.2)


@pytest.mark.usefixtures("impatient")
async def test_a_session_that_hears_no_cancel_is_killed(double, sql_server):
    double.answers = {"HAS_PERMS_BY_NAME": [{"may": 1}], "SP_Deaf": Slow(deaf=True)}
    deadline.set(time.monotonic() + 0.1)
    with pytest.raises(TimeoutError):
        await sql_server.call("SP_Deaf")

    assert double.killed == {51}
    assert double.seen.count("KILL 51") == 1
    deadline.set(None)
    assert await sql_server.run(lambda c: c.exec_driver_sql("SELECT 1 AS one").scalar()) == 1


@pytest.mark.usefixtures("impatient")
async def test_a_log_in_that_may_not_kill_is_told_so(double, sql_server, caplog):
    double.answers = {"HAS_PERMS_BY_NAME": [{"may": 0}], "SP_Deaf": Slow(seconds=1, deaf=True)}
    deadline.set(time.monotonic() + 0.1)
    with pytest.raises(TimeoutError):
        await sql_server.call("SP_Deaf")

    assert double.killed == set()
    assert "KILL needs ALTER ANY CONNECTION" in caplog.text


async def test_a_connection_in_the_pool_has_no_open_transaction(double, sql_server):
    double.answers = {"usp_Close": [{"Total": "42"}]}
    await sql_server.call("dbo.usp_Close")

    bounds = [text for text in double.seen if text in {"BEGIN TRANSACTION", "COMMIT", "ROLLBACK"}]
    assert bounds[-1] == "ROLLBACK"


async def test_a_server_that_does_not_tell_its_isolation_level_runs_procedures(double, sql_server):
    double.answers = {"usp_Close": [{"Total": "42"}], "sys.system_views": []}
    result = await sql_server.call("dbo.usp_Close")

    assert result.remark == "42"


async def test_a_procedure_gets_its_arguments_and_its_rows_come_back(double, sql_server):
    double.answers = {"usp_Close": [{"Month": 11, "Total": "42"}]}
    result = await sql_server.call("dbo.usp_Close", month=11, note="O'Brien")

    assert result.rows == [{"Month": 11, "Total": "42"}]
    assert "EXEC dbo.usp_Close @month = 11, @note = 'O''Brien'" in double.seen


def test_the_driver_has_the_private_cancel_that_one_function_uses(double):
    connection = mssql_python.connect(
        f"Server=127.0.0.1,{double.port};UID=sa;PWD={{{double.password}}};Encrypt=no"
    )
    with connection.cursor() as cursor:
        assert callable(cursor.hstmt._cancel)
        assert service_transaction.cancel_on_sql_server(cursor)
    connection.close()

    assert service_transaction.cancel_on_sql_server(cursor)  # no statement to cancel
    assert not service_transaction.cancel_on_sql_server(SimpleNamespace(hstmt=object()))
