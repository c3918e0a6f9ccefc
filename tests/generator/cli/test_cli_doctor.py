"""What `doctor` says of a project that is not quite as its spec asks."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from targcc_gen.cli import main


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
    ["postgresql://jobs:hunter2/x@localhost/x", "hunter2@localhost/x", "mysql://u:hunter2/x@h/x"],
)
def test_a_password_with_a_slash_is_not_shown(project: Path, url: str, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", url)
    assert "hunter2" not in findings(project)
    assert "TARGCC_DATABASE_URL" in findings(project) or "localhost" in findings(project)
