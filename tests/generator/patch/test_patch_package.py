"""`targcc-gen patch` with the package, its default: few files including the wheel, and an install command."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from targcc_gen.cli import main
from targcc_gen.cli.commands.patch import patch
from targcc_gen.errors import InputError
from targcc_gen.render.wheel import wheel_path, wheel_version

MAIN = "from fastapi import FastAPI\n\napp = FastAPI()\n"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a flat project with the package `shop`."""
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

    assert run("--no-verify").exit_code == 0

    brought = files(shop) - before
    assert len(brought) == 9  # besides lines in two files of the project
    assert brought >= {"shop/scheduler.py", wheel_path(), ".targcc/lock.jsonl"}


def test_the_app_works_with_the_package(shop: Path, run: Callable[..., Result]):
    result = run()

    assert "verified  shop.main:app starts, a job ran, and the pages answer" in result.stdout
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


def test_an_environment_without_the_wheel_is_told_how_to_get_it(
    shop: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("targcc_gen.patch.service.missing", lambda *_: ["targcc-scheduler"])

    result = run()

    assert result.exit_code == 0
    assert "patched, not verified: because" in result.stdout
    assert "lacks targcc-scheduler" in result.stdout
    assert "Next      python -m pip install --find-links vendor -e .\n" in result.stdout
    assert (shop / wheel_path()).is_file()


def test_undo_takes_the_wheel_too_and_leaves_what_is_the_app_s(
    shop: Path, run: Callable[..., Result]
):
    (shop / "shop" / "migrations").mkdir()
    (shop / "shop" / "migrations" / "0001_initial.py").touch()
    before = files(shop)
    pyproject = (shop / "pyproject.toml").read_text()
    run("--no-verify")
    assert "targcc-scheduler[guest]==" in (shop / "pyproject.toml").read_text()

    run("--undo")

    assert files(shop) == before
    assert (shop / "pyproject.toml").read_text() == pyproject


def test_undo_says_what_is_left_where_the_dependency_was_added_by_hand(
    shop: Path, run: Callable[..., Result]
):
    (shop / "pyproject.toml").unlink()
    assert (
        f"add to the project's requirements: ./{wheel_path()}[guest]" in run("--no-verify").stdout
    )

    result = run("--undo")

    assert "take targcc-scheduler out of the project's requirements" in result.stdout


def test_the_pull_request_is_at_most_twelve_files_and_three_hundred_lines(
    shop: Path, run: Callable[..., Result]
):
    before = {path: (shop / path).read_bytes() for path in files(shop)}
    run("--no-verify")
    after = {path: (shop / path).read_bytes() for path in files(shop)}

    changed = [path for path in after if after[path] != before.get(path)]
    texts = [path for path in changed if not path.endswith((".whl", "schema.json", "lock.jsonl"))]
    lines = sum(
        len(set(after[path].splitlines()) - set(before.get(path, b"").splitlines()))
        for path in texts
    )
    assert len(changed) <= 12
    assert lines <= 300


@pytest.mark.usefixtures("shop")
def test_the_other_way_of_a_project_that_is_there_is_for_another_command(
    run: Callable[..., Result],
):
    run("--no-verify")

    error = run("--vendored").exception

    assert isinstance(error, InputError)
    assert "targcc-gen scheduler vendored" in (error.hint or "")


@pytest.mark.parametrize("place", ["pyproject.toml", "requirements.txt"])
def test_a_new_build_is_named_wherever_the_project_names_the_old_one(
    shop: Path, run: Callable[..., Result], place: str, monkeypatch: pytest.MonkeyPatch
):
    if place == "requirements.txt":
        (shop / "pyproject.toml").unlink()
        (shop / place).write_text("fastapi\n")
    monkeypatch.setattr("targcc_gen.render.wheel.wheel_version", lambda: "0.2.0+h0000000001")
    run("--no-verify")
    old, before = wheel_path(), (shop / place).read_text()
    assert "0.2.0+h0000000001" in before
    monkeypatch.undo()
    monkeypatch.chdir(shop)

    result = CliRunner().invoke(main, ["regenerate"])

    assert result.exit_code == 0, result.output
    assert (shop / place).read_text() == before.replace("0.2.0+h0000000001", wheel_version())
    assert (shop / wheel_path()).is_file()
    assert not (shop / old).exists()
    assert "python -m pip install" in result.output.partition("Next: ")[2]
    assert CliRunner().invoke(main, ["regenerate", "--check"]).exit_code == 0
    run("--undo")
    assert "targcc" not in (shop / place).read_text()


def test_a_web_only_app_gets_a_worker_elsewhere(shop: Path, run: Callable[..., Result]):
    result = run("--no-verify", "--web-only")

    assert "mode: pages\n" in (shop / "targcc.yaml").read_text()
    assert 'mode="pages",' in (shop / "shop" / "scheduler.py").read_text()
    assert "python -m targcc_scheduler --project shop worker" in result.stdout


@pytest.mark.usefixtures("shop")
def test_the_mode_of_a_patched_app_is_set_in_its_spec(run: Callable[..., Result]):
    run("--no-verify")

    error = run("--no-verify", "--web-only").exception

    assert isinstance(error, InputError)
    assert error.hint == "Write mode: pages there, then run targcc-gen regenerate."
