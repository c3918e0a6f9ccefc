import gc
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from guarantee_rig import Ledger
from targcc_gen.render import render_project
from targcc_gen.spec import parse_spec
from targcc_gen.sync import apply, make_plan
from targcc_scheduler import __version__, configure, project
from targcc_scheduler.cli.main import main
from targcc_scheduler.db.tables import job_run, job_setting

Targcc = Callable[..., Result]


@pytest.fixture
def targcc(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Targcc:
    """Return a function that runs a command line and checks its exit status (0 by default)."""
    monkeypatch.setenv("TARGCC_DATABASE_URL", database_url)

    def call(*arguments: str, status: int = 0, text: str | None = None) -> Result:
        result = CliRunner().invoke(main, arguments, input=text, prog_name="targcc")
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.stderr or status == 1  # status 1: the traceback of a job
        return result

    return call


def rows(url: str, sql: str) -> list[Any]:
    return Ledger(url).rows(sa.text(sql))


def test_every_command_has_help(targcc: Targcc):
    walked: list[str] = []

    def walk(command: Any, path: list[str]) -> None:
        assert command.help, path
        assert targcc(*path, "--help").output.startswith("Usage: targcc")
        walked.append(" ".join(path))
        context = click.Context(command)
        for name in command.list_commands(context) if isinstance(command, click.Group) else ():
            walk(command.get_command(context, name), [*path, name])

    walk(main, [])
    assert {"", "serve", "job run", "token create"} <= set(walked)


def test_nothing_is_looked_for_at_the_end(targcc: Targcc, monkeypatch: pytest.MonkeyPatch):
    registered: list[Any] = []
    monkeypatch.setattr("atexit.register", registered.append)
    targcc("job", "list")
    assert gc.freeze in registered


def test_the_version_says_how_the_project_has_the_scheduler(targcc: Targcc):
    output = targcc("--version").stdout
    assert output == f"web-jobs, targcc-scheduler {__version__} (package)\n"


@pytest.fixture(scope="module")
def vendored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render a project with vendored scheduler source and one environment; return its folder."""
    root = tmp_path_factory.mktemp("vendored")
    text = "targcc: 1\nproject: {name: acme, package: acme_jobs}\nscheduler: vendored\nenvironments: {staging: {}}\n"
    apply(make_plan(render_project(parse_spec(text), spec_text=text), root))
    return root


def at(root: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the project's folder and return the finished process."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=root,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(
                [str(root / "vendor/targcc-scheduler"), str(root / "src")]
            )
        }
        | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.usefixtures("processes")
def test_a_vendored_scheduler_says_so(vendored: Path):
    output = at(vendored, "-m", "acme_jobs.scheduler", "--version").stdout
    assert output == f"acme, targcc-scheduler {__version__} (vendored)\n"


WRONG_ENVIRONMENT = (
    "error[TS606]: TARGCC_ENVIRONMENT is 'stagin', and targcc.yaml has staging: set it to one of them,"
    " or add it there and regenerate; it may be empty\n  targcc explain TS606\n"
)


@pytest.mark.usefixtures("processes")
def test_an_environment_that_is_not_there_is_said_in_a_line(vendored: Path):
    # the same call as in the console script
    code = "from acme_jobs.scheduler import main; main(['--version'])"
    result = at(vendored, "-c", code, TARGCC_ENVIRONMENT="stagin")
    assert (result.returncode, result.stdout, result.stderr) == (2, "", WRONG_ENVIRONMENT)


@pytest.mark.parametrize("words", ["job list", "migrate", "serve", "doctor"])
def test_no_command_works_in_an_environment_that_is_not_there(
    targcc: Targcc, monkeypatch: pytest.MonkeyPatch, words: str
):
    monkeypatch.setattr(project, "_configured", None)
    monkeypatch.setenv("TARGCC_ENVIRONMENT", "stagin")
    configure(project.Project(name="acme", package="acme_jobs"), {"staging": {}})
    assert targcc(*words.split(), status=2).stderr == WRONG_ENVIRONMENT


@pytest.mark.parametrize("words", ["job list", "migrate", "serve", "doctor"])
def test_no_command_works_in_an_environment_of_a_project_that_has_none(
    targcc: Targcc, monkeypatch: pytest.MonkeyPatch, words: str
):
    monkeypatch.setattr(project, "_configured", None)
    monkeypatch.setenv("TARGCC_ENVIRONMENT", "production")
    configure(project.Project(name="acme", package="acme_jobs"))
    assert targcc(*words.split(), status=2).stderr == (
        "error[TS606]: TARGCC_ENVIRONMENT is 'production', and targcc.yaml has no environments: leave it empty,"
        " or add it there and regenerate\n  targcc explain TS606\n"
    )


@pytest.mark.usefixtures("processes")
def test_an_application_does_not_start_in_an_environment_that_is_not_there(vendored: Path):
    code = "from acme_jobs.scheduler import scheduler_router"
    result = at(vendored, "-c", code, TARGCC_ENVIRONMENT="stagin")
    assert (result.returncode, "ProjectError: TARGCC_ENVIRONMENT is" in result.stderr) == (1, True)
    assert result.stderr.endswith("\nTS606: targcc explain TS606\n")


def test_jobs_are_listed_plainly_in_a_pipe(targcc: Targcc):
    result = targcc("job", "list")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["JOB", "SCHEDULE", "NEXT", "LAST", "ENDED"]
    assert re.match(r"DailyReport +at 02:00 every day +\w+", lines[1])
    assert "broken_import.py:3 cannot be used: ModuleNotFoundError" in result.stderr
    assert "\x1b" not in result.output


def test_json_is_what_the_api_answers(targcc: Targcc):
    jobs = json.loads(targcc("job", "list", "--json").stdout)
    assert [job["name"] for job in jobs] == ["DailyReport", "MailUser", "SlowExport", "SyncStock"]
    info = json.loads(targcc("job", "info", "dailyreport", "--json").stdout)
    assert info["retries"] == 2
    assert len(info["next_runs"]) == 5


def test_a_job_is_run_to_its_end_without_a_server(targcc: Targcc):
    result = targcc("job", "run", "dailyreport", "--wait")
    assert "no server is up: this process runs it" in result.stderr
    assert "loading table=orders" in result.stderr
    assert re.fullmatch(
        r"run 1 of DailyReport succeeded in .+: 3 orders, 1,204\.50\n", result.stdout
    )
    shown = targcc("run", "show", "1").stdout
    assert "state       succeeded" in shown
    assert "started by  CLI (" in shown


def test_a_run_that_does_not_stop_is_shown_as_such(targcc: Targcc, database_url: str):
    targcc("job", "run", "dailyreport", "--wait")
    note = "told to stop at 8, still running: why"
    Ledger(database_url).change(sa.update(job_run).values(State="running", StopNote=note))
    shown = targcc("run", "show", "1").stdout
    assert "stopping    told to stop at 8, still running: why" in shown


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--expires-in", "nonsense", 'expires_in: "nonsense" is not a duration'),
        ("--idempotency-key", "", "idempotency_key: String should have at least 1 character"),
        ("--idempotency-key", "k" * 999, "idempotency_key: String should have at most"),
    ],
)
def test_an_option_that_no_request_can_say_is_told_in_words(targcc, option, value, why):
    result = targcc("job", "run", "DailyReport", option, value, status=2)
    assert result.stderr.startswith(f"error[TS801]: {why}")
    assert json.loads(targcc("run", "list", "--json").stdout)["runs"] == []


def test_a_run_that_fails_is_status_1_and_shows_why(targcc: Targcc):
    result = targcc("job", "run", "SyncStock", "--wait", status=1)
    assert "run 1 of SyncStock failed" in result.stdout
    assert "in fetch" in result.stderr
    assert "WarehouseError: the warehouse answered 503" in result.stderr


def test_waiting_as_json_prints_the_run(targcc: Targcc):
    result = targcc("job", "run", "MailUser", "--arg", "user_id=3", "--wait", "--json")
    run = json.loads(result.stdout)
    assert (run["state"], run["arguments"]["user_id"]) == ("succeeded", 3)
    assert result.stderr == ""


def test_arguments_come_one_by_one_or_as_json(targcc: Targcc):
    as_json = '{"user_id": 1, "tone": "strict"}'
    targcc("job", "run", "MailUser", "--arguments", as_json, "--arg", 'copy_to=["a@x", "b@x"]')
    run = json.loads(targcc("run", "show", "1", "--json").stdout)
    assert run["state"] == "enqueued"
    assert run["arguments"]["copy_to"] == ["a@x", "b@x"]
    assert run["arguments"]["tone"] == "strict"
    assert run["arguments"]["api_key"] == "••••••"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["job", "run", "DailyRepotr"],
            "error[TS102]: there is no job 'DailyRepotr': did you mean",
        ),
        (["job", "info", "x"], "targcc job list shows what there is"),
        (
            ["job", "run", "MailUser"],
            "error[TS103]: the arguments do not fit: user_id: field required",
        ),
        (["job", "run", "MailUser", "--arg", "user_id"], "'user_id' is not NAME=VALUE"),
        (
            ["job", "run", "MailUser", "--arg", "user_id=1", "--arg", "user_id=2"],
            "user_id is given twice",
        ),
        (["job", "run", "MailUser", "--arguments", "{"], "not JSON"),
        (["job", "run", "MailUser", "--arguments", "[]"], "not an object"),
        (["run", "show", "99"], "error[TS201]: there is no run 99"),
        (["job", "cancel", "99"], "99"),
        (["job", "retry", "99"], "99"),
        (["job", "pause", "SyncStock", "--until", "soon"], "'soon' is no time"),
        (["queue", "pause", "nix"], "error[TS303]: there is no queue 'nix': default, critical"),
        (["user", "remove", "nobody"], "error[TS705]: there is no user nobody"),
        (["token", "revoke", "nothing"], "error[TS705]: there is no token nothing"),
        (["token", "create", "ci", "--role", "boss"], "viewer"),
        (["migrate", "--sql", "oracle"], "'oracle' is not one of 'sqlite', 'postgresql', 'mssql'"),
        (["migrate", "--sql", "sqlite", "--since", "9"], "there is no revision '9'"),
        (["nonsense"], "targcc has no command 'nonsense': targcc --help"),
    ],
)
def test_what_cannot_be_done_is_status_2_in_words(targcc: Targcc, arguments: list[str], said: str):
    assert said in targcc(*arguments, status=2).stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OIDC_ROLES", "{operators", "error[TS607]: TARGCC_OIDC_ROLES is not JSON\n"),
        (
            "OIDC_ISSUER",
            "https://id.example",
            "error[TS607]: TARGCC_OIDC_ISSUER needs TARGCC_OIDC_CLIENT_ID\n",
        ),
        ("SECRET_KEY", "short", "error[TS607]: TARGCC_SECRET_KEY: not a key"),
        (
            "POLL_SECONDS",
            "soon",
            "error[TS607]: TARGCC_POLL_SECONDS: Input should be a valid number",
        ),
    ],
)
def test_a_setting_that_is_wrong_is_named_as_it_was_given(
    targcc: Targcc, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
):
    monkeypatch.setenv(f"TARGCC_{name}", value)
    assert said in targcc("job", "list", status=2).stderr


@pytest.mark.parametrize(("pause", "resume"), [("pause", "resume"), ("disable", "enable")])
def test_a_job_is_paused_and_resumed(targcc: Targcc, database_url: str, pause: str, resume: str):
    output = targcc("job", pause, "SyncStock", "--reason", "moving house", "--until", "2h").stdout
    assert "SyncStock is paused until" in output
    assert "paused" in targcc("job", "list").stdout
    assert "moving house" in targcc("job", "info", "SyncStock").stdout
    assert "SyncStock runs again, next" in targcc("job", resume, "SyncStock").stdout
    audit = targcc("audit").stdout
    assert audit.index("resume") < audit.index("pause")
    assert not {"disable", "enable"} & set(targcc("job", "--help").stdout.split())
    assert rows(database_url, "SELECT Actor FROM c_JobAudit")[0][0].startswith("CLI (")


@pytest.mark.slow
def test_a_run_is_cancelled_and_done_again(targcc: Targcc):
    targcc("job", "run", "DailyReport")
    assert targcc("job", "cancel", "1").stdout == "run 1 is cancelled\n"
    assert "there is nothing to cancel" in targcc("run", "cancel", "1", status=2).stderr
    result = targcc("job", "retry", "1", "--wait")
    assert "run 2 of DailyReport succeeded" in result.stdout
    listed = targcc("run", "list", "job:daily*", "not state:succeeded since:1h").stdout
    by_option = targcc("run", "list", "--state", "cancelled").stdout
    assert [line.split("(")[0] for line in listed.splitlines()[1:]] == [
        line.split("(")[0] for line in by_option.splitlines()[1:]
    ]
    wrong = targcc("run", "list", "job:daily* sate:x", status=2).stderr
    assert "at character 12: there is no key 'sate' (did you mean state?)" in wrong
    assert "  job:daily* sate:x\n             ^^^^^^" in wrong
    assert listed.splitlines()[1].split()[:3] == ["1", "cancelled", "DailyReport"]


@pytest.mark.slow
def test_history_and_figures(targcc: Targcc):
    targcc("job", "run", "DailyReport", "--wait")
    assert "3 orders" in targcc("job", "history", "DailyReport").stdout
    assert len(json.loads(targcc("job", "history", "--json").stdout)) == 1
    assert "succeeded  1 (100%)" in targcc("job", "stats", "DailyReport").stdout
    assert json.loads(targcc("job", "stats", "DailyReport", "--json").stdout)["runs"] == 1


def test_the_first_user_is_an_admin_and_the_next_a_viewer(targcc: Targcc, database_url: str):
    password = "a good long password\n"
    add = targcc("user", "add", "dana", "--password-stdin", text=password)
    assert add.stdout == "dana may sign in as admin\n"
    typed = targcc("user", "add", "yossi", text=password * 2)
    assert "yossi may sign in as viewer" in typed.stdout
    assert "good long" not in typed.output
    (stored,) = rows(database_url, "SELECT PasswordHash FROM c_JobUser WHERE Name='dana'")
    assert stored[0].startswith("$argon2id$")
    users = json.loads(targcc("user", "list", "--json").stdout)
    assert [(user["name"], user["role"]) for user in users] == [
        ("dana", "admin"),
        ("yossi", "viewer"),
    ]
    targcc("user", "password", "dana", "--password-stdin", text="another long password\n")
    targcc("user", "remove", "yossi")
    assert "yossi" not in targcc("user", "list").stdout
    assert (
        "at least 10" in targcc("user", "add", "x", "--password-stdin", text="s\n", status=2).stderr
    )


def test_a_token_is_printed_once_and_alone_when_asked(targcc: Targcc, database_url: str):
    secret = targcc("token", "create", "ci", "--role", "operator", "--quiet").stdout.strip()
    assert re.fullmatch(r"tgc_[\w-]{43}", secret)
    assert "not shown again" in targcc("token", "create", "other", "--expires", "90d").stdout
    assert secret not in targcc("token", "list").stdout
    assert secret not in str(rows(database_url, "SELECT * FROM c_JobToken"))
    assert secret not in str(rows(database_url, "SELECT * FROM c_JobAudit"))
    targcc("token", "revoke", "ci")
    assert [token["name"] for token in json.loads(targcc("token", "list", "--json").stdout)] == [
        "other"
    ]


def test_a_fresh_database_is_made_by_the_first_command(
    targcc: Targcc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TARGCC_DATABASE_URL", f"sqlite:///{tmp_path / 'new.db'}")
    assert "is at version 0" in targcc("migrate").stdout
    assert targcc("server", "list").stdout.startswith("No server is up")
    assert targcc("job", "history").stdout == "Nothing has run yet.\n"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "TARGCC_DATABASE_URL: not a database URL"),
        ("oracle://a:SECRET@b/c", "in sqlite, postgresql or mssql, not oracle"),
        ("sqlite:////no/such/folder/jobs.db", "unable to open database file"),
        ("postgresql://acme:SECRET@127.0.0.1:1/x", "postgresql://acme:***@127.0.0.1:1/x"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(
    targcc: Targcc, monkeypatch: pytest.MonkeyPatch, url: str, said: str
):
    monkeypatch.setenv("TARGCC_DATABASE_URL", url)
    result = targcc("job", "list", status=2)
    assert said in result.stderr
    assert "SECRET" not in result.output


def test_old_rows_are_removed(targcc: Targcc):
    assert re.match(r"removed \d+ runs", targcc("prune", "--days", "1", "--keep", "0").stdout)
    assert "runs" in json.loads(targcc("prune", "--json").stdout)


def test_pruning_says_on_a_terminal_how_far_it_has_come(capsys, monkeypatch):
    from targcc_scheduler.cli.output import progress_line

    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress_line() as say:
        say("removed so far: 1,234 rows")
    output = capsys.readouterr().err
    assert output.startswith("\rremoved so far: 1,234 rows")
    assert output.endswith(f"\r{'':<60}\r")


def test_statistics_that_still_grow_say_so(targcc: Targcc, database_url: str):
    row = {"Name": "uncounted runs", "Value": "1204", "UpdatedAt": datetime.now(UTC)}
    Ledger(database_url).change(sa.insert(job_setting).values(row))
    shown = targcc("job", "stats", "DailyReport").stdout
    assert "still counting  about 1,204 rows of an earlier release" in shown
    figures = json.loads(targcc("job", "stats", "DailyReport", "--json").stdout)
    assert figures["still_counting"] == 1204


@pytest.mark.sqlite
def test_prune_says_how_an_older_file_becomes_smaller(targcc: Targcc, database_url: str):
    file = database_url.removeprefix("sqlite:///")
    connection = sqlite3.connect(file, isolation_level=None)
    for statement in (
        "PRAGMA journal_mode = DELETE",
        "PRAGMA auto_vacuum = NONE",
        "VACUUM",
        "CREATE TABLE filler AS SELECT zeroblob(3000000) AS text",
        "DROP TABLE filler",
    ):
        connection.execute(statement).fetchall()
    connection.close()
    output = targcc("prune").stdout
    assert "The file keeps 2.9 MiB that are unused; to make it smaller" in output
    assert f'sqlite3 {file} "PRAGMA auto_vacuum = INCREMENTAL; VACUUM"' in output


@pytest.mark.slow
def test_a_run_is_watched_and_its_log_printed(targcc: Targcc):
    targcc("job", "run", "DailyReport", "--wait")
    watched = targcc("run", "watch", "1")
    assert "loading table=orders" in watched.stderr
    assert watched.stdout.startswith("run 1 of DailyReport succeeded")
    for more in ([], ["--follow"]):
        printed = targcc("run", "log", "1", *more)
        assert re.fullmatch(r"\d\d:\d\d:\d\d info {4}loading table=orders\n", printed.stdout)
    targcc("job", "run", "SlowExport")
    assert (
        "run 2 is still enqueued"
        in targcc("run", "watch", "2", "--timeout", "1ms", status=2).stderr
    )
    assert targcc("run", "log", "2").stdout == ""
    assert "there is no run 9" in targcc("run", "log", "9", "--follow", status=2).stderr


@pytest.mark.slow
def test_roles_of_ones_own_are_made_changed_given_and_removed(targcc: Targcc, database_url: str):
    output = targcc("role", "create", "finance", "--grant", "operator", "finance:*").stdout
    assert output == "the role finance allows: operator of finance:*\n"
    targcc("role", "grant", "finance", "viewer", "Daily*")
    targcc("role", "revoke", "finance", "finance:*")
    own = [
        role for role in json.loads(targcc("role", "list", "--json").stdout) if role["jobs"] != "*"
    ]
    assert own == [{"role": "finance", "may": "viewer", "jobs": "Daily*"}]
    text = "a good long password\n"
    targcc("user", "add", "dana", "--role", "finance", "--password-stdin", text=text)
    targcc("token", "create", "ci", "--role", "finance")
    wrong = targcc(
        "user", "add", "eve", "--role", "fnance", "--password-stdin", text=text, status=2
    )
    assert "there is no role fnance: there are viewer, operator, admin, finance" in wrong.stderr
    assert "ci, dana have the role" in targcc("role", "remove", "finance", status=2).stderr
    targcc("role", "assign", "admin", "dana")
    refused = targcc("role", "assign", "viewer", "dana", status=2).stderr
    assert "error[TS713]: the user dana is the last admin" in refused
    targcc("user", "add", "noa", "--role", "admin", "--password-stdin", text=text)
    targcc("role", "assign", "viewer", "dana")
    targcc("token", "revoke", "ci")
    targcc("role", "remove", "finance")
    audit = rows(database_url, "SELECT Action, Detail FROM c_JobAudit ORDER BY Id")
    assert audit[0] == ("create role", "finance: operator of finance:*")
    assert ("change role", "dana is viewer") in audit


def test_the_guides_come_with_the_scheduler(targcc: Targcc):
    listed = targcc("docs").stdout
    assert [line.split()[2] for line in listed.splitlines()] == ["jobs", "migration", "security"]
    guide = targcc("docs", "jobs").stdout
    assert guide.startswith("# ")
    assert "acme_jobs" not in guide
