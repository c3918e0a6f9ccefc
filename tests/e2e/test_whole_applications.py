"""Small whole applications: their own tests pass, are patched, pass again, run a job beside their routes, and are as they were after undo."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from targcc_gen.cli import main

APPLICATIONS = Path(__file__).resolve().parents[1] / "data" / "applications"
MADE = {"__pycache__", ".pytest_cache", "app.db", "orders.db"}


def own_tests(root: Path) -> str:
    """The application's own suite, in a process that knows nothing of ours."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("TARGCC_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, "--rootdir", str(root), "tests"],
        cwd=root,
        env=known | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def patch(root: Path, *words: str) -> str:
    result = CliRunner().invoke(main, ["patch", "--project", str(root), *words])
    assert result.exit_code == 0, result.output
    return result.output


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not MADE & set(path.relative_to(root).parts)
    }


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fullstack", ()),
        ("prefixed", ("--prefix", "/ops")),
        ("orders", ()),
    ],
)
def test_its_own_tests_pass_before_and_after(name, words, tmp_path):
    root = tmp_path / name
    shutil.copytree(APPLICATIONS / name, root, ignore=shutil.ignore_patterns(*MADE))
    before = contents(root)
    assert " passed" in own_tests(root)
    assert contents(root) == before

    said = patch(root, "--require-verified", *words)
    assert "starts, a job ran, and the pages answer" in said
    passed = own_tests(root)
    assert passed.split(" in ")[0] == own_tests(root).split(" in ")[0]
    new = contents(root).keys() - before.keys()
    assert len(new) <= 12
    assert not [path for path in root.rglob("*.db") if path.name not in MADE]  # nothing of ours ran

    patch(root, "--undo")
    assert contents(root) == before
    assert " passed" in own_tests(root)
