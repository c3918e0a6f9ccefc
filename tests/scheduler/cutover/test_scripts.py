"""SQL scripts for the old server: run on SQLite and PostgreSQL, and checked for syntax on SQL Server."""

import subprocess
import sys
from datetime import UTC, datetime

import old_server
import pytest
import sqlalchemy as sa
from targcc_scheduler.core.errors import CutoverError
from targcc_scheduler.features.legacy.old_server import (
    CLASSIC,
    CRON,
    LogColumns,
    OldClock,
    OldServer,
    PastRun,
    Return,
    Scripts,
    heard,
    log_columns,
    named_columns,
    shape_of,
)

NEXT = datetime(2026, 6, 2, 2, 0)  # noqa: DTZ001 - a wall clock, as all here
LATER = datetime(2026, 6, 5, 2, 0)  # noqa: DTZ001
LAST = datetime(2026, 6, 1, 2, 0, 7)  # noqa: DTZ001
OFF, OTHER = "abc123", "def456"
RUN = PastRun(LATER, LATER.replace(second=9), 9, success=False, remarks="it's 100% full: %s")

CRON_TABLE = """
CREATE TABLE c_Job (
  ID INTEGER PRIMARY KEY, JobName VARCHAR(100), CronExpression VARCHAR(50), StoredProcName VARCHAR(100), IsActive {bit},
  LastRun TIMESTAMP, NextRun TIMESTAMP, LastResult TEXT, FailureCount INT, EmailOnFailure {bit}
)"""

CRON_LOG = """
CREATE TABLE c_LoggedJob (
  JobID INT NOT NULL, StartedAt TIMESTAMP NOT NULL, DurationSec INT, Success {bit}, Status TEXT, Message TEXT
)"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'old.db'}"
    return request.getfixturevalue("postgresql_url")


class Classic:
    """The tables of TARGCC 4, with one row."""

    def __init__(self, url):
        self.engine = old_server.engine_of(url)
        old_server.make_tables(self.engine)
        self.server = OldServer(url, "c_Job", OldClock("Asia/Jerusalem"))
        self.add(7, "NightReport")

    def add(self, key, code, **values):
        row = {
            "ID": key,
            "lkpJob": code,
            "lkpJobRunner": "night",
            "Active": True,
            "IsManaged": True,
            "NextRunTime": NEXT,
            "LastRunTime": LAST,
            "enmJobStatus": "Success",
            "AddedBy": "dba",
            "AddedOn": LAST,
        } | values
        self._execute(
            f"INSERT INTO c_Job ({', '.join(row)}) VALUES ({', '.join(f':{n}' for n in row)})", row
        )

    def add_many(self, keys):
        row = "INSERT INTO c_Job (ID, lkpJob, Active, AddedBy, AddedOn) VALUES (:key, 'Job', :on, 'dba', :at)"
        self._execute(row, [{"key": key, "on": True, "at": LAST} for key in keys])

    def change(self, key, **values):
        sets = ", ".join(f"{name} = :{name}" for name in values)
        self._execute(f"UPDATE c_Job SET {sets} WHERE ID = {key}", values)

    def _execute(self, text, values):
        with self.engine.begin() as connection:
            connection.execute(sa.text(text), values)

    def row(self, key=7):
        with self.engine.connect() as connection:
            row = connection.execute(sa.text(f"SELECT * FROM c_Job WHERE ID = {key}")).one()
        return {name.lower(): value for name, value in row._mapping.items()}

    def log(self):
        query = "SELECT ExecutionTimeSec, enmRunStatus_JobStatus, Remarks FROM c_LoggedJob"
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def off(self, *keys, token=OFF):
        return self.server.run(self.server.scripts.off([(key, token) for key in keys]))

    def on(self, *returns):
        return self.server.run(self.server.scripts.on(returns))


@pytest.fixture
def classic(url):
    made = Classic(url)
    yield made
    made.server.close()
    made.engine.dispose()


def test_a_row_is_switched_off_with_a_mark_that_keeps_its_next_run(classic):
    line = classic.off("7")["7"]
    assert (line.outcome, line.token, line.next_run, line.last_run) == ("off", OFF, NEXT, LAST)
    row = classic.row()
    assert not row["active"]
    assert row["changedby"] == "targcc abc123 2026-06-02T02:00:00"


def test_what_the_old_server_clears_afterwards_is_known_from_the_mark(classic):
    classic.off("7")
    classic.change(7, NextRunTime=None)  # the old server's scan writes NULL too
    assert classic.off("7")["7"].next_run == NEXT


def test_many_rows_go_at_once(classic):
    classic.add_many(range(100, 700))
    lines = classic.off(*map(str, range(100, 700)))
    assert {line.outcome for line in lines.values()} == {"off"}
    assert len(lines) == 600


def test_a_row_that_runs_is_left(classic):
    classic.change(7, enmJobStatus="InProcess")
    assert classic.off("7")["7"].outcome == "running"
    assert classic.row()["active"]
    assert classic.row()["changedby"] is None


def test_a_row_that_was_begun_at_the_last_moment_is_said(classic):
    classic.off("7")
    classic.change(7, enmJobStatus="InProcess")
    assert classic.server.run(classic.server.scripts.look([("7", OFF)]))["7"].outcome == "late"


@pytest.mark.parametrize("values", [{"Active": False}, {"DeletedOn": LAST}])
def test_a_row_that_somebody_else_switched_off_or_deleted_is_left(classic, values):
    classic.change(7, **values)
    classic.off("7")
    assert classic.row()["changedby"] is None


def test_a_row_comes_back_with_a_future_run_and_what_ran_here(classic):
    classic.off("7")
    back = Return("7", OFF, LATER, (RUN,))
    assert classic.on(back)["7"].outcome == "on"
    assert classic.on(back)["7"].outcome == "on"  # the script may be repeated
    row = classic.row()
    assert row["active"]
    assert str(row["nextruntime"]).startswith("2026-06-05 02:00:00")
    assert str(row["lastruntime"]).startswith("2026-06-05 02:00:09")
    assert row["enmjobstatus"] == "Failure"
    assert classic.log() == [(9, "Failure", "Unexpected failure: it's 100% full: %s")]


def test_a_row_that_carries_another_mark_is_not_switched_on(classic):
    classic.off("7", token=OTHER)
    assert classic.on(Return("7", OFF, LATER, (RUN,)))["7"].outcome == "left"
    assert not classic.row()["active"]
    assert classic.log() == []


def test_a_new_mark_fences_who_still_goes_by_the_old_one(classic):
    classic.off("7")
    lines = classic.server.run(classic.server.scripts.remark("7", OFF, OTHER))
    assert (lines["7"].outcome, lines["7"].next_run) == ("off", NEXT)
    classic.on(Return("7", OFF, LATER))
    assert not classic.row()["active"]


def test_times_are_read_by_the_old_servers_clock(classic):
    row = classic.server.rows()["7"]
    assert row.next_run.isoformat() == "2026-06-01T23:00:00+00:00"
    assert (row.name, row.runner, row.active, row.running) == ("NightReport", "night", True, False)


def test_a_row_that_task_manager_does_not_take_counts_as_inactive(classic):
    classic.change(7, IsManaged=None)
    assert not classic.server.rows()["7"].active


def test_the_cron_shape_goes_and_comes_by_its_own_columns(url):
    engine = old_server.engine_of(url)
    bit = "BOOLEAN" if engine.dialect.name == "postgresql" else "BIT"
    with engine.begin() as connection:
        connection.execute(sa.text(CRON_TABLE.format(bit=bit)))
        row = "INSERT INTO c_Job (ID, JobName, IsActive, NextRun) VALUES (1, 'Daily', '1', :next)"
        connection.execute(sa.text(row), {"next": NEXT})
        connection.execute(sa.text(CRON_LOG.format(bit=bit)))
    server = OldServer(url, "c_Job", OldClock("UTC"))
    assert server.run(server.scripts.off([("1", OFF)]))["1"].next_run == NEXT
    for _ in range(2):  # the script may be repeated
        back = Return("1", OFF, LATER, (RUN,))
        assert server.run(server.scripts.on([back]))["1"].outcome == "on"
    old_row = server.rows()["1"]
    assert (old_row.active, old_row.next_run.isoformat()) == (True, "2026-06-05T02:00:00+00:00")
    log = "SELECT JobID, Status, DurationSec, Message, Success FROM c_LoggedJob"
    with engine.connect() as connection:
        [logged] = connection.execute(sa.text(log)).all()
    assert tuple(logged) == (1, None, 9, RUN.remarks, False)
    assert server.not_logged == ""
    server.close()
    engine.dispose()


@pytest.fixture
def refusing(url):
    """The old server, with job 1 away; a constraint of the customer forbids the rows that a way back writes into the log. Only the log's column names are known."""
    engine = old_server.engine_of(url)
    bit = "BOOLEAN" if engine.dialect.name == "postgresql" else "BIT"
    with engine.begin() as connection:
        connection.execute(sa.text(CRON_TABLE.format(bit=bit)))
        connection.execute(
            sa.text("INSERT INTO c_Job (ID, JobName, IsActive) VALUES (1, 'A', '1')")
        )
        log = "CREATE TABLE c_LoggedJob (ID INTEGER, JobID INT, StartedAt TIMESTAMP, Message VARCHAR(99) CHECK (Message = ''))"
        connection.execute(sa.text(log))
    engine.dispose()
    server = OldServer(url, "c_Job", OldClock("UTC"))
    server.run(server.scripts.off([("1", OFF)]))
    yield server
    server.close()


def test_a_log_that_refuses_rows_keeps_no_job_from_going_back(refusing):
    back = refusing.scripts.on([Return("1", OFF, LATER, (RUN,))])
    assert refusing.run(back)["1"].outcome == "on"
    assert refusing.rows()["1"].active
    assert "CHECK" in refusing.not_logged.upper()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_connection_that_is_lost_at_the_log_is_opened_again(refusing):
    back = refusing.scripts.on([Return("1", OFF, LATER, (RUN,))])
    lost = iter([True])

    def lose(context):
        context.is_disconnect = next(lost, False)

    sa.event.listen(refusing._database.engine, "handle_error", lose)
    assert refusing.run(back)["1"].outcome == "on"
    assert "CHECK" in refusing.not_logged.upper()
    assert next(lost, None) is None


def test_a_transaction_that_the_server_has_ended_is_not_taken_for_a_refused_row(refusing):
    """SQL Server rolls back the whole transaction of a deadlock's victim, so that the savepoint is gone."""
    back = refusing.scripts.on([Return("1", OFF, LATER, (RUN,))])
    engine = refusing._database.engine
    sa.event.listen(
        engine, "rollback_savepoint", lambda connection, *_: connection.connection.rollback()
    )
    with pytest.raises(CutoverError, match=r"(?i)check"):
        refusing.run(back)
    assert not refusing.rows()["1"].active
    assert not refusing.not_logged


def test_a_log_that_needs_what_nobody_knows_is_told_of():
    column = {"type": sa.Integer(), "nullable": True}
    known = [{**column, "name": name} for name in ("JobID", "StartedAt")]
    assert log_columns(known).started == "StartedAt"
    with pytest.raises(CutoverError, match="column costcentre needs a value"):
        log_columns([*known, {**column, "name": "CostCentre", "nullable": False}])
    with pytest.raises(CutoverError, match="no column for the job"):
        log_columns(known[:1])
    with pytest.raises(CutoverError, match="is not the name of a column"):
        named_columns("JobID, StartedAt); DROP TABLE x")


def test_a_script_carries_runs_into_a_log_whose_columns_it_was_told():
    log = named_columns("JobName, StartedAt, Success, Remarks")
    scripts = Scripts("mssql", "dbo.c_Job", CRON, log)
    text = scripts.text(scripts.on([Return("7", OFF, LATER, (RUN,))]), "back")

    places = [text.index(part) for part in ("COMMIT", " AS said", "INSERT INTO dbo.c_LoggedJob")]
    # an insert that the log refuses does not stop the other changes
    assert places == sorted(places)
    assert "(JobName, StartedAt, Success, Remarks) SELECT (SELECT JobName FROM dbo.c_Job" in text
    assert ", '0', N'it''s 100% full: %s' WHERE EXISTS" in text


@pytest.mark.parametrize("shape", [CLASSIC, CRON], ids=lambda shape: shape.word)
def test_the_scripts_parse_on_sql_server(shape, tmp_path):
    scripts = Scripts("mssql", "dbo.c_Job", shape, LogColumns("JobID", "StartedAt", "JobName"))
    back = Return("7", OFF, LATER, (RUN,))
    texts = [
        scripts.text(scripts.off([("7", OFF), ("8", OTHER)]), "off", wait=True),
        scripts.text(scripts.on([back], in_time=True), "on"),
        scripts.text(scripts.remark("7", OFF, OTHER), "remark"),
    ]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.sql").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "sqlfluff", "parse", "--dialect", "tsql", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "unparsable" not in done.stdout.lower()
    assert "N'targcc abc123 '" in texts[0]
    assert "WAITFOR DELAY '00:00:02'" in texts[0]
    assert "GETDATE() < '2026-06-05T02:00:00'" in texts[1]


def test_what_stands_around_the_lines_of_an_output_is_ignored():
    text = "(1 row affected)\n targcc abc123 off 7 2026-06-02T02:00:00 none  |\nfoo targcc zz"
    lines = heard(text)
    assert list(lines) == ["7"]
    assert (lines["7"].next_run, lines["7"].last_run) == (NEXT, None)


def test_a_table_with_other_columns_and_a_name_that_is_none_are_refused():
    with pytest.raises(CutoverError, match="no column IsActive"):
        shape_of(["ID", "JobName"], "c_Job")
    with pytest.raises(CutoverError, match="not the name of a table"):
        Scripts("mssql", "c_Job; DROP TABLE c_Job", CLASSIC)
    with pytest.raises(CutoverError, match="no scripts for oracle"):
        Scripts("oracle", "c_Job", CLASSIC)


def test_a_database_that_does_not_answer_ends_with_a_sentence(tmp_path):
    server = OldServer(f"sqlite:///{tmp_path}/no/such.db", "c_Job", OldClock("UTC"))
    with pytest.raises(CutoverError, match="cannot be used: OperationalError"):
        server.rows()
    server.close()


def test_sql_server_reads_the_day_before_the_month_in_no_time_of_a_query(monkeypatch):
    """A ``datetime`` reads 2026-06-02 00:00:00 as 6 February in British and Hebrew sessions, and 2026-06-02T00:00:00 never."""
    server = OldServer("sqlite://", "dbo.c_Job", OldClock("UTC"))
    monkeypatch.setattr(OldServer, "scripts", Scripts("mssql", "dbo.c_Job", CLASSIC))
    queries = []

    def read(_server, _work, query):
        if query == "dbo.c_LoggedJob":
            return [{"name": "c_JobID"}, {"name": "WhenStarted"}]
        queries.append(query)
        return []

    monkeypatch.setattr(OldServer, "_read", read)
    instant = datetime(2026, 6, 2, tzinfo=UTC)
    server.runs(instant, instant)
    server.close()

    assert "WhenStarted >= '2026-06-02T00:00:00'" in queries[0]
