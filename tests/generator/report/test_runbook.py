"""The runbook of a report: steps, the way back, what stops, and SQL for the DBA that works on the old database."""

import json
import shlex
import sqlite3
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import click
import pytest
import sqlalchemy as sa
from c_job_rows import classic_row, cron_row
from targcc_gen.report.document import write_report
from targcc_gen.report.runbook import runbook
from targcc_gen.sources.c_job.moving import BACKUP, GRANTS, ROLL_BACK
from targcc_gen.sources.c_job.source import CJobSource
from targcc_gen.sources.crontab import CRONTAB
from targcc_gen.sources.model import Options, ReadingOptions
from targcc_scheduler.cli.main import main
from targcc_scheduler.features.legacy.old_server import CLASSIC, CRON, Scripts

ZONE = ZoneInfo("Asia/Jerusalem")
NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
TWO_RUNNERS = (
    classic_row()
    + classic_row(ID=2, lkpJob="'Orders'", lkpJobRunner="'DAY 1'", kind="CyclicMin", count=5)
    + classic_row(ID=3, lkpJob="'Bills'", lkpJobRunner="'DAY 1'")
)


def commands(steps):
    return [command for step in steps for command in step["commands"]]


def test_each_runner_moves_by_its_own_command_the_smallest_first(bring):
    book = runbook(bring(TWO_RUNNERS))
    starts = [text for text in commands(book["steps"]) if text.startswith("targcc cutover start")]

    assert starts[1:] == [
        "targcc cutover start --runner SRV01 --signed legacy/decisions.csv",
        'targcc cutover start --runner "DAY 1" --signed legacy/decisions.csv',
    ]
    assert "targcc cutover back --runner SRV01" in commands(book["back"])
    assert all(step["who"] and step["when"] and step["good"] for step in book["steps"])


@pytest.mark.slow
def test_the_commands_of_a_runbook_exist(bring):
    book = runbook(bring(TWO_RUNNERS))
    lines = [line for line in commands([*book["steps"], *book["back"]]) if line[:7] == "targcc "]

    assert len(lines) > 8
    for line in lines:
        command, words = main, shlex.split(line)[1:]
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None, line
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_the_way_back_says_which_runs_the_old_log_will_miss(bring):
    assert "Orders has as many in 3d11h20m" in runbook(bring(TWO_RUNNERS))["no_return"]


def test_the_load_of_a_queue_says_which_waits_are_not_known(bring):
    (busy,) = [queue for queue in runbook(bring(TWO_RUNNERS))["load"]["queues"] if queue["queue"] == "day-1"]  # fmt: skip

    assert (busy["workers"], busy["needed"]) == (1, 2)
    assert busy["wait"] == "not known of 1 that start often"


def test_jobs_without_a_schedule_make_no_load(bring):
    assert runbook(bring(classic_row(IsManaged=0)))["load"]["queues"] == []


def test_the_checklist_names_what_ends_with_task_manager(bring):
    rows = "".join(
        classic_row(ID=number, lkpJob=f"'{code}'", **columns)
        for number, (code, columns) in enumerate(
            [
                ("BackupDB", {}),
                ("ScanJobs", {}),
                ("UnlockUsers", {}),
                ("PriceLabels", {"IsManaged": 0}),
                ("Broken", {"kind": "CyclicMin", "count": 0}),
            ],
            start=1,
        )
    )
    stops = "\n".join(runbook(bring(rows))["stops"])

    assert "BackupDB: built into TaskManager" in stops
    assert "ScanJobs: the new scheduler looks" in stops
    assert "Mails about missed jobs" in stops
    assert "The work of UnlockUsers" in stops
    assert "Programs that start PriceLabels" in stops
    assert "nothing runs Broken any more" in stops


def test_a_table_without_such_rows_has_no_such_lines(bring):
    stops = runbook(bring(cron_row()))["stops"]

    assert len(stops) == 2
    assert stops[0].startswith("Screens and queries")


def test_a_script_of_grants_names_columns_and_procedures(bring):
    sql = runbook(bring(cron_row() + cron_row(number=2, name="B", proc="Sales.dbo.usp_B")))[
        "scripts"
    ][GRANTS]

    assert "GRANT UPDATE ON c_Job (IsActive, NextRun, LastRun, LastResult) TO [targcc];" in sql
    assert "\nGRANT EXECUTE ON dbo.usp_Nightly TO [targcc];" in sql
    assert "\n-- in that database, without its name: GRANT EXECUTE ON Sales.dbo.usp_B" in sql


@pytest.mark.parametrize("shape", [CLASSIC, CRON])
def test_the_grants_cover_every_column_that_a_cut_over_changes(bring, shape):
    sql = runbook(bring(classic_row() if shape is CLASSIC else cron_row()))["scripts"][GRANTS]
    granted = sql.partition("GRANT UPDATE ON c_Job (")[2].partition(")")[0].split(", ")

    changed = {shape.active, shape.next_run, shape.last_run, shape.status, shape.mark}
    assert set(granted) == changed | set(shape.stamps)


def test_rows_that_stay_in_the_table_have_no_runbook(bring, tmp_path):
    for moves, name in ((True, "moves.json"), (False, "hybrid.json")):
        write_report(tmp_path / name, bring(cron_row()), [], moves=moves)

    assert json.loads((tmp_path / "moves.json").read_text())["runbook"]
    assert json.loads((tmp_path / "hybrid.json").read_text())["runbook"] is None


@pytest.mark.parametrize("suffix", [".md", ".html"])
def test_the_report_has_the_runbook(bring, tmp_path, suffix):
    path = tmp_path / f"report{suffix}"
    write_report(path, bring(TWO_RUNNERS), [])
    text = path.read_text(encoding="utf-8")

    for words in ("Quiet window:", "Point of no return:", "What stops", "Longest wait", BACKUP):
        assert words in text, words
    assert "SELECT * INTO c_Job_before_targcc FROM c_Job;" in text


def test_a_crontab_moves_by_hand(tmp_path):
    source = CRONTAB.open(None)
    (tmp_path / "crontab").write_text("0 2 * * * /opt/report\n", encoding="utf-8")
    files = source.read([str(tmp_path / "crontab")], ReadingOptions(ZONE))
    book = runbook(source.convert(files, Options(ZONE, NOW)))

    assert "edit its files" in book["steps"][2]["what"]
    assert book["steps"][3]["commands"] == ["targcc job resume Report"]
    assert (book["stops"], book["scripts"]) == ([], {})


TABLES = """
CREATE TABLE c_Job (ID INT PRIMARY KEY, lkpJob VARCHAR(50), lkpJobRunner VARCHAR(50), enmJobType VARCHAR(50), WhenToRun TIMESTAMP,
  CyclicCount INT, Active BOOLEAN, IsManaged BOOLEAN, NextRunTime TIMESTAMP, LastRunTime TIMESTAMP, enmJobStatus VARCHAR(50),
  ChangedBy VARCHAR(50), ChangedOn TIMESTAMP, DeletedOn TIMESTAMP);
CREATE TABLE c_JobAlertRecipient (ID INT PRIMARY KEY, c_JobID INT);
CREATE TABLE c_LoggedJob (ID INT PRIMARY KEY, c_JobID INT);
INSERT INTO c_Job VALUES
 (1, 'Nightly', 'SRV01', 'Daily', '2024-01-01 02:00', NULL, TRUE, TRUE, '2026-01-02 02:00', NULL, 'Success', 'dana', NULL, NULL),
 (2, 'Later', 'SRV01', 'Daily', '2024-01-01 02:00', NULL, TRUE, TRUE, '2126-01-02 02:00', NULL, 'Success', NULL, NULL, NULL),
 (3, 'Idle', 'SRV01', 'Daily', '2024-01-01 02:00', NULL, FALSE, TRUE, NULL, NULL, NULL, 'dana', NULL, NULL)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def old_database(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'old.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    yield engine
    engine.dispose()


def execute(engine, script):
    """Run a script, and return the rows of its queries."""
    rows = []
    with engine.begin() as connection:
        for part in script.split(";\n"):
            text = "\n".join(line for line in part.splitlines() if not line.startswith("--"))
            if text.strip():
                result = connection.exec_driver_sql(text.rstrip(";").replace("%", "%%"))
                rows += list(map(tuple, result)) if result.returns_rows else []
    return rows


def imported(engine):
    source = CJobSource()
    url = engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    return source.convert(source.read([url], ReadingOptions(ZONE)), Options(ZONE, NOW))


def test_the_roll_back_restores_the_rows_that_were_taken_and_no_others(old_database):
    execute(old_database, TABLES)
    scripts = runbook(imported(old_database))["scripts"]

    counts = execute(old_database, scripts[BACKUP])
    assert counts == [("c_Job", 3, 3), ("c_JobAlertRecipient", 0, 0), ("c_LoggedJob", 0, 0)]

    dialect = old_database.dialect.name
    off = Scripts(dialect, "c_Job", CLASSIC, None).off([("1", "aaa111")])
    for change in off.changes:
        execute(old_database, change)
    execute(old_database, "UPDATE c_Job SET Active = '0', ChangedBy = 'noa' WHERE ID = 2")
    query = "SELECT ID, Active, ChangedBy FROM c_Job ORDER BY ID"
    assert not any(active for _, active, _ in execute(old_database, query))

    overdue = execute(old_database, scripts[ROLL_BACK])
    assert execute(old_database, query) == [
        (1, True, "dana"),
        (2, False, "noa"),
        (3, False, "dana"),
    ]
    assert [row[:2] for row in overdue] == [(1, "Nightly")]


def test_a_second_copy_is_an_error_and_the_first_stays(old_database):
    execute(old_database, TABLES)
    script = runbook(imported(old_database))["scripts"][BACKUP]
    execute(old_database, script)
    execute(old_database, "UPDATE c_Job SET lkpJob = 'Changed'")

    with pytest.raises((sa.exc.DBAPIError, sqlite3.Error), match="exists"):
        execute(old_database, script)
    names = execute(old_database, "SELECT DISTINCT lkpJob FROM c_Job_before_targcc ORDER BY 1")
    assert names == [("Idle",), ("Later",), ("Nightly",)]


def test_only_a_database_with_users_has_grants(old_database):
    execute(old_database, TABLES)
    scripts = runbook(imported(old_database))["scripts"]

    assert (GRANTS in scripts) == (old_database.dialect.name == "postgresql")
    if GRANTS in scripts:
        execute(old_database, "CREATE USER targcc")
        execute(old_database, scripts[GRANTS])
        query = "SELECT has_column_privilege('targcc', 'c_job', 'nextruntime', 'UPDATE'), has_table_privilege('targcc', 'c_job', 'DELETE')"
        assert execute(old_database, query) == [(True, False)]
        execute(old_database, "DROP OWNED BY targcc; DROP USER targcc")
