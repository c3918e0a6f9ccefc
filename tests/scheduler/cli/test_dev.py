"""``targcc dev``: reload on save, each error at once, and no database but the project's development one."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from projects import WEB
from targcc_gen.render import render_project
from targcc_gen.spec import parse_spec
from targcc_gen.sync import apply, make_plan
from targcc_scheduler.cli.commands import dev
from targcc_scheduler.cli.dev_database import development_environment
from targcc_scheduler.cli.dev_keys import keys
from targcc_scheduler.cli.dev_server import for_development
from targcc_scheduler.cli.group import CliError
from targcc_scheduler.cli.main import main
from targcc_scheduler.kernel.jobs.discovery import discover
from targcc_scheduler.project import Project

SECRET = "s3cret-word"
PRODUCTION = f"postgresql://jobs:{SECRET}@db.example.com/jobs"
PROJECT = Project(name="acme-jobs", package="acme_jobs")
FAILS = """
from acme_jobs.scheduler import job

@job(every="1s", retries=3, backoff="1s", overlap="skip")
def report() -> str:
    rows: list[int] = []
    return str(rows[0])
"""
ASKS = """
from acme_jobs.scheduler import job

class Ledger: ...

@job()
class TaxExport:
    def __init__(self, ledger: Ledger) -> None: ...
    def execute(self) -> None: ...
"""
BY_HAND = """
from acme_jobs.scheduler import job

@job(retries=3)
def report() -> str:
    return "12 lines mailed"
"""
STOPPED = """
import asyncio
from acme_jobs.scheduler import job
from acme_jobs.services import WORD

@job(every="1s", overlap="skip")
async def waits() -> str:
    print("WAITS", flush=True)
    try:
        await asyncio.sleep(600)
    finally:
        print("TOLD", flush=True)
"""


# The rule of the database.


@pytest.mark.parametrize(
    ("environ", "dotenv", "database"),
    [
        ({}, {}, "sqlite:///acme_jobs.db"),
        ({"TARGCC_DATABASE_URL": "sqlite:///./acme_jobs.db"}, {}, "sqlite:///./acme_jobs.db"),
        (
            {"TARGCC_DATABASE_URL": PRODUCTION, "TARGCC_DEV_DATABASE_URL": "sqlite:///dev.db"},
            {},
            "sqlite:///dev.db",
        ),
        (
            {"TARGCC_ENVIRONMENT": "production"},
            {"TARGCC_DEV_DATABASE_URL": "postgresql://localhost/dev"},
            "postgresql://localhost/dev",
        ),
        (
            {"targcc_database_url": PRODUCTION},
            {"targcc_dev_database_url": "sqlite:///dev.db"},
            "sqlite:///dev.db",
        ),
    ],
    ids=["the default", "the default by name", "marked", "marked in .env", "names in lower case"],
)
def test_the_development_database_is_the_only_one_of_the_server(
    environ: dict[str, str], dotenv: dict[str, str], database: str, tmp_path: Path
):
    chosen = development_environment(environ, dotenv, PROJECT, tmp_path)
    named = {name: value for name, value in chosen.items() if name.upper().endswith("_URL")}
    assert named.pop("TARGCC_DATABASE_URL") == database
    named.pop("TARGCC_DEV_DATABASE_URL", None)
    assert set(named.values()) == {""}
    assert chosen["TARGCC_SEND_ALERTS"] == "false"
    assert chosen["TARGCC_SEND_WEBHOOKS"] == "false"


def test_a_database_of_jobs_is_replaced_by_the_marked_one(tmp_path: Path):
    environ = {"APP_DATABASE_URL": PRODUCTION, "APP_DEV_DATABASE_URL": "sqlite:///data.db"}
    chosen = development_environment(environ, {}, PROJECT, tmp_path)
    assert chosen["APP_DATABASE_URL"] == "sqlite:///data.db"


@pytest.mark.parametrize(
    ("environ", "dotenv", "project", "why"),
    [
        ({"TARGCC_DATABASE_URL": PRODUCTION}, {}, PROJECT, "TARGCC_DATABASE_URL names"),
        ({"targcc_database_url": PRODUCTION}, {}, PROJECT, "TARGCC_DATABASE_URL names"),
        ({}, {"TARGCC_DATABASE_URL": PRODUCTION}, PROJECT, "TARGCC_DATABASE_URL names"),
        ({}, {"targcc_database_url": PRODUCTION}, PROJECT, "TARGCC_DATABASE_URL names"),
        (
            {"TARGCC_DATABASE_URL": "sqlite:////srv/acme/acme_jobs.db"},
            {},
            PROJECT,
            "TARGCC_DATABASE_URL names",
        ),
        (
            {"TARGCC_DATABASE_URL": "sqlite:///file:acme_jobs.db?uri=true"},
            {},
            PROJECT,
            "TARGCC_DATABASE_URL names",
        ),
        (
            {"TARGCC_DATABASE_URL": "file:/run/secrets/url"},
            {},
            PROJECT,
            "TARGCC_DATABASE_URL names",
        ),
        ({"TARGCC_ENVIRONMENT": "production"}, {}, PROJECT, "TARGCC_ENVIRONMENT is 'production'"),
        (
            {},
            {},
            Project(name="acme", package="acme", database_url=PRODUCTION),
            "the default database of acme is no SQLite file in this folder",
        ),
        (
            {},
            {},
            Project(name="acme", package="acme", database_url="sqlite:////srv/acme.db"),
            "the default database of acme is no SQLite file in this folder",
        ),
        ({"APP_DATABASE_URL": PRODUCTION}, {}, PROJECT, "APP_DATABASE_URL names"),
        ({}, {"APP_DATABASE_URL": PRODUCTION}, PROJECT, "APP_DATABASE_URL names"),
    ],
)
def test_another_database_is_refused_with_the_way_out(
    environ: dict[str, str],
    dotenv: dict[str, str],
    project: Project,
    why: str,
    tmp_path: Path,
):
    with pytest.raises(CliError) as caught:
        development_environment(environ, dotenv, project, tmp_path)
    assert str(caught.value.message).startswith(why)
    assert "_DEV_DATABASE_URL" in caught.value.message
    assert SECRET not in caught.value.message


def test_a_default_that_links_to_another_folder_is_refused(tmp_path: Path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "acme_jobs.db").symlink_to(tmp_path / "production.db")
    with pytest.raises(CliError, match="no SQLite file in this folder"):
        development_environment({}, {}, PROJECT, folder)


@pytest.mark.parametrize(
    ("environment", "dotenv", "arguments", "why"),
    [
        ({"TARGCC_DATABASE_URL": PRODUCTION}, "", [], "TARGCC_DATABASE_URL names a database"),
        ({}, f"TARGCC_DATABASE_URL={PRODUCTION}\n", [], "TARGCC_DATABASE_URL names a database"),
        ({"TARGCC_SERVER": "https://jobs.example.com/jobs"}, "", [], "not at https://jobs.exam"),
        ({}, "", ["--server", "https://jobs.example.com/jobs"], "not at https://jobs.example"),
    ],
    ids=["environment", ".env", "server of the environment", "server of an option"],
)
def test_the_command_refuses_and_starts_nothing(
    environment: dict[str, str],
    dotenv: str,
    arguments: list[str],
    why: str,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(subprocess, "Popen", None)
    Path(".env").write_text(dotenv, encoding="utf-8")
    result = CliRunner().invoke(main, [*arguments, "dev"], env=environment, prog_name="targcc")
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr
    assert SECRET not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env"]


def test_a_profile_of_a_server_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TARGCC_PROFILES", str(tmp_path / "profiles.toml"))
    for words in (
        ["profile", "add", "live", "https://jobs.example.com/jobs"],
        ["profile", "use", "live"],
    ):
        assert CliRunner().invoke(main, words, input="token\n", prog_name="targcc").exit_code == 0
    result = CliRunner().invoke(main, ["dev"], prog_name="targcc")
    assert result.exit_code == 2
    assert "works where the project's database is" in result.stderr


# Watching and keys.


def test_the_watch_sees_written_added_and_removed_files(tmp_path: Path):
    package = tmp_path / "acme_watched"
    (package / "__pycache__").mkdir(parents=True)
    kept, gone, spec = package / "kept.py", package / "gone.py", tmp_path / dev.SPEC
    for path in (kept, gone):
        path.write_text("1", encoding="utf-8")
    watch = dev.Watch((package,), (spec,))
    assert watch.changes() == []
    kept.write_text("12", encoding="utf-8")
    gone.unlink()
    spec.write_text("targcc: 1", encoding="utf-8")
    (package / "new.py").touch()
    (package / "__pycache__" / "kept.pyc").touch()
    assert set(watch.changes()) == {kept, gone, spec, package / "new.py"}
    assert watch.changes() == []


def test_without_a_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with keys() as read:
        assert read(0) == ""


@pytest.mark.parametrize(
    ("key", "sent", "ends"),
    [("r", ["run"], False), ("q", [], True), ("?", [], False), ("", [], False)],
)
def test_a_key_does_what_the_help_says(
    key: str, sent: list[str], *, ends: bool, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setattr("targcc_scheduler.project._configured", WEB)
    loop = dev._Loop({}, opens=False)
    lines: list[str] = []
    loop._child = type("Child", (), {"send": staticmethod(lines.append)})()
    loop._act(key)
    assert (lines, loop._ends) == (sent, ends)
    assert ("q  quit" in capsys.readouterr().out) == (key == "?")


def test_jobs_have_no_retries_and_no_alerts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "dev_tried_jobs"
    folder.mkdir()
    (folder / "__init__.py").touch()
    job = '@job(retries=3, alerts=Alerts(slack="https://hooks.example.com/1"))'
    text = f"from targcc_scheduler import Alerts, job\n\n{job}\ndef report() -> None: ...\n"
    (folder / "report.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    project = Project(name="tried", package="tried", retries=5, job_options={"Report": {"retries": 4}})  # fmt: skip
    monkeypatch.setattr("targcc_scheduler.project._configured", for_development(project))
    [report] = discover("dev_tried_jobs").definitions.values()
    assert (report.retries, report.alerts) == (0, None)


# The whole, with processes.


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Render a project without jobs; return its folder."""
    root = tmp_path / "acme-jobs"
    text = "targcc: 1\nproject: {name: acme-jobs, package: acme_jobs}\n"
    apply(make_plan(render_project(parse_spec(text), spec_text=text), root))
    return root


def job_file(project: Path, name: str) -> Path:
    return project / "src" / "acme_jobs" / "jobs" / f"{name}.py"


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(project: Path) -> Iterator[Start]:
    """Return a function that starts ``targcc dev`` in the project; end remaining processes at the end."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, order: str | None = None) -> subprocess.Popen[str]:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("TARGCC_")
        }
        environment |= {
            "PYTHONPATH": str(project / "src"),
            "PYTHONIOENCODING": "utf-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TARGCC_PORT": "0",
            "TARGCC_MODE": "embedded",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "targcc_scheduler", "--project", "acme_jobs", "dev", *arguments],
            cwd=project,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        started.append(process)
        watchdog = threading.Timer(120, process.kill)  # a test fails instead of waiting for ever
        watchdog.daemon = True
        watchdog.start()
        if order is not None:
            assert process.stdin is not None
            process.stdin.write(f"{order}\n")
            process.stdin.flush()
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def lines_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """Return the output lines of a process up to the first line with ``wanted``."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if wanted in line:
            return lines
    raise AssertionError("\n".join(lines))


@pytest.mark.usefixtures("processes")
def test_an_error_is_shown_and_a_saved_file_runs_at_once(project: Path, start: Start):
    report = job_file(project, "report")
    report.write_text(FAILS, encoding="utf-8")
    job_file(project, "tax_export").write_text(ASKS, encoding="utf-8")
    process = start("--no-open")
    greeting = lines_until(process, "Open ")
    assert greeting[0].startswith("Database  sqlite:///acme_jobs.db  (development, migrated to ")
    assert "Jobs      2 found, 1 cannot run" in greeting
    place = Path("src", "acme_jobs", "jobs", "tax_export.py")
    services = Path("src", "acme_jobs", "services.py")
    assert f"          {place}:8  TaxExport asks for Ledger, which no provider makes" in greeting
    assert f"            add a @provide method to Services in {services}" in greeting
    assert "/login?token=" in greeting[-1]

    failed = lines_until(process, "IndexError")
    assert "  Report  attempt 1 failed after " in failed[-4]
    assert failed[-3:] == [
        f"          {report.relative_to(project)}:7 in report",
        "            return str(rows[0])",
        "          IndexError: list index out of range",
    ]
    job_file(project, "tax_export").unlink()
    report.write_text(FAILS.replace("= []", "= [12]"), encoding="utf-8")
    lines = lines_until(process, "  Report  succeeded after ")
    assert lines[-1].endswith(": 12")
    assert any(", reloaded in " in line for line in lines)
    assert not any("attempt 2" in line for line in (*failed, *lines))

    report.write_text("def report(:\n", encoding="utf-8")
    broken = lines_until(process, "SyntaxError")
    assert f"{report.relative_to(project)}:1" in broken[-1]
    process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
    assert process.wait(60) == 0


@pytest.mark.usefixtures("processes")
def test_the_serving_process_runs_the_edited_job_and_ends_with_its_input(
    project: Path, start: Start
):
    job_file(project, "report").write_text(BY_HAND, encoding="utf-8")
    order = json.dumps({"opens": False, "first": True, "changed": [], "since": 0})
    process = start("--child", order=order)
    lines_until(process, "Open ")
    assert process.stdin is not None
    process.stdin.write("run\n")
    process.stdin.flush()
    [*_, line] = lines_until(process, "Report  succeeded after ")
    assert line.endswith(": 12 lines mailed")
    process.stdin.close()
    process.stdin = None  # communicate() would flush it
    assert process.wait(60) == 0


@pytest.mark.usefixtures("processes")
def test_a_running_job_is_told_to_stop_when_a_service_is_saved(project: Path, start: Start):
    services = project / "src" / "acme_jobs" / "services.py"
    text = services.read_text(encoding="utf-8")
    services.write_text(f"{text}\nWORD = 1\n", encoding="utf-8")
    job_file(project, "waits").write_text(STOPPED, encoding="utf-8")
    process = start("--no-open")
    lines_until(process, "WAITS")
    services.write_text(f"{text}\nWORD = 2\n", encoding="utf-8")
    told = lines_until(process, "TOLD") + lines_until(process, ", reloaded in ")
    [changed] = [line for line in told if ", reloaded in " in line]
    assert any(line.endswith("  Waits  told to stop (run 1)") for line in told), told
    assert str(services.relative_to(project)) in changed
    spec = project / "targcc.yaml"
    spec.write_text(f"{spec.read_text(encoding='utf-8')}# a note\n", encoding="utf-8")
    lines_until(process, "changed     targcc.yaml: targcc-gen regenerate applies it to the code")


@pytest.mark.usefixtures("processes")
def test_the_browser_opens_signed_in(
    project: Path, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program, opened = tmp_path / "browser.py", tmp_path / "opened.txt"
    program.write_text(
        f"import pathlib, sys\npathlib.Path({str(opened)!r}).write_text(sys.argv[1])\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("BROWSER", f"{sys.executable} {program} %s")
    job_file(project, "report").write_text(FAILS, encoding="utf-8")
    process = start()
    while not (opened.exists() and opened.read_text(encoding="utf-8")):
        lines_until(process, "IndexError")  # the job fails each second
    with httpx.Client(follow_redirects=True) as browser:
        page = browser.get(opened.read_text(encoding="utf-8"))
    assert (page.status_code, page.url.path) == (200, "/jobs")
    assert "Sign out" in page.text
