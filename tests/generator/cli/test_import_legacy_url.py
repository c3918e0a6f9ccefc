"""`targcc-gen import-legacy URL`: a live database becomes a project, and no text shows the password."""

import contextlib
import json
import sqlite3
import traceback
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from targcc_gen.cli import main
from tds_double import tds_double

ZONE = ("--timezone", "Asia/Jerusalem")
SECRET = "ge-heim:9"  # a URL escapes a colon
ESCAPED = "ge-heim%3A9"
CLASSIC = """
CREATE TABLE c_Job (ID INT PRIMARY KEY, lkpJob VARCHAR(50), lkpJobRunner VARCHAR(50), enmJobType VARCHAR(50), WhenToRun TIMESTAMP,
  CyclicCount INT, Active INT, IsManaged INT, NextRunTime TIMESTAMP, LastRunTime TIMESTAMP);
INSERT INTO c_Job VALUES (1, 'SendStatements', 'SRV01', 'Daily', '2024-03-06 02:30:00', NULL, 1, 1, '2026-11-26 02:30:00', NULL);
INSERT INTO c_Job VALUES (2, 'Gone', 'SRV01', 'Daily', '2024-03-06 03:30:00', NULL, 1, 1, NULL, NULL);
CREATE TABLE c_User (ID INT, FullName VARCHAR(50), Email VARCHAR(50));
INSERT INTO c_User VALUES (5, 'Dana', 'dana@example.com');
CREATE TABLE c_JobAlertRecipient (ID INT, c_JobID INT, c_UserID INT, enmJobAlertType VARCHAR(20));
INSERT INTO c_JobAlertRecipient VALUES (1, 1, 5, 'email');
CREATE TABLE c_LoggedJob (ID INT, c_JobID INT, WhenStarted TIMESTAMP, ExecutionTimeSec INT, enmRunStatus_JobStatus VARCHAR(20));
INSERT INTO c_LoggedJob VALUES (9, 1, '2026-11-25 02:30:00', 12, 'Success');
CREATE TABLE c_SystemDefault (ID INT, Code VARCHAR(50), Setting VARCHAR(50));
INSERT INTO c_SystemDefault VALUES (1, 'Config_ProblemMailTo', 'ops@example.com'), (2, 'SmtpPassword', 'hunter2-smtp');
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs the command in an empty folder; with ``debug`` the error output includes the traceback."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments, status=0, debug=False, **environment):
        words = ["--debug"] if debug else []
        words += ["import-legacy", *map(str, arguments)]
        done = CliRunner().invoke(main, words, prog_name="targcc-gen", env=environment)
        assert done.exit_code == status, done.output
        raised = "".join(traceback.format_exception(done.exception)) if debug else ""
        return SimpleNamespace(stdout=done.stdout, stderr=done.stderr + raised)

    return command


@pytest.fixture
def old(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.executescript(CLASSIC)
    return "sqlite:///old.db"


def test_a_live_database_becomes_a_project_with_its_people_and_its_history(run, old, tmp_path):
    (tmp_path / "map.yaml").write_text("SendStatements: dbo.usp_Send\n", encoding="utf-8")
    out = run(old, *ZONE, "--new", "shop", "--procedure-map", "map.yaml").stdout

    assert "sqlite:///old.db/c_Job (database, SQLite)" in out
    spec = (tmp_path / "shop" / "targcc.yaml").read_text(encoding="utf-8")
    assert "dana@example.com" in spec
    assert "ops@example.com" in spec  # Config_ProblemMailTo, for the job without recipients
    assert (tmp_path / "shop" / "data" / "legacy_history.jsonl.gz").exists()
    again = run(old, *ZONE, "--into", "shop", "--procedure-map", "map.yaml").stdout
    assert "2 jobs" in again


def test_what_else_is_in_the_settings_table_stays_there(run, old, tmp_path):
    run(old, *ZONE, "--new", "shop", "--report", "report.json")
    report = (tmp_path / "report.json").read_text(encoding="utf-8")

    assert "settings that concern no job" in report

    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "old.db":
            assert b"hunter2" not in path.read_bytes(), path


def test_the_password_is_in_no_file_and_in_no_output(run, postgresql_url, tmp_path):
    engine = sa.create_engine(sa.make_url(postgresql_url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.exec_driver_sql(CLASSIC)
    engine.dispose()
    url = sa.make_url(postgresql_url).set(password=SECRET).render_as_string(hide_password=False)
    written = run(url, *ZONE, "--new", "shop", "--report", "report.html")
    shown = [written.stdout, written.stderr, run(url, *ZONE, "--json").stdout]
    missing = sa.make_url(url).set(database="none").render_as_string(hide_password=False)
    failed = run(missing, *ZONE, status=2)
    shown += [failed.stderr, run(missing, *ZONE, status=1, debug=True).stderr]

    assert 'database "none" does not exist' in failed.stderr
    shown += [
        path.read_text(encoding="utf-8", errors="replace")
        for path in tmp_path.rglob("*")
        if path.is_file()
    ]
    assert not [text for text in shown if SECRET in text or ESCAPED in text]


def test_a_refused_log_in_on_sql_server_shows_no_password(run):
    with tds_double() as double:
        url = f"mssql://sa@127.0.0.1:{double.port}/acme?Encrypt=no"
        failed = run(url, *ZONE, status=2, TARGCC_LEGACY_PASSWORD=SECRET)
        debug = run(url, *ZONE, status=1, debug=True, TARGCC_LEGACY_PASSWORD=SECRET)

    assert "Login failed for user" in failed.stderr
    assert failed.stderr.startswith(f"error[TG504]: mssql://127.0.0.1:{double.port}/acme: ")
    assert SECRET not in failed.stderr + debug.stderr


@pytest.mark.slow
def test_a_job_whose_procedure_is_gone_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "map.yaml").write_text("Load: dbo.usp_Load\nSend: dbo.usp_Send\n", encoding="utf-8")
    jobs = [
        {"ID": n, "lkpJob": code, "lkpJobRunner": "SRV", "enmJobType": "Daily", "WhenToRun": "2024-03-06 02:30:00",
         "Active": 1, "IsManaged": 1}
        for n, code in enumerate(["Load", "Send"], 1)
    ]  # fmt: skip
    with tds_double() as double:
        double.answers = {
            "sys.databases": [{"snapshot": 1, "versions": 0}],
            "INFORMATION_SCHEMA.TABLES": [{"s": "dbo", "t": "c_Job"}],
            "sys.procedures": [
                {
                    "s": "dbo",
                    "n": "usp_Load",
                    "d": "CREATE PROC usp_Load AS UPDATE dbo.Totals SET a = 1",
                }
            ],
        }
        double.add("c_Job", jobs)
        done = CliRunner().invoke(
            main,
            [
                "import-legacy",
                double.url(),
                *ZONE,
                "--procedure-map",
                "map.yaml",
                "--json",
                "--report",
                "report.json",
            ],
        )

    assert done.exit_code == 0, done.output
    warnings = [
        warning for warning in json.loads(done.stdout)["warnings"] if "no such procedure" in warning
    ]
    place = f"mssql://127.0.0.1:{double.port}/acme/dbo.c_Job:2"
    assert warnings == [
        f'{place}: "Send" calls dbo.usp_Send, and the database has no such procedure'
    ]
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    uses = [job["touches"] and job["touches"]["writes"] for job in report["jobs"]]
    assert uses == [["dbo.Totals"], None]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("sqlite:///old.db", "c_Job.sql"), "one database's address, or files"),
        (("sqlite:///old.db", "--timeout", "soon"), "--timeout"),
        (("sqlite:///old.db", "--timeout", "100ms"), "a second is the least"),
        (("sqlite:///old.db", "--schema", "dbo"), "no table c_Job in the schema dbo"),
    ],
)
@pytest.mark.usefixtures("old")
def test_what_cannot_be_meant_is_refused(arguments, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["import-legacy", *arguments, *ZONE])

    assert done.exit_code == 2
    assert reason in done.output
