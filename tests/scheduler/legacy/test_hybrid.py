"""Hybrid mode: schedules stay in the old table c_Job. Uses real tables, procedures and schedulers."""

import contextlib
from datetime import timedelta

import pytest
import sqlalchemy as sa
from hybrid_rig import OldDatabase, ago, broken_jobs
from rt_tools import Database, until
from targcc_scheduler import Actor, ActorKind, RunState, Settings
from targcc_scheduler.core.errors import LegacyError
from targcc_scheduler.features.legacy.c_job import CJobSource
from targcc_scheduler.services.procedures import procedure_call

DANA = Actor(ActorKind.MANUAL, "dana")
TABLE = """
CREATE TABLE c_Job (
  ID INTEGER PRIMARY KEY, JobName VARCHAR(100), CronExpression VARCHAR(50), StoredProcName VARCHAR(100), IsActive {bit},
  LastRun TIMESTAMP, NextRun TIMESTAMP, LastResult TEXT, FailureCount INT, EmailOnFailure {bit}
)"""
COLUMNS = "ID, JobName, CronExpression, StoredProcName, IsActive, EmailOnFailure"


class Table(OldDatabase):
    """The old c_Job table."""

    def __init__(self, url):
        super().__init__(url, TABLE, {"sqlite": {"bit": "BIT"}, "postgresql": {"bit": "BOOLEAN"}})

    def add(
        self, number, name, *, cron="0 2 * * *", procedure="SP_Report", active=True, mail=False
    ):
        values = f"{number}, '{name}', '{cron}', '{procedure}', {active}, {mail}"
        self.execute(f"INSERT INTO c_Job ({COLUMNS}) VALUES ({values})")


@pytest.fixture
def old(tmp_path):
    table = Table(f"sqlite:///{tmp_path / 'legacy.db'}")
    yield table
    table.engine.dispose()


async def test_active_rows_are_recurring_jobs_in_the_old_servers_zone(old, start):
    old.add(1, "Daily Sales Report")
    old.add(2, "Off", active=False)
    old.add(3, "Blanks", procedure="exec dbo.Daily Load;")
    scheduler = await start(old, legacy_timezone="Asia/Jerusalem")

    job = scheduler.definitions["Daily Sales Report"]
    assert (job.schedule_text, job.timezone, job.retries) == ("0 2 * * *", "Asia/Jerusalem", 0)
    assert "SP_Report" in job.description
    assert "dbo.[Daily Load]" in scheduler.definitions["Blanks"].description
    assert "Off" not in scheduler.definitions
    assert not scheduler.broken


async def test_a_row_that_cannot_be_a_job_is_broken_and_the_others_run(old, start):
    old.add(1, "Good")
    old.add(2, "Bad cron", cron="0 2 * *")
    old.add(3, "Never", cron="0 0 31 2 *")
    old.add(4, "No name", procedure="DELETE FROM Orders; SELECT 1")
    old.add(5, "good")
    scheduler = await start(old)

    errors = broken_jobs(scheduler)
    assert [*scheduler.definitions] == ["Moved already", "Good"]
    assert "4 fields" in errors['c_Job row 2 "Bad cron"']
    assert "no such date" in errors['c_Job row 3 "Never"']
    assert "not the name of a stored procedure" in errors['c_Job row 4 "No name"']
    assert "another active row is called 'good'" in errors['c_Job row 5 "good"']


async def test_a_job_in_the_code_goes_before_the_row_of_its_name(old, start):
    old.add(1, "Moved already")
    scheduler = await start(old)

    assert scheduler.find("Moved already").module == "hybrid_jobs.jobs.moved"
    assert "set IsActive = 0" in broken_jobs(scheduler)['c_Job "Moved already"']


async def test_changes_of_the_table_are_followed(old, start, database):
    old.add(1, "Report")
    scheduler = await start(old)

    def slot_text():
        rows = database.rows("SELECT ScheduleText FROM c_JobSchedule WHERE JobName = 'Report'")
        return rows[0][0] if rows else None

    await until(lambda: slot_text() == "0 2 * * * Europe/Berlin")
    old.execute("UPDATE c_Job SET CronExpression = '30 3 * * *'")
    await until(lambda: slot_text() == "30 3 * * * Europe/Berlin")
    old.add(2, "New one", cron="0 4 * * *")
    await until(lambda: "New one" in scheduler.definitions)
    old.execute("UPDATE c_Job SET IsActive = false WHERE ID = 1")
    await until(lambda: "Report" not in scheduler.definitions)
    old.execute("DELETE FROM c_Job WHERE ID = 2")
    await until(lambda: "New one" not in scheduler.definitions)
    assert [*scheduler.definitions] == ["Moved already"]


async def test_a_row_that_was_off_does_not_make_up_for_it(old, start, database):
    old.add(1, "Report", cron="*/5 * * * *")
    scheduler = await start(old)
    await until(lambda: database.rows("SELECT 1 FROM c_JobSchedule WHERE JobName = 'Report'"))
    old.execute("UPDATE c_Job SET IsActive = false")
    await until(lambda: "Report" not in scheduler.definitions)
    await until(
        lambda: database.one("SELECT ScheduleText FROM c_JobSchedule WHERE JobName='Report'")
        is None
    )
    database.change("UPDATE c_JobSchedule SET LastSlot = ? WHERE JobName='Report'", ago(120))
    old.execute("UPDATE c_Job SET IsActive = true")

    await until(
        lambda: database.one("SELECT ScheduleText FROM c_JobSchedule WHERE JobName='Report'")
    )
    assert database.states() == {}


async def test_a_job_that_moved_into_the_code_keeps_its_place_when_its_row_is_off(
    old, start, database
):
    old.add(1, "Moved already", active=False)
    database.change(
        "INSERT INTO c_JobSchedule (JobName, ScheduleText, LastSlot)"
        " VALUES ('Moved already', '0 5 * * * Europe/Berlin', ?)",
        ago(1),
    )
    query = (
        "SELECT ScheduleText, LastSlot, PausedAt FROM c_JobSchedule WHERE JobName = 'Moved already'"
    )
    before = database.rows(query)[0]
    await start(old)
    old.add(2, "Other", active=False)
    old.add(3, "Third")
    sql = "SELECT 1 FROM c_JobSchedule WHERE JobName = 'Third'"
    await until(lambda: database.rows(sql))

    assert tuple(database.rows(query)[0]) == tuple(before)


async def test_a_table_that_cannot_be_read_stops_nothing(old, start):
    old.add(1, "Report")
    scheduler = await start(old)
    old.execute("ALTER TABLE c_Job RENAME TO c_Job_away")
    # A poll in progress reports the database's error.
    await until(lambda: "no table or view c_Job" in broken_jobs(scheduler).get("c_Job", ""))

    assert "Report" in scheduler.definitions
    old.execute("ALTER TABLE c_Job_away RENAME TO c_Job")
    await until(lambda: not scheduler.broken)


async def test_a_database_that_is_away_at_the_start_is_shown_without_its_password(start, old):
    old.url = "postgresql://dana:geheim@127.0.0.1:1/none"
    scheduler = await start(old)

    assert [*scheduler.definitions] == ["Moved already"]
    assert "cannot be read" in broken_jobs(scheduler)["c_Job"]
    assert "geheim" not in str(scheduler.broken)


async def test_a_view_takes_some_of_the_rows(old, start):
    old.add(1, "Ours")
    old.add(2, "Of TaskManager")
    old.execute("CREATE VIEW v_Moved AS SELECT * FROM c_Job WHERE ID = 1")
    scheduler = await start(old, legacy_table="v_Moved")

    assert [*scheduler.definitions] == ["Moved already", "Ours"]


async def test_a_task_manager_that_still_runs_a_row_is_noticed(old, start):
    old.add(1, "Report")
    old.execute("UPDATE c_Job SET LastRun = '2026-11-24 02:00:00'")
    scheduler = await start(old)
    await until(lambda: "Report" in scheduler.definitions)
    old.execute("UPDATE c_Job SET LastRun = '2026-11-25 02:00:00'")

    await until(lambda: scheduler.broken)
    assert "TaskManager still runs this row" in broken_jobs(scheduler)['c_Job row 1 "Report"']


async def test_those_who_were_mailed_are_mailed(old, start):
    old.add(7, "Report", mail=True)
    old.add(8, "Quiet")
    old.execute("CREATE TABLE c_JobAlertRecipient (ID INT, c_JobID INT, Email VARCHAR(100))")
    old.execute(
        "INSERT INTO c_JobAlertRecipient VALUES (1, 7, 'dana@example.com; ops@example.com')"
    )
    scheduler = await start(old)

    alerts = scheduler.definitions["Report"].alerts
    assert (alerts.on, alerts.email) == (("failure",), ("dana@example.com", "ops@example.com"))
    assert scheduler.definitions["Quiet"].alerts is None


async def test_sqlite_has_no_procedures_and_the_run_says_so(old, start, database):
    old.add(1, "Report")
    scheduler = await start(old, options={"schedule": False})
    run = await scheduler.trigger("Report", by=DANA)

    assert await scheduler.wait(run, timeout=30) == RunState.FAILED
    assert "TARGCC_LEGACY_URL" in database.history(run)[0]["ErrorMessage"]


def test_a_table_of_targcc_4_that_lacks_a_column_is_refused_in_words(old, settings_of):
    old.execute("DROP TABLE c_Job")
    old.execute("CREATE TABLE c_Job (ID INT, lkpJob VARCHAR(50), enmJobType VARCHAR(50))")

    with (
        contextlib.closing(CJobSource(settings_of(old))) as jobs,
        pytest.raises(LegacyError, match="of TARGCC 4 and has no column lkpjobrunner"),
    ):
        jobs.read()


def test_a_wrong_zone_or_url_is_refused_at_once(database):
    for wrong in ({"legacy_timezone": "Asia/Jerusalm"}, {"legacy_url": "srv-db"}):
        with pytest.raises(ValueError, match=r"Asia/Jerusalm|not a database URL"):
            Settings(database_url=database.url, **wrong)


def test_the_old_servers_zone_may_have_its_windows_name(database):
    settings = Settings(database_url=database.url, legacy_timezone="Israel Standard Time")
    assert settings.legacy_timezone == "Asia/Jerusalem"


def test_sql_server_is_called_with_exec():
    assert procedure_call("mssql", "dbo.SP_Report", {}) == "EXEC dbo.SP_Report"


async def test_rows_run_their_procedures_on_postgresql_by_schedule_and_by_hand(
    postgresql_url, start, database: Database
):
    old = Table(postgresql_url)
    old.execute("CREATE TABLE Reports (At TIMESTAMPTZ)")
    old.execute(
        "CREATE PROCEDURE SP_Report() LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO Reports VALUES (now()); COMMIT; END $$"
    )
    old.execute(
        "CREATE PROCEDURE SP_Bad() LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no orders'; END $$"
    )
    old.add(1, "Every second", cron="* * * * * *", procedure="EXEC SP_Report;")
    old.add(2, "Bad", procedure="SP_Bad")
    scheduler = await start(old)
    sql = "SELECT * FROM c_LoggedJob WHERE JobName = 'Every second' AND Success = 1"
    row = (await until(lambda: database.rows(sql)))[0]
    bad = await scheduler.trigger("Bad", by=DANA)

    assert (row["JobType"], row["TriggeredBy"]) == ("Recurring", "System")
    assert await scheduler.wait(bad, timeout=30) == RunState.FAILED
    assert "no orders" in database.history(bad)[0]["ErrorMessage"]
    with old.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT COUNT(*) FROM Reports")) >= 1
    old.execute("UPDATE c_Job SET CronExpression = '0 0 1 1 *' WHERE ID = 1")
    yearly = timedelta(days=2)
    await until(lambda: scheduler.definitions["Every second"].schedule_text == "0 0 1 1 *")
    now = scheduler.clock.now()
    following = scheduler.definitions["Every second"].schedule.next(now, "Europe/Berlin")
    assert following - now > yearly
    old.engine.dispose()
