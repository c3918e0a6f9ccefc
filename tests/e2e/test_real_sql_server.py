"""Tests that need a real SQL Server. ``docs/sql-server.md`` says how to run one; ``TARGCC_TEST_SQLSERVER_URL`` names it."""

import contextlib
import os
import time
import uuid
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from targcc_gen.readers.database import Wanted, parse_address, read_database, read_only
from targcc_gen.readers.rows import Row
from targcc_gen.sources.c_job.tables import PROCEDURE, TABLES
from targcc_scheduler import Settings
from targcc_scheduler.core.clock import ManualClock, deadline
from targcc_scheduler.features.legacy.c_job import CJobSource
from targcc_scheduler.features.legacy.write_back import RunReport, WriteBack
from targcc_scheduler.services import transaction
from targcc_scheduler.services.database import Database
from targcc_scheduler.services.procedure_rights import procedure_right

pytestmark = pytest.mark.sqlserver

SETUP = [
    (
        "CREATE TABLE c_Job (ID bigint IDENTITY PRIMARY KEY, lkpJob varchar(50), lkpJobRunner varchar(50), enmJobType varchar(50),"
        " WhenToRun datetime, CyclicCount int, SendNotificationOnSuccess bit, Active bit, NextRunTime datetime, LastRunTime datetime,"
        " enmJobStatus varchar(50), IsManaged bit, LastRunBy nvarchar(50), DeletedOn datetime)"
    ),
    (
        "CREATE TABLE c_LoggedJob (ID bigint IDENTITY PRIMARY KEY, c_JobID bigint, WhenStarted datetime, ActivatingUser varchar(50),"
        " LastRunBy nvarchar(50), ExecutionTimeSec int, enmRunStatus_JobStatus varchar(50), Remarks nvarchar(max), AddedBy nvarchar(50),"
        " AddedOn datetime)"
    ),
    (
        "INSERT c_Job (lkpJob, lkpJobRunner, enmJobType, WhenToRun, Active, IsManaged)"
        " VALUES ('mnTM_Load', 'SRV01', 'Daily', '2024-03-06T02:30:00', 1, 1)"
    ),
    "CREATE PROCEDURE mnTM_Load AS SELECT N'42 orders'",
    "CREATE PROCEDURE SP_Slow AS WAITFOR DELAY '00:00:25'",
]
RUNNING = "SELECT COUNT(*) FROM sys.dm_exec_requests WHERE wait_type = 'WAITFOR'"


@pytest.fixture
def url():
    server = sa.make_url(os.environ["TARGCC_TEST_SQLSERVER_URL"])
    name = f"targcc_{uuid.uuid4().hex[:8]}"
    master = engine_of(server.set(database="master"), isolation_level="AUTOCOMMIT")
    with master.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    made = server.set(database=name)
    with engine_of(made).begin() as connection:
        for statement in SETUP:
            connection.exec_driver_sql(statement)
    yield made.render_as_string(hide_password=False)
    with master.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
        connection.exec_driver_sql(f"DROP DATABASE {name}")


def engine_of(url, **options):
    driver = sa.make_url(url).set(drivername="mssql+mssqlpython")
    return sa.create_engine(driver, poolclass=sa.NullPool, **options)


def allow_snapshot(url):
    with engine_of(url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON")


def running(url):
    with engine_of(url).connect() as connection:
        return connection.exec_driver_sql(RUNNING).scalar()


@pytest.mark.parametrize("cancels", [True, False])
async def test_a_timeout_stops_the_procedure(url, cancels, monkeypatch):
    if not cancels:
        monkeypatch.setattr(transaction, "cancel_on_sql_server", lambda _cursor: True)
    database = Database(url, threads=1)
    started = time.monotonic()
    deadline.set(started + 1)
    with pytest.raises(TimeoutError):
        await database.call("SP_Slow")

    assert time.monotonic() - started < 5
    assert running(url) == 0
    deadline.set(None)
    assert (await database.call("mnTM_Load")).rows[0]
    database.close()


async def test_a_procedure_runs_as_the_manual_states(url):
    with engine_of(url).begin() as connection:
        for body in (
            "usp_Low AS RAISERROR('a note', 10, 1); PRINT 'more'; SELECT 1 AS one; SELECT 2 AS two; RETURN 1",
            "usp_High AS SELECT 1 AS one; RAISERROR('the reason', 16, 1)",
            "usp_Open AS BEGIN TRANSACTION",
            "usp_Options AS SELECT SESSIONPROPERTY('QUOTED_IDENTIFIER') AS quoted, SESSIONPROPERTY('ARITHABORT') AS arith, @@TRANCOUNT AS tran",
        ):
            connection.exec_driver_sql(f"CREATE PROCEDURE {body}")
    database = Database(url, threads=1)

    assert (await database.call("usp_Low")).sets == ([{"one": 1}], [{"two": 2}])
    with pytest.raises(Exception, match="the reason"):
        await database.call("usp_High")
    with pytest.raises(Exception, match="Transaction count after EXECUTE"):
        await database.call("usp_Open")
    assert (await database.call("usp_Options")).rows == [{"quoted": 1, "arith": 0, "tran": 0}]
    database.close()


async def test_the_rights_of_a_login_are_told_without_a_run(url):
    with engine_of(url).begin() as connection:
        for statement in (
            "CREATE PROCEDURE usp_Gone AS SELECT * FROM dbo.NoSuchTable",
            "CREATE PROCEDURE usp_Temp AS CREATE TABLE #t (a int); SELECT * FROM #t",
        ):
            connection.exec_driver_sql(statement)
    database = Database(url, threads=1)
    names = ("mnTM_Load", "usp_Gone", "usp_Temp", "usp_Missing")
    rights = await database.run(lambda c: [procedure_right(c, name).may for name in names])
    database.close()

    assert rights == [True, None, True, False]


async def test_a_session_is_killed(url):
    database = Database(url, threads=1)
    with database.engine.connect() as connection:
        stop = transaction.StatementStop(connection)
        stop.kill()
        with pytest.raises(sa.exc.DBAPIError):
            connection.exec_driver_sql("SELECT 1")
    database.close()


@pytest.mark.parametrize("snapshot", [True, False])
def test_the_old_runner_writes_on_while_its_tables_are_read(url, snapshot):
    if snapshot:
        allow_snapshot(url)
    count = "SELECT COUNT(*) FROM c_Job WHERE enmJobStatus = 'InProcess'"
    with read_only(parse_address(url), 10) as session:
        assert session.is_consistent is snapshot
        assert session.connection.exec_driver_sql(count).scalar() == 0
        with engine_of(url).begin() as runner:
            runner.exec_driver_sql("SET LOCK_TIMEOUT 100")
            runner.exec_driver_sql("UPDATE c_Job SET enmJobStatus = 'InProcess'")
        assert session.connection.exec_driver_sql(count).scalar() == (0 if snapshot else 1)


def test_a_row_that_the_runner_holds_locked_is_read_all_the_same(url):
    with engine_of(url).begin() as runner:
        runner.exec_driver_sql("UPDATE c_Job SET enmJobStatus = 'InProcess'")
        items = []
        wanted = Wanted(TABLES, ZoneInfo("UTC"), procedures=PROCEDURE)
        read_database(url, wanted, items.append, seconds=10)

    rows = [item for item in items if isinstance(item, Row)]
    assert [row.values["lkpjob"] for row in rows if row.table == "c_job"] == ["mnTM_Load"]
    texts = {row.values["name"]: row.values["definition"] for row in rows if row.table == PROCEDURE}
    assert "42 orders" in texts["mnTM_Load"]


def test_hybrid_mode_reads_and_writes_the_old_tables(url):
    settings = Settings(_env_file=None, legacy_url=url, legacy_timezone="UTC")
    now = datetime(2026, 11, 25, 7, 30, tzinfo=UTC)
    with contextlib.closing(CJobSource(settings, ManualClock(now))) as source:
        assert [*source.read().definitions] == ["mnTM_Load"]
    at = datetime(2026, 11, 25, 2, 30)  # noqa: DTZ001 - wall time
    with engine_of(url).begin() as connection:
        writer = WriteBack(connection, "dbo.c_Job")
        assert writer.begin(connection, 1, at, "targcc node")
        report = RunReport(
            job_id=1, started=at, ended=at, seconds=0, status="Success", remarks="42 orders", by="targcc node",
            token="targcc run 1.1", next_run=at,
        )  # fmt: skip
        writer.end(connection, report)
        row = connection.exec_driver_sql("SELECT enmJobStatus, NextRunTime FROM c_Job").one()
        logged = connection.exec_driver_sql("SELECT Remarks FROM c_LoggedJob").scalars().all()

    assert (tuple(row), logged) == (("Success", at), ["42 orders"])
