"""`regenerate` shows the release notes between the project's release and the current release."""

import json
import shutil

import pytest
from click.testing import CliRunner
from targcc_gen import __version__
from targcc_gen.cli import main
from targcc_gen.cli.commands import regenerate as command_regenerate
from targcc_gen.cli.commands.regenerate import notes_since, releases

LOCK = ".targcc/lock.jsonl"
HEAD = "for existing projects:"


def regenerate(*options: str):
    return CliRunner().invoke(main, ["regenerate", *options], prog_name="targcc-gen")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    root = tmp_path_factory.mktemp("fresh") / "acme"
    CliRunner().invoke(main, ["new", str(root), "--yes"], prog_name="targcc-gen")
    return root


@pytest.fixture
def lock(fresh, tmp_path, monkeypatch):
    """Change into a new project and return its lock file."""
    root = tmp_path / "acme"
    shutil.copytree(fresh, root)
    monkeypatch.chdir(root)
    return root / LOCK


def made_by(lock, version: str) -> None:
    text = lock.read_text(encoding="utf-8")
    lock.write_text(text.replace(f'"{__version__}"', f'"{version}"', 1), encoding="utf-8")


def test_the_part_of_the_step_is_printed_once(lock):
    made_by(lock, "0.1.0")
    result = regenerate()
    assert result.exit_code == 0, result.output
    assert f"From 0.1.0 to 0.2.0, {HEAD}\n\n* Commit your work" in result.stdout
    assert HEAD not in regenerate().stdout


def test_a_dry_run_prints_it_too_and_takes_nothing_away(lock):
    made_by(lock, "0.1.0")
    assert HEAD in regenerate("--dry-run").stdout
    assert HEAD in regenerate().stdout


def test_a_program_gets_it_as_data(lock):
    made_by(lock, "0.1.0")
    data = json.loads(regenerate("--json").stdout)
    assert list(data["for_existing_projects"]) == ["0.2.0"]


@pytest.mark.usefixtures("lock")
def test_a_project_of_this_version_is_told_nothing():
    assert HEAD not in regenerate().stdout
    assert "for_existing_projects" not in json.loads(regenerate("--json").stdout)


def test_each_release_says_what_it_means_for_existing_projects():
    assert __version__ in releases()
    assert [version for version, text in releases().items() if not text] == []


def test_of_several_releases_the_oldest_comes_first_and_later_ones_are_left_out(
    tmp_path, monkeypatch
):
    text = "".join(
        f"## [{version}] - unreleased\n\n### For existing projects\n\n* Of {version}.\n\n### Fixed\n\n* X.\n\n"
        for version in ("99.0.0", "0.2.0", "0.1.9", "0.1.0")
    )
    (tmp_path / "CHANGELOG.md").write_text(text, encoding="utf-8")
    monkeypatch.setattr(command_regenerate.assets, "changelog", lambda: tmp_path / "CHANGELOG.md")
    assert notes_since("0.1.0").releases == (("0.1.9", "* Of 0.1.9."), ("0.2.0", "* Of 0.2.0."))
