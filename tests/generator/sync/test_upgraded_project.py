"""A project of release 0.1 works after the upgrade: tests, database, jobs, and the patched app."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import older_projects
import pytest
from click.testing import CliRunner
from targcc_gen.cli import main

OLD = "from acme_jobs.scheduler.cli import main; main(prog_name='targcc')"
NEW = "from acme_jobs.scheduler import main; main(prog_name='targcc')"
HELPERS = """from sqlalchemy import select

import acme_jobs.scheduler.tables as tables
from acme_jobs.scheduler.project import NAME, TIMEZONE
from acme_jobs.scheduler.states import RunState
from acme_jobs.services import Database, Mailer, procedure_call


def history() -> str:
    return f"{NAME} {TIMEZONE} {RunState.ENQUEUED} {select(tables.logged_job.c.JobName)} {procedure_call}"
"""
HELPERS_TEST = """from acme_jobs.helpers import history
from acme_jobs.scheduler.tables import *
from acme_jobs.services import Orders, make_container


def test_the_helpers_still_help():
    assert history().startswith("acme-jobs UTC")
    assert "c_LoggedJob" in metadata.tables
    assert Orders().table == "orders"


async def test_the_services_are_there():
    container = make_container()
    assert isinstance(await container.get(Orders), Orders)
    await container.close()
"""
ORDERS = '''@dataclass(frozen=True)
class Orders:
    """Where orders are."""

    table: str = "orders"


class Services(Provider):
    """The services; one method each."""

    @provide(scope=Scope.APP)
    def orders(self) -> Orders:
        """Where orders are."""
        return Orders()
'''


def run(root: Path, *command: str, **variables: str) -> str:
    """Run a program of the project, which must succeed; return its output."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TARGCC_")
    }
    environment |= {"PYTHONPATH": str(root / "src"), **variables}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def regenerate(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(root)
    result = CliRunner().invoke(main, ["regenerate"], prog_name="targcc-gen")
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def root(tmp_path) -> Path:
    """A project with services, a module and a test added by a person."""
    older_projects.unpack("0.1", tmp_path)
    root = tmp_path / "acme-jobs"
    package = root / "src/acme_jobs"
    services = package / "services.py"
    text = services.read_text(encoding="utf-8")
    head = text[text.index("class Services(Provider)") :].partition("\n\n")[0] + "\n"
    assert text.count(head) == 1
    services.write_text(text.replace(head, ORDERS), encoding="utf-8", newline="\n")
    (package / "helpers.py").write_text(HELPERS, encoding="utf-8", newline="\n")
    (root / "tests/test_helpers.py").write_text(HELPERS_TEST, encoding="utf-8", newline="\n")
    return root


def test_its_own_tests_pass(root, monkeypatch):
    output = regenerate(root, monkeypatch)
    assert "imports follow the scheduler" in output
    run(root, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")


def test_its_database_comes_along_and_runs_jobs(root, monkeypatch):
    database = {"TARGCC_DATABASE_URL": f"sqlite:///{(root / 'acme.db').as_posix()}"}
    run(root, "-c", OLD, "migrate", **database)
    run(root, "-c", OLD, "job", "run", "Heartbeat", "--wait", **database)
    regenerate(root, monkeypatch)

    run(root, "-c", NEW, "migrate", **database)
    run(root, "-c", NEW, "job", "run", "Heartbeat", "--wait", **database)

    with closing(sqlite3.connect(root / "acme.db")) as connection, connection:
        jobs = connection.execute("SELECT JobName, Success FROM c_LoggedJob").fetchall()
        (tables,) = connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE name = 'c_AlembicVersion'"
        ).fetchone()
    connection.close()
    assert jobs == [("Heartbeat", 1)] * 2
    assert tables == 1


@pytest.mark.usefixtures("processes")
def test_its_tools_find_nothing_to_complain_of(tmp_path, monkeypatch):
    older_projects.unpack("0.1", tmp_path)
    root = tmp_path / "acme-jobs"
    regenerate(root, monkeypatch)
    run(root, "-m", "ruff", "check", "--no-cache", ".")
    run(root, "-m", "black", "--check", "--quiet", "src", "tests")
    data = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert data["project"]["scripts"] == {"targcc": "acme_jobs.scheduler:main"}
    assert "force-include" not in data["tool"]["hatch"]["build"]["targets"]["wheel"]


def test_what_a_person_patched_imports_the_new_scheduler(tmp_path, monkeypatch):
    older_projects.unpack("0.1", tmp_path)
    root = tmp_path / "shop"
    entry = root / "shop/main.py"
    before = entry.read_text(encoding="utf-8")
    assert "shop/main.py" in regenerate(root, monkeypatch)
    assert entry.read_text(encoding="utf-8") == before.replace(".scheduler.app", ".scheduler")
    program = (
        "from fastapi.testclient import TestClient; from shop.main import app\n"
        "with TestClient(app) as client: print(client.get('/').json(), client.get('/jobs/health/live').status_code)"
    )
    url = f"sqlite:///{(tmp_path / 'jobs.db').as_posix()}"
    answer = run(root, "-c", program, PYTHONPATH=str(root), TARGCC_DATABASE_URL=url)
    assert answer.splitlines()[-1] == "{'hello': 'Shop'} 200"
    result = CliRunner().invoke(main, ["patch", "--undo"], prog_name="targcc-gen")
    assert result.exit_code == 0, result.output
    assert "scheduler" not in entry.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_job_added_before_the_upgrade_does_not_hide_that_it_is_due(tmp_path, monkeypatch):
    older_projects.unpack("0.1", tmp_path)
    root = tmp_path / "acme-jobs"
    monkeypatch.chdir(root)
    result = CliRunner().invoke(main, ["job", "Late", "--every", "1h"], prog_name="targcc-gen")
    assert result.exit_code == 0, result.output
    assert "imports follow the scheduler" in regenerate(root, monkeypatch)


def test_read_only_people_keep_their_file(tmp_path, monkeypatch):
    older_projects.unpack("0.1", tmp_path)
    root = tmp_path / "acme-jobs"
    file = root / "src/acme_jobs/mine.py"
    file.write_text("from .scheduler.tables import metadata\n", encoding="utf-8")
    file.chmod(0o444)
    output = regenerate(root, monkeypatch)
    assert "read-only; its imports are those of an older scheduler" in output
    assert "scheduler.tables" in file.read_text(encoding="utf-8")
