"""`targcc-gen import-legacy` with other schedulers: the kind, options of another kind, a new project, a second import, the switch."""

import json
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from targcc_gen.cli import main
from targcc_gen.cli.commands.import_legacy import import_legacy
from targcc_gen.importing.project import database_of
from targcc_gen.readers.exports import ExportFile
from targcc_gen.sources.c_job.tables import TABLES
from targcc_gen.sources.kinds import KINDS
from targcc_gen.sources.model import Import, NoRuns, Options
from targcc_gen.spec import load_spec

CRONTAB = "MAILTO=ops@example.com\n30 2 * * * /opt/books.sh --all\n0 5 * * 1 /opt/report\n"
AGENT = """EXEC msdb.dbo.sp_add_job @job_name=N'Load'
EXEC msdb.dbo.sp_add_jobstep @job_name=N'Load', @step_name=N'x', @command=N'EXEC dbo.usp_Load'
EXEC msdb.dbo.sp_add_jobschedule @job_name=N'Load', @name=N'n', @freq_type=4, @freq_interval=1, @active_start_time=23000
"""


def run(*arguments: object):
    words = ["import-legacy", *map(str, arguments), "--timezone", "Europe/London"]
    return CliRunner().invoke(main, words)


@pytest.fixture
def crontab(tmp_path: Path) -> Path:
    path = tmp_path / "ops.cron"
    path.write_text(CRONTAB, encoding="utf-8")
    return path


def test_a_second_import_takes_a_changed_line_and_keeps_what_people_changed(crontab, tmp_path):
    project = tmp_path / "ops"
    assert run(crontab, "--new", project).exit_code == 0
    spec = project / "targcc.yaml"
    spec.write_text(spec.read_text(encoding="utf-8").replace("overlap: allow", "overlap: skip", 1), encoding="utf-8")  # fmt: skip

    quiet = run(crontab, "--into", project)
    crontab.write_text(CRONTAB.replace("30 2", "45 3") + "0 6 * * * /opt/new\n", encoding="utf-8")
    changed = run(crontab, "--into", project)

    assert "unchanged 1 job" in quiet.output
    assert "kept      Books" in quiet.output
    assert changed.exit_code == 0
    text = spec.read_text(encoding="utf-8")
    assert 'cron: "45 3 * * *"' in text
    assert "overlap: skip" in text
    assert "added     New" in changed.output


BRANCHING = """EXEC msdb.dbo.sp_add_job @job_name=N'Close'
EXEC msdb.dbo.sp_add_jobstep @job_name=N'Close', @step_name=N'load', @command=N'EXEC dbo.usp_Load', @on_success_action=3, @on_fail_action=4, @on_fail_step_id=3
EXEC msdb.dbo.sp_add_jobstep @job_name=N'Close', @step_name=N'sum', @command=N'EXEC dbo.usp_Sum', @on_success_action=1, @on_fail_action=3
EXEC msdb.dbo.sp_add_jobstep @job_name=N'Close', @step_name=N'tell', @command=N'EXEC dbo.usp_Tell', @on_success_action=2
EXEC msdb.dbo.sp_add_jobschedule @job_name=N'Close', @name=N'n', @freq_type=4, @freq_interval=1, @active_start_time=23000
"""


@pytest.mark.slow
@pytest.mark.parametrize("joins", [False, True])
def test_steps_that_branch_arrive_as_a_flow_which_a_second_import_leaves_alone(joins, tmp_path):
    script, project = tmp_path / "jobs.sql", tmp_path / "ops"
    script.write_text(AGENT if joins else BRANCHING, encoding="utf-8")
    assert run(script, "--new", project, "--paused").exit_code == 0
    script.write_text((AGENT if joins else "") + BRANCHING, encoding="utf-8")
    if joins:
        assert run(script, "--into", project, "--paused").exit_code == 0

    spec = load_spec(project / "targcc.yaml")
    flow = spec.flows["Close"]
    assert (flow.cron, flow.paused) == ("30 2 * * *", True)
    assert {name: (step.job, step.after, step.on) for name, step in flow.steps.items()} == {
        "step1": ("CloseLoad", (), "success"),
        "step2": ("CloseSum", ("step1",), "success"),
        "step3": ("CloseTell", ("step1", "step2"), "failure"),
    }
    assert "Close" not in spec.jobs
    before = (project / "targcc.yaml").read_bytes()
    again = run(script, "--into", project, "--paused")
    assert "unchanged 4 jobs" in again.output, again.output
    assert [key for key, job in spec.jobs.items() if job.paused] == (["Load"] if joins else [])
    assert (project / "targcc.yaml").read_bytes() == before

    script.write_text(script.read_text().replace("23000", "43000"), encoding="utf-8")
    changed = run(script, "--into", project, "--paused")
    assert "change flows in targcc.yaml by hand" in changed.output
    assert "30 2 * * *" in (project / "targcc.yaml").read_text(encoding="utf-8")

    script.write_text(AGENT, encoding="utf-8")
    gone = run(script, "--into", project, "--paused", "--dry-run").output
    assert gone.count("flow Close runs it: take the flow out of targcc.yaml first") == 3
    assert "take it out of flows in targcc.yaml" in gone


def test_the_jobs_arrive_paused_with_a_switch_for_the_old_server(tmp_path):
    script = tmp_path / "jobs.sql"
    script.write_text(AGENT, encoding="utf-8")

    result = run(script, "--new", tmp_path / "ops", "--paused")

    assert result.exit_code == 0
    off = tmp_path / "ops" / "legacy" / "turn_off_old.sql"
    assert "sp_update_job @job_name = N'Load', @enabled = 0;" in off.read_text(encoding="utf-8")
    assert str(off) in result.output
    assert not (tmp_path / "ops" / "legacy" / "cutover.json").exists()


def test_the_command_offers_every_kind():
    (option,) = [each for each in import_legacy.params if each.name == "kind"]

    assert list(option.type.choices) == [kind.name for kind in KINDS]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mode", "hybrid"), "--mode has no use for cron"),
        (("--weekly", "as-meant"), "--weekly has no use for cron"),
        (("--kind", "sql-agent"), "no header, and the values"),
        (("--kind", "anything"), "is not one of 'c-job', 'sql-agent'"),
    ],
)
def test_a_wrong_option_is_refused(crontab, arguments, message):
    result = run(crontab, *arguments)

    assert result.exit_code == 2
    assert message in result.output


def test_files_of_several_kinds_are_refused(crontab, tmp_path):
    script = tmp_path / "jobs.sql"
    script.write_text(AGENT, encoding="utf-8")

    result = run(crontab, script)

    assert result.exit_code == 2
    assert "several kinds" in result.output


def test_the_report_has_the_questions_of_the_scheduler(crontab, tmp_path):
    report = tmp_path / "report.json"
    assert run(crontab, "--report", report).exit_code == 0

    content = json.loads(report.read_text(encoding="utf-8"))

    assert any("Which user runs the worker" in text for text in content["questions"])
    assert content["parity"]["model"].startswith("cron is simulated")
    assert content["counts"] == {
        "rows": 2, "jobs": 2, "inactive": 0, "rejected": 0, "history": 0, "history_left_out": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "extra"), [("PostgreSQL", "postgresql"), ("SQL Server", "mssql"), ("CSV", "mssql")]
)
def test_hybrid_mode_names_the_extra_of_the_old_database(kind, extra):
    file = ExportFile("c_Job", "database", kind, 0)
    options = Options(ZoneInfo("UTC"), datetime(2026, 11, 30, tzinfo=UTC))

    assert database_of(Import(TABLES, [file], options, NoRuns())) == extra


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("notes.txt", "We run it\nat night\n", "--kind names another scheduler: sql-agent"),
        ("beat.py", "beat_schedule = made()\n", "no entry of beat_schedule that can be read"),
    ],
)
def test_a_file_without_a_job_says_how_to_go_on(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")

    result = run(tmp_path / name)

    assert result.exit_code == 2
    assert message in result.output
