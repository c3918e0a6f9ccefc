"""`targcc-gen patch --scheduler package`: few files, the wheel among them, and how to install it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from targcc_gen.cli.commands.create.patch import patch
from targcc_gen.errors import InputError
from targcc_gen.render.wheel import wheel_name, wheel_path

MAIN = "from fastapi import FastAPI\n\napp = FastAPI()\n"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A flat project whose package is `shop`."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "1"\n')
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "main.py").write_text(MAIN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run() -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(patch, arguments)


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_it_brings_nine_files(shop: Path, run: Callable[..., Result]):
    before = files(shop)

    assert run("--scheduler", "package").exit_code == 0

    brought = files(shop) - before
    assert len(brought) == 9
    assert brought >= {"shop/scheduler/__init__.py", wheel_path(), ".targcc/lock.jsonl"}


def test_the_app_works_with_the_package(shop: Path, run: Callable[..., Result]):
    result = run("--scheduler", "package")

    assert "verified  shop.main:app serves the scheduler" in result.stdout
    assert "python -m targcc_scheduler --project shop user add NAME" in result.stdout
    done = subprocess.run(
        [sys.executable, "-m", "targcc_scheduler", "--project", "shop", "job", "list"],
        cwd=shop,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Heartbeat" in done.stdout


@pytest.mark.parametrize(
    ("pyproject", "command"),
    [
        ('[project]\nname = "shop"\n', f"uv add --extra run ./vendor/{wheel_name()}"),
        ("[tool.poetry]\n", f'poetry add --extras "run" ./vendor/{wheel_name()}'),
        ("", f'python -m pip install "./vendor/{wheel_name()}[run]"'),
    ],
)
def test_an_environment_without_the_wheel_is_told_how_to_get_it(
    shop: Path,
    run: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    pyproject: str,
    command: str,
):
    (shop / "pyproject.toml").write_text(pyproject)
    monkeypatch.setattr("targcc_gen.patch.service.missing", lambda *_: ["targcc-scheduler"])

    result = run("--scheduler", "package")

    assert result.exit_code == 0
    assert "the patched app was not imported" in result.stdout
    assert f"Next      {command}\n" in result.stdout
    assert (shop / wheel_path()).is_file()


def test_undo_takes_the_wheel_too_and_says_what_is_left(shop: Path, run: Callable[..., Result]):
    before = files(shop)
    run("--scheduler", "package")

    result = run("--undo")

    assert files(shop) == before
    assert "take targcc-scheduler out of the project's requirements" in result.stdout


@pytest.mark.usefixtures("shop")
def test_the_other_way_of_a_project_that_is_there_is_for_another_command(
    run: Callable[..., Result],
):
    run("--scheduler", "package")

    error = run("--scheduler", "vendored").exception

    assert isinstance(error, InputError)
    assert "targcc-gen scheduler vendored" in (error.hint or "")
