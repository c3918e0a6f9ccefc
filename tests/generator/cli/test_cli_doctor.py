"""Findings of `doctor` for a project that differs from its spec."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from targcc_gen.cli import main
from targcc_gen.render.wheel import wheel_version


@pytest.fixture
def project(tmp_path: Path) -> Path:
    CliRunner().invoke(main, ["new", str(tmp_path / "acme"), "--yes"], catch_exceptions=False)
    return tmp_path / "acme"


def findings(project: Path) -> str:
    return CliRunner().invoke(main, ["doctor", "--project", str(project)]).stdout


def test_one_old_file_is_one_file(project: Path):
    file = project / "targcc.yaml"
    file.write_text(file.read_text("utf-8").replace("workers: 5", "workers: 6"), "utf-8")
    assert "1 file is not up to date" in findings(project)


def test_an_old_lock_is_named_when_no_file_is_due(project: Path):
    (project / ".targcc" / "lock.jsonl").unlink()
    assert "the lock in .targcc is not up to date" in findings(project)
    assert "0 files" not in findings(project)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://jobs:hunter2/x@localhost/x",
        "hunter2@localhost/x",
        "mssql://u:hunter2/x@localhost:1/x",
        "mysql://u:hunter2/x@h/x",
    ],
)
def test_a_password_with_a_slash_is_not_shown(project: Path, url: str, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", url)
    assert "hunter2" not in findings(project)
    assert "TARGCC_DATABASE_URL" in findings(project) or "localhost" in findings(project)


def test_a_server_of_sql_server_that_does_not_answer_is_named(project: Path, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", "mssql://jobs:secret@127.0.0.1:1/jobs")
    assert "nothing answers at 127.0.0.1:1" in findings(project)
    assert "start SQL Server, or correct TARGCC_DATABASE_URL" in findings(project)


@pytest.mark.parametrize(
    ("installed", "words"),
    [
        (wheel_version(), "as the project has it"),
        # the version of a checkout has a local part
        (wheel_version().partition("+")[0], "as the project has it"),
        ("0.2.0+h0000000001", ".venv has targcc-scheduler 0.2.0+h0000000001, and the project"),
        ("", ".venv has no targcc-scheduler"),
    ],
)
def test_the_build_in_the_environment_is_compared_with_the_carried_one(tmp_path, installed, words):
    root = tmp_path / "acme"
    new = ["new", str(root), "--yes", "--scheduler", "package"]
    CliRunner().invoke(main, new, catch_exceptions=False)
    packages = root / ".venv/lib/python3.13/site-packages"
    packages.mkdir(parents=True)
    if installed:
        (packages / f"targcc_scheduler-{installed}.dist-info").mkdir()
    output = findings(root)
    assert words in output
    assert ("uv sync, or: python -m pip" in output) is (words != "as the project has it")
