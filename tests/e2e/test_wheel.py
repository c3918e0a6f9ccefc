"""An installed wheel, with no repository beside it, renders the same bytes as the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = "examples/acme/targcc.yaml"


def run(*command: str | Path, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def wheel_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`targcc-gen` installed from the built wheel, far from the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = shutil.which("uv")
    assert uv is not None, "uv runs these tests, so it is there"
    source = folder / "source"
    kept = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", "dist", "build")
    shutil.copytree(REPOSITORY, source, ignore=kept)
    run(uv, "build", "--all-packages", "--wheel", "--out-dir", folder / "dist", cwd=source)
    shutil.rmtree(source)
    wheels = sorted((folder / "dist").glob("*.whl"))
    venv = folder / "venv"
    run(uv, "venv", "--python", sys.executable, venv, cwd=folder)
    programs = venv / ("Scripts" if os.name == "nt" else "bin")
    run(uv, "pip", "install", "--python", programs / "python", *wheels, cwd=folder)
    return programs / "targcc-gen"


def test_an_installed_wheel_renders_what_the_checkout_renders(
    wheel_program: Path, tmp_path: Path
) -> None:
    spec = tmp_path / "targcc.yaml"
    shutil.copy(REPOSITORY / EXAMPLE, spec)
    run(wheel_program, "new", "from-wheel", "--spec", spec, cwd=tmp_path)
    checkout = Path(sys.executable).with_name("targcc-gen")
    run(checkout, "new", "from-checkout", "--spec", spec, cwd=tmp_path)

    assert contents(tmp_path / "from-wheel") == contents(tmp_path / "from-checkout")


def test_an_installed_wheel_knows_its_blueprints(wheel_program: Path, tmp_path: Path) -> None:
    listed = run(wheel_program, "blueprints", cwd=tmp_path)

    for name in ("blank", "report", "cleanup", "batch", "sync", "backup", "alert-check"):
        assert name in listed
