"""`regenerate` moves a scheduler from the project's package to `vendor/`, with all edits of people."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import older_projects
import pytest
from click.testing import CliRunner, Result
from targcc_gen.cli import main

OLD = "src/acme_jobs/scheduler"
NEW = "vendor/targcc-scheduler/targcc_scheduler"
PAGER = """\
\"\"\"A channel of our own.\"\"\"

from ...services import Mailer
from ..core.errors import JobError
from .rules_of_ours import RULES


class Pager:
    mailer, error, rules = Mailer, JobError, RULES
"""
HELPERS = """\
import acme_jobs.scheduler.storage.nodes
from acme_jobs.scheduler import JobResult, job
from acme_jobs.scheduler.alerts.pager import Pager
from acme_jobs.scheduler.storage import tables as t
from acme_jobs.scheduler.storage.tables import job_run, job_server

from .scheduler.core.text import visible

NAMES = (acme_jobs.scheduler.storage.nodes.__name__, t.job_server, job_run, job_server, visible, job, JobResult, Pager)
TARGET = "acme_jobs.scheduler.core.text.visible"
"""
FOLLOWED = """\
import targcc_scheduler.kernel.node.nodes
from acme_jobs.scheduler import JobResult, job, job_run
from targcc_scheduler.alerts.pager import Pager
from targcc_scheduler.db import tables as t
from targcc_scheduler.db.tables import job_server

from targcc_scheduler.core.text import visible

NAMES = (targcc_scheduler.kernel.node.nodes.__name__, t.job_server, job_run, job_server, visible, job, JobResult, Pager)
TARGET = "targcc_scheduler.core.text.visible"
"""


def targcc_gen(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="targcc-gen")


def python(root: Path, *command: str) -> str:
    """Run a program of the project, which must succeed; return its output."""
    paths = [root / "vendor/targcc-scheduler", root / "src", root]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects")
    older_projects.unpack("before-vendor", folder)
    return folder


@pytest.fixture
def root(projects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy a project of the last commit with the scheduler in the package."""
    shutil.copytree(projects / "acme-jobs", tmp_path / "acme-jobs")
    monkeypatch.chdir(tmp_path / "acme-jobs")
    return tmp_path / "acme-jobs"


def add(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.exists() else b""
    path.write_bytes(before + text.encode())


@pytest.mark.slow
def test_an_untouched_project_moves_without_a_word(root):
    for folder in list((root / OLD).rglob("*")):
        if folder.is_dir():
            add(folder / "__pycache__/left.pyc", "")
    result = targcc_gen("regenerate")
    assert result.exit_code == 0, result.output
    assert "files of targcc-gen's have another place now" in result.stdout
    assert "The scheduler is in vendor/targcc-scheduler/ now" in result.stdout
    assert len(result.stdout.splitlines()) < 25
    assert [*(root / OLD).rglob("*")] == []
    assert not (root / ".targcc/kept").exists()
    assert (root / "targcc.yaml").read_text(encoding="utf-8").count("scheduler: vendored") == 1
    assert targcc_gen("regenerate", "--check").exit_code == 0
    lock = (root / ".targcc/lock.jsonl").read_text(encoding="utf-8")
    assert f'"{OLD}/' not in lock


@pytest.mark.slow
def test_what_people_wrote_is_at_the_new_place(root):
    edited = {
        "core/states.py": "MINE = 1\n",
        "web/dashboard/static/dashboard.css": ".mine { color: red }\n",
        "web/dashboard/templates/pages/jobs.html": "<!-- mine -->\n",
        "py.typed": "partial\n",
    }
    for path, text in edited.items():
        add(root / OLD / path, text)
    windows = root / OLD / "core/clock.py"
    windows.write_bytes(windows.read_bytes().replace(b"\n", b"\r\n") + b"MINE = 2\r\n")
    init = root / OLD / "__init__.py"
    text = init.read_text(encoding="utf-8")
    init.write_text(text.replace("        retries=3,\n", "        retries=7,\n"), encoding="utf-8")
    assert targcc_gen("eject", f"{OLD}/core/actor.py").exit_code == 0
    add(root / OLD / "core/actor.py", "EJECTED = True\n")
    (root / OLD / "web/metrics.py").unlink()
    add(root / OLD / "storage/tables.py", "MINE = 3\n")  # its text moved to another file

    result = targcc_gen("regenerate")

    assert result.exit_code == 0, result.output
    for path, text in edited.items():
        assert (root / NEW / path).read_text(encoding="utf-8").endswith(text), path
    content = (root / NEW / "core/clock.py").read_bytes()
    assert content.endswith(b"MINE = 2\r\n")
    assert content.count(b"\n") == content.count(b"\r\n")
    assert "your line kept" in result.stdout
    assert "        retries=7,\n" in (root / "src/acme_jobs/scheduler.py").read_text(
        encoding="utf-8"
    )
    assert (root / NEW / "core/actor.py").read_text(encoding="utf-8").endswith("EJECTED = True\n")
    assert not (root / NEW / "web/metrics.py").exists()
    assert [*(root / OLD).rglob("*")] == []
    assert (root / NEW / "db/tables.py").read_text(encoding="utf-8").endswith("MINE = 3\n")
    assert not (root / ".targcc/kept").exists()
    assert targcc_gen("regenerate", "--check").exit_code == 0
    status = {
        file["path"]: file for file in json.loads(targcc_gen("status", "--json").stdout)["files"]
    }
    assert status[f"{NEW}/core/actor.py"]["state"] == "ejected"


@pytest.mark.usefixtures("processes")
def test_files_of_their_own_and_imports_follow(root):
    add(root / OLD / "alerts/pager.py", PAGER)
    add(root / OLD / "alerts/rules_of_ours.py", "RULES = 1\n")
    add(root / "src/acme_jobs/helpers.py", HELPERS)
    add(
        root / OLD / "services/settings.py",
        "from acme_jobs.scheduler.core.errors import JobError\n",
    )

    result = targcc_gen("regenerate")

    assert result.exit_code == 0, result.output
    assert (root / "src/acme_jobs/helpers.py").read_text(encoding="utf-8") == FOLLOWED
    pager = (root / NEW / "alerts/pager.py").read_text(encoding="utf-8")
    assert "from acme_jobs.services import Mailer\n" in pager
    assert "from targcc_scheduler.core.errors import JobError\n" in pager
    text = (root / NEW / "services/settings.py").read_text(encoding="utf-8")
    assert "\nfrom targcc_scheduler.core.errors import JobError\n" in text
    assert [*(root / OLD).rglob("*")] == []
    python(root, "-c", "import acme_jobs.helpers")
    assert targcc_gen("regenerate", "--check").exit_code == 0


@pytest.mark.slow
def test_a_file_of_their_own_whose_place_is_taken_is_put_aside_and_named(root):
    add(root / OLD / "storage/tables.py", "")
    add(root / OLD / "mine.py", "MINE = 1\n")
    add(root / NEW / "mine.py", "OTHER = 1\n")

    result = targcc_gen("regenerate")

    assert result.exit_code == 0, result.output
    kept = f".targcc/kept/{OLD}/mine.py.txt"
    assert kept in result.stdout
    assert (root / kept).read_text(encoding="utf-8") == "MINE = 1\n"
    assert (root / NEW / "mine.py").read_text(encoding="utf-8") == "OTHER = 1\n"


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("length", [88, 100])
def test_a_project_that_was_formatted_has_no_conflict(root, length):
    paths = ("core/clock.py", "core/states.py", "core/memory.py")
    black = [sys.executable, "-m", "black", "-q", "-l", str(length), "-C"]
    subprocess.run([*black, *(root / OLD / path for path in paths)], check=True)
    result = targcc_gen("regenerate")
    assert result.exit_code == 0, result.output
    assert not (root / ".targcc/kept").exists()
    subprocess.run([*black, "--check", *(root / NEW / path for path in paths)], check=True)
    assert targcc_gen("regenerate", "--check").exit_code == 0


@pytest.mark.usefixtures("processes")
def test_its_tests_pass_there(root):
    assert targcc_gen("regenerate").exit_code == 0
    python(root, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")


@pytest.mark.slow
def test_the_switch_waits_for_the_move(root):
    status = targcc_gen("scheduler", "package")
    assert status.exit_code == 3
    assert "targcc-gen regenerate" in status.output
    assert targcc_gen("regenerate").exit_code == 0
    assert targcc_gen("scheduler", "package").exit_code == 0
    assert not (root / "vendor/targcc-scheduler").exists()
    assert targcc_gen("regenerate", "--check").exit_code == 0
    assert targcc_gen("scheduler", "vendored").exit_code == 0
    assert (root / NEW / "db/tables.py").is_file()


@pytest.mark.slow
def test_other_commands_take_such_a_project_as_it_is(root):
    added = targcc_gen("job", "Later", "--every", "1h")
    assert added.exit_code == 0, added.output
    assert (root / OLD / "storage/tables.py").is_file()
    assert targcc_gen("regenerate", "--check").exit_code == 1


@pytest.mark.usefixtures("processes")
def test_an_app_that_was_patched_moves_with_its_requirements(projects, tmp_path, monkeypatch):
    shutil.copytree(projects / "shop", tmp_path / "shop")
    monkeypatch.chdir(tmp_path / "shop")
    before = Path("pyproject.toml").read_text(encoding="utf-8")
    assert "sqlalchemy" in before

    result = targcc_gen("regenerate")

    assert result.exit_code == 0, result.output
    text = Path("pyproject.toml").read_text(encoding="utf-8")
    assert "sqlalchemy" not in text
    assert 'targcc-scheduler = { path = "vendor/targcc-scheduler", editable = true }' in text
    assert Path("shop/scheduler.py").is_file()
    assert not Path("shop/scheduler").exists()
    assert not Path("migrations").exists()
    program = (
        "from shop.main import app; from fastapi.testclient import TestClient; TestClient(app)"
    )
    python(tmp_path / "shop", "-c", program)
    assert targcc_gen("regenerate", "--check").exit_code == 0
    assert targcc_gen("patch", "--undo").exit_code == 0
    assert "targcc" not in Path("pyproject.toml").read_text(encoding="utf-8")
    assert not Path("vendor").exists()


@pytest.mark.slow
def test_with_the_package_a_person_moves_files_of_their_own_first(root):
    spec = root / "targcc.yaml"
    spec.write_text(f"{spec.read_text(encoding='utf-8')}\nscheduler: package\n", encoding="utf-8")
    add(root / OLD / "mine.py", "MINE = 1\n")
    result = targcc_gen("regenerate")
    assert result.exit_code == 3
    assert f"conflict  {OLD}/mine.py" in result.stdout
    assert (root / OLD / "storage/tables.py").is_file()

    (root / OLD / "mine.py").rename(root / "src/acme_jobs/mine.py")
    assert targcc_gen("regenerate").exit_code == 0
    assert not (root / OLD).exists()
    assert not (root / "vendor/targcc-scheduler").exists()
    assert targcc_gen("regenerate", "--check").exit_code == 0
