"""Imports of a process, which decide its start time and memory; for both ways of installing the scheduler."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import environment
from targcc_gen.render import render_project
from targcc_gen.spec import parse_spec
from targcc_gen.sync import apply, make_plan

_SPEC = """targcc: 1
scheduler: {way}
project: {{name: acme-jobs, package: acme_jobs}}
jobs:
  DailySales: {{cron: "0 2 * * *", blueprint: report}}
"""
WEB = {"fastapi", "jinja2", "starlette", "uvicorn"}
_IMPORTED = (
    "print('imported', *sorted(name for name in sys.modules if name.count('.') != 1), flush=True)"
)


@pytest.fixture(
    scope="module", params=["vendored", pytest.param("package", marks=pytest.mark.soak)]
)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render a project as ``targcc-gen new`` does, with migrated tables; return its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    text = _SPEC.format(way=request.param)
    root = folder / "acme-jobs"
    apply(make_plan(render_project(parse_spec(text), spec_text=text), root))
    run(root, "from acme_jobs.scheduler import migrate; migrate()")
    return root


def run(project: Path, code: str) -> set[str]:
    """Run code and return the top-level modules that the process has imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{_IMPORTED}"],
        cwd=project,
        env=environment(PYTHONPATH=os.pathsep.join(["vendor/targcc-scheduler", "src"])),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (names,) = re.findall(r"^imported (.*)$", done.stdout, re.MULTILINE)
    return set(names.split())


def command(*words: str) -> str:
    """Return code that runs ``targcc`` with these words."""
    return f"""
from acme_jobs.scheduler import main
try:
    main({list(words)!r}, prog_name="targcc")
except SystemExit as end:
    assert not end.code, end.code"""


@pytest.mark.usefixtures("processes")
def test_a_job_imports_neither_web_part_nor_database(project):
    modules = run(
        project, "from acme_jobs.scheduler import job, Job, JobContext, JobResult, JobType"
    )
    assert not modules & (WEB | {"alembic", "click", "dishka", "httpx", "sqlalchemy", "structlog"})


@pytest.mark.usefixtures("processes")
def test_the_help_imports_no_more_than_the_command_line(project):
    modules = run(project, command("--help"))
    assert "click" in modules
    assert not modules & (WEB | {"alembic", "httpx"})


@pytest.mark.usefixtures("processes")
def test_a_command_at_a_server_imports_nothing_of_the_web_part(project):
    code = command("--server", "http://127.0.0.1:1", "job", "list")
    modules = run(project, code.replace("not end.code", "end.code == 2"))
    assert "httpx" in modules
    assert not modules & (WEB | {"alembic"})


@pytest.mark.usefixtures("processes")
def test_migrating_what_is_current_does_not_need_alembic(project):
    modules = run(project, "from acme_jobs.scheduler import migrate; migrate()")
    assert "sqlalchemy" in modules
    assert not modules & (WEB | {"alembic"})


@pytest.mark.usefixtures("processes")
def test_a_worker_imports_nothing_of_the_web_part(project):
    """The worker runs until idle, then gets a stop signal as from a service manager."""
    stop = """
import signal, threading, time

def stop():
    deadline = time.monotonic() + 60
    while "targcc-jobs" not in {thread.name for thread in threading.enumerate()} and time.monotonic() < deadline:
        time.sleep(0.02)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)  # it sleeps in select()

threading.Thread(target=stop, daemon=True).start()"""
    modules = run(project, stop + command("worker"))
    assert {"sqlalchemy", "sqlalchemy.dialects.sqlite"} <= modules
    others = {f"sqlalchemy.dialects.{name}" for name in ("mssql", "mysql", "postgresql")}
    assert not modules & (WEB | {"alembic", "httpx", "opentelemetry", "rich", "structlog"} | others)


@pytest.mark.usefixtures("processes")
def test_who_serves_does_import_it(project):
    code = command("serve", "--help") + "\nfrom acme_jobs.scheduler import create_app"
    assert run(project, code) >= WEB - {"uvicorn", "jinja2"}  # the first request imports the pages
