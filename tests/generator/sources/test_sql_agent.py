"""SQL Server Agent as a source: scripts of Management Studio, tables of msdb, steps, and the history as evidence."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from four_zones import ZONES
from targcc_gen.errors import InputError
from targcc_gen.evidence.weigh import weigh
from targcc_gen.importing.cutover import write_switches
from targcc_gen.parity.compare import differences
from targcc_gen.sources.kinds import kind_named, recognized
from targcc_gen.sources.model import Import, Options, ReadingOptions

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
OPTIONS = Options(ZoneInfo("Asia/Jerusalem"), NOW)


def imported(folder: Path, text: str, *, encoding: str = "utf-8") -> Import:
    path = folder / "jobs.sql"
    path.write_bytes(text.encode(encoding))
    source = recognized([str(path)]).open(None)
    files = source.read([str(path)], ReadingOptions(OPTIONS.zone))
    return source.convert(files, OPTIONS)


def script(steps: str, schedule: str = "@freq_type=4, @freq_interval=1, @active_start_time=23000", job: str = "") -> str:  # fmt: skip
    """A script as Management Studio writes it."""
    return f"""USE [msdb]
GO
/****** Object:  Job [Nightly load] ******/
BEGIN TRANSACTION
DECLARE @ReturnCode INT
SELECT @ReturnCode = 0
DECLARE @jobId BINARY(16)
EXEC @ReturnCode =  msdb.dbo.sp_add_job @job_name=N'Nightly load',
\t\t@enabled=1, {job}
\t\t@owner_login_name=N'sa', @job_id = @jobId OUTPUT
IF (@@ERROR <> 0 OR @ReturnCode <> 0) GOTO QuitWithRollback
{steps}
EXEC @ReturnCode = msdb.dbo.sp_update_job @job_id = @jobId, @start_step_id = 1
EXEC @ReturnCode = msdb.dbo.sp_add_jobschedule @job_id=@jobId, @name=N'nightly', {schedule}
EXEC @ReturnCode = msdb.dbo.sp_add_jobserver @job_id = @jobId, @server_name = N'(local)'
COMMIT TRANSACTION
QuitWithRollback:
    IF (@@TRANCOUNT > 0) ROLLBACK TRANSACTION
GO
"""


def step(command: str, *, number: int = 1, subsystem: str = "TSQL", more: str = "") -> str:
    quoted = command.replace("'", "''")
    return f"EXEC @ReturnCode = msdb.dbo.sp_add_jobstep @job_id=@jobId, @step_name=N'step {number}', @step_id={number}, @subsystem=N'{subsystem}', @command=N'{quoted}' {more}\n"


NEXT = ", @on_success_action=3, @on_fail_action=2"


def test_a_job_of_one_call_becomes_a_job_that_calls_the_procedure(tmp_path):
    (job,) = imported(tmp_path, script(step("EXEC dbo.usp_Load;"))).jobs

    assert (job.key, job.stable_name, job.spec.cron) == ("NightlyLoad", "Nightly load", "30 2 * * *")  # fmt: skip
    assert (job.spec.blueprint, job.spec.procedure) == ("stored-procedure", "dbo.usp_Load")
    assert (job.spec.overlap, job.spec.misfire.policy, job.spec.retries) == ("skip", "skip", 0)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_scripts_of_every_encoding(tmp_path, encoding):
    text = script(step("PRINT 'é'"))

    assert len(imported(tmp_path, text, encoding=encoding).jobs) == 1


@pytest.mark.parametrize(
    ("subsystem", "command", "blueprint", "params"),
    [
        ("TSQL", "DELETE FROM Log", "sql", {"statement": "DELETE FROM Log"}),
        ("CmdExec", r"C:\tools\mail.exe /q", "command", {"command": r"C:\tools\mail.exe /q"}),
        ("PowerShell", "Get-Date", "command", {"command": "Get-Date", "shell": "powershell"}),
        ("SSIS", r"/FILE C:\a.dtsx", "command", {"command": r"dtexec /FILE C:\a.dtsx"}),
        ("LogReader", "-Publisher x", "not-ported", {}),
        ("CmdExec", "run.exe $(ESCAPE_SQUOTE(JOBID))", "not-ported", {}),
    ],
)
def test_the_work_of_each_subsystem(tmp_path, subsystem, command, blueprint, params):
    (job,) = imported(tmp_path, script(step(command, subsystem=subsystem))).jobs

    assert job.spec.blueprint == blueprint
    assert {name: param.default for name, param in job.spec.params.items()} == params


def test_steps_one_after_the_other_become_jobs_one_after_the_other(tmp_path):
    steps = step("EXEC dbo.a", more=NEXT) + step("EXEC dbo.b", number=2, more=", @retry_attempts=2, @retry_interval=5")  # fmt: skip

    first, second = imported(tmp_path, script(steps)).jobs

    assert (second.key, second.spec.after, second.spec.cron) == ("NightlyLoadStep2", ("NightlyLoad",), None)  # fmt: skip
    assert first.spec.cron == "30 2 * * *"
    assert second.spec.retries == 2
    assert second.spec.backoff.total_seconds() == 300


BRANCHING = (
    step("EXEC dbo.a", more=", @on_success_action=3, @on_fail_action=4, @on_fail_step_id=3")
    + step("EXEC dbo.b", number=2, more=", @on_success_action=1, @on_fail_action=3")
    + step("EXEC dbo.tell", number=3, more=", @on_success_action=2, @on_fail_action=2")
)
NOON = "EXEC msdb.dbo.sp_add_jobschedule @job_name=N'Nightly load', @name=N'noon', @freq_type=4, @freq_interval=1, @active_start_time=120000\n"  # fmt: skip


def test_steps_that_branch_become_a_flow(tmp_path):
    result = imported(tmp_path, script(BRANCHING))

    *steps, flow = result.jobs
    assert [(job.key, job.spec.type, job.spec.procedure) for job in steps] == [
        ("NightlyLoadStep1", "manual", "dbo.a"),
        ("NightlyLoadStep2", "manual", "dbo.b"),
        ("NightlyLoadStep3", "manual", "dbo.tell"),
    ]
    assert (flow.key, flow.flow.cron, flow.flow.overlap) == ("NightlyLoad", "30 2 * * *", "skip")
    assert {name: (each.job, each.after, each.on) for name, each in flow.steps.items()} == {
        "step1": ("NightlyLoadStep1", (), "success"),
        "step2": ("NightlyLoadStep2", ("step1",), "success"),
        "step3": ("NightlyLoadStep3", ("step1", "step2"), "failure"),
    }
    assert differences(result) == []


def test_each_schedule_of_several_steps_becomes_a_flow_over_the_same_jobs(tmp_path):
    steps = step("EXEC dbo.a", more=NEXT) + step("EXEC dbo.b", number=2)
    result = imported(tmp_path, script(steps) + NOON)

    first, second = [job for job in result.all_jobs if job.flow]
    assert (first.flow.cron, second.flow.cron) == ("30 2 * * *", "0 12 * * *")
    assert first.steps == second.steps
    assert len(result.jobs) == 3
    assert differences(result) == []


def test_steps_that_make_no_flow_are_refused_with_the_reason_and_the_steps(tmp_path):
    steps = step("EXEC dbo.a", more=", @on_success_action=3, @on_fail_action=2") + step(
        "EXEC dbo.b", number=2, more=", @on_success_action=1, @on_fail_action=4, @on_fail_step_id=1"
    )
    (refused,) = imported(tmp_path, script(steps)).rejected

    assert "step 2 goes back to step 1" in refused.reason
    assert "2 step 2 (success ends well, failure another step)" in refused.reason


@pytest.mark.parametrize(
    ("command", "warned"),
    [
        ('UPDATE dbo.t SET a = "x"', True),
        ("UPDATE dbo.t SET a = 'x'", False),
        ('EXEC dbo."Close"', False),
    ],
)
def test_double_quotes_in_t_sql_are_named_as_agent_read_them_otherwise(tmp_path, command, warned):
    warnings = "\n".join(imported(tmp_path, script(step(command))).warnings)

    assert ("QUOTED_IDENTIFIER OFF" in warnings) is warned


def test_ends_that_a_flow_judges_otherwise_are_named(tmp_path):
    steps = step("EXEC dbo.a", more=", @on_success_action=3, @on_fail_action=3") + step("EXEC dbo.b", number=2)  # fmt: skip
    warnings = "\n".join(imported(tmp_path, script(steps)).warnings)

    assert "a flow counts as failed when a step failed" in warnings
    assert "leaves the flow succeeded" not in warnings


def test_a_job_whose_schedules_are_all_disabled_is_compared_by_them(tmp_path):
    schedule = "@enabled=0, @freq_type=4, @freq_interval=1, @active_start_time=23000"
    result = imported(tmp_path, script(step("EXEC dbo.a"), schedule=schedule))

    assert len(result.inactive) == 1
    assert differences(result) == []


def test_a_failure_is_mailed_to_the_operator(tmp_path):
    text = script(
        step("EXEC dbo.a"), job="@notify_level_email=2, @notify_email_operator_name=N'DBA',"
    )
    text += "EXEC msdb.dbo.sp_add_operator @name=N'DBA', @email_address=N'dba@example.com; ops@example.com'\n"

    (job,) = imported(tmp_path, text).jobs

    assert (job.spec.alerts.on, job.spec.alerts.email) == (("failure",), ("dba@example.com", "ops@example.com"))  # fmt: skip


def test_a_disabled_job_and_a_disabled_schedule_arrive_paused(tmp_path):
    disabled = script(step("EXEC dbo.a")).replace("@enabled=1", "@enabled=0")
    schedule = script(step("EXEC dbo.a"), schedule="@enabled=0, @freq_type=4, @freq_interval=1")

    assert [job.spec.paused for job in imported(tmp_path, disabled).inactive] == [True]
    assert [job.spec.paused for job in imported(tmp_path, schedule).inactive] == [True]


def test_variables_and_shared_schedules(tmp_path):
    text = """DECLARE @name sysname = N'Shared', @id int
SET @name = N'Shared ' + N'load'
EXEC msdb..sp_add_job @job_name = @name
EXEC msdb..sp_add_jobstep @job_name = @name, @step_name = N'x', @command = N'EXEC dbo.a'
EXEC sp_add_schedule @schedule_name = N'weekly', @freq_type = 8, @freq_interval = 65, @freq_recurrence_factor = 1, @active_start_time = 90000, @schedule_id = @id OUTPUT
EXEC sp_attach_schedule @job_name = @name, @schedule_id = @id
"""
    (job,) = imported(tmp_path, text).jobs

    assert (job.stable_name, job.spec.cron) == ("Shared load", "0 9 * * SUN,SAT")


def test_two_schedules_become_two_jobs_without_a_start_in_common(tmp_path):
    text = script(step("EXEC dbo.a")) + "EXEC msdb.dbo.sp_add_jobschedule @job_name=N'Nightly load', @name=N'noon', @freq_type=4, @freq_interval=1, @active_start_time=120000\n"  # fmt: skip
    result = imported(tmp_path, text)

    assert [job.spec.cron for job in (*result.jobs, *result.second)] == ["30 2 * * *", "0 12 * * *"]
    assert differences(result) == []


def test_schedules_that_name_the_same_time_are_named(tmp_path):
    text = script(step("EXEC dbo.a")) + "EXEC msdb.dbo.sp_add_jobschedule @job_name=N'Nightly load', @name=N'sunday', @freq_type=8, @freq_interval=1, @freq_recurrence_factor=1, @active_start_time=23000\n"  # fmt: skip

    assert [item.kind for item in differences(imported(tmp_path, text))] == ["twice"]


@pytest.mark.parametrize(
    ("steps", "schedule", "reason"),
    [
        ("", "@freq_type=4, @freq_interval=1", "no step"),
        (step("EXEC dbo.a"), "@freq_type=64", "when Agent starts"),
        (step("EXEC dbo.a"), "@freq_type=@unknown", "when it runs"),
        (
            step("EXEC dbo.a"),
            "@freq_type=4, @freq_interval=1, @active_start_time=999999",
            "no time HHMMSS",
        ),
    ],
)
def test_a_job_that_cannot_come_says_why(tmp_path, steps, schedule, reason):
    result = imported(tmp_path, script(steps, schedule))

    (rejection,) = result.rejected
    assert reason in rejection.reason
    assert (rejection.name, rejection.line) == ("Nightly load", 8)


def test_a_script_that_is_cut_off_is_refused(tmp_path):
    with pytest.raises(InputError, match="ends inside a string"):
        imported(tmp_path, script(step("EXEC dbo.a")).partition("dbo.a")[0])


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
def test_thirteen_months_differ_from_agent_only_in_the_repeated_hour(tmp_path, zone):
    schedules = (
        "@freq_type=4, @freq_interval=1, @active_start_time=23000",
        "@freq_type=8, @freq_interval=62, @freq_recurrence_factor=1, @freq_subday_type=4, @freq_subday_interval=20, @active_start_time=80000, @active_end_time=175959",
        "@freq_type=8, @freq_interval=2, @freq_recurrence_factor=2, @active_start_date=20260105, @active_start_time=10000",
        "@freq_type=32, @freq_interval=6, @freq_relative_interval=16, @freq_recurrence_factor=1, @active_start_time=210000",
        "@freq_type=4, @freq_interval=1, @freq_subday_type=8, @freq_subday_interval=1",
    )
    options = Options(ZoneInfo(zone), NOW)
    kinds: dict[str, set[str]] = {}
    for number, schedule in enumerate(schedules):
        path = tmp_path / f"{number}.sql"
        path.write_text(script(step("EXEC dbo.a"), schedule), encoding="utf-8")
        source = kind_named("sql-agent").open(None)
        result = source.convert(source.read([str(path)], ReadingOptions(options.zone)), options)
        kinds[schedule] = {item.kind for item in differences(result)}

    *others, hourly = kinds.values()
    assert others == [set(), set(), set(), set()]
    assert hourly == (set() if zone == "UTC" else {"autumn"})


# The tables of msdb.


@pytest.fixture
def msdb(tmp_path: Path) -> str:
    path = tmp_path / "msdb.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("""
            CREATE TABLE sysjobs (job_id TEXT, name TEXT, enabled INT, description TEXT, start_step_id INT, notify_level_email INT, notify_email_operator_id INT);
            CREATE TABLE sysjobsteps (job_id TEXT, step_id INT, step_name TEXT, subsystem TEXT, command TEXT, on_success_action INT, on_fail_action INT, database_name TEXT, retry_attempts INT, retry_interval INT, cmdexec_success_code INT);
            CREATE TABLE sysjobschedules (schedule_id INT, job_id TEXT, next_run_date INT, next_run_time INT);
            CREATE TABLE sysschedules (schedule_id INT, name TEXT, enabled INT, freq_type INT, freq_interval INT, freq_subday_type INT, freq_subday_interval INT, freq_relative_interval INT, freq_recurrence_factor INT, active_start_date INT, active_end_date INT, active_start_time INT, active_end_time INT);
            CREATE TABLE sysoperators (id INT, name TEXT, email_address TEXT);
            CREATE TABLE sysjobhistory (instance_id INT, job_id TEXT, step_id INT, message TEXT, run_status INT, run_date INT, run_time INT, run_duration INT, server TEXT);
            INSERT INTO sysjobs VALUES ('AB-1', 'Nightly load', 1, 'Loads', 1, 2, 7), ('AB-2', 'Old', 0, '', 1, 0, 0);
            INSERT INTO sysjobsteps VALUES ('AB-1', 1, 'load', 'TSQL', 'EXEC dbo.usp_Load', 1, 2, 'Sales', 0, 0, 0), ('AB-2', 1, 'x', 'CmdExec', 'a.exe', 1, 2, NULL, 0, 0, 3);
            INSERT INTO sysschedules VALUES (3, 'nightly', 1, 4, 1, 1, 0, 0, 0, 20200101, 99991231, 23000, 235959);
            INSERT INTO sysjobschedules VALUES (3, 'AB-1', 20261201, 23000);
            INSERT INTO sysoperators VALUES (7, 'DBA', 'dba@example.com');
        """)
        for day in range(1, 29):
            row = (day, "AB-1", 0, "The job succeeded", 1 if day % 7 else 0, 20261100 + day, 23000, 10130, "SRV")  # fmt: skip
            connection.execute("INSERT INTO sysjobhistory VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            connection.execute("INSERT INTO sysjobhistory VALUES (?, ?, 1, '', 1, ?, 23000, 5, 'SRV')", (1000 + day, "AB-1", 20261100 + day))  # fmt: skip
    return f"sqlite:///{path}"


def test_the_tables_of_msdb(msdb):
    source = kind_named("sql-agent").open(None)
    result = source.convert(source.read([msdb], ReadingOptions(OPTIONS.zone)), OPTIONS)
    weigh(result)

    (job,) = result.jobs
    (old,) = result.inactive
    assert (job.old.id, job.spec.cron, job.spec.alerts.email) == ("AB-1", "30 2 * * *", ("dba@example.com",))  # fmt: skip
    assert (old.spec.type, str(old.spec.params["expected"])) == ("manual", "list[int] = [3]")
    past = result.history.of("AB-1", "")
    assert (past.runs, past.failures, past.longest.total_seconds()) == (28, 4, 3690)
    assert differences(result) == []


def test_the_old_jobs_are_turned_off_and_on_by_scripts(tmp_path):
    text = script(step("EXEC dbo.a")).replace("Nightly load", "Nightly''s load")
    result = imported(tmp_path, text)

    off, on = write_switches(result, tmp_path)

    assert "@job_name = N'Nightly''s load', @enabled = 0;" in off.read_text(encoding="utf-8")
    assert "@enabled = 1;" in on.read_text(encoding="utf-8")
