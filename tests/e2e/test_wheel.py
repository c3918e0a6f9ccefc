"""Both wheels, installed without the repository, behave like the checkout."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from targcc_gen.spec import set_scheduler

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
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Build the wheels of a release: the generator and the scheduler."""
    folder = tmp_path_factory.mktemp("wheels")
    uv = shutil.which("uv")
    assert uv is not None, "uv runs these tests, so it is there"
    source = folder / "source"
    kept = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", "dist", "build")
    shutil.copytree(REPOSITORY, source, ignore=kept)
    run(uv, "build", "--all-packages", "--wheel", "--out-dir", folder / "dist", cwd=source)
    shutil.rmtree(source)
    return sorted((folder / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def wheel_program(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install `targcc-gen` from the built wheels, outside the repository."""
    folder = tmp_path_factory.mktemp("installed")
    uv = shutil.which("uv")
    assert uv is not None
    venv = folder / "venv"
    run(uv, "venv", "--python", sys.executable, venv, cwd=folder)
    programs = venv / ("Scripts" if os.name == "nt" else "bin")
    run(uv, "pip", "install", "--python", programs / "python", *wheels, cwd=folder)
    return programs / "targcc-gen"


def test_a_release_is_two_wheels_and_the_scheduler_is_in_one_of_them(wheels: list[Path]) -> None:
    generator, scheduler = wheels
    assert [file.name.split("-")[0] for file in wheels] == ["targcc_gen", "targcc_scheduler"]
    inside = zipfile.ZipFile(generator).namelist()
    assert "targcc_gen/templates/project/copier.yml" in inside
    assert not [name for name in inside if "scheduler/storage" in name]
    assert "targcc_scheduler/db/tables.py" in zipfile.ZipFile(scheduler).namelist()


@pytest.mark.parametrize("way", ["vendored", pytest.param("package", marks=pytest.mark.soak)])
def test_an_installed_wheel_renders_what_the_checkout_renders(
    wheel_program: Path, tmp_path: Path, way: str
) -> None:
    text = (REPOSITORY / EXAMPLE).read_text(encoding="utf-8")
    spec = tmp_path / "targcc.yaml"
    spec.write_text(set_scheduler(text, way), encoding="utf-8")
    checkout = Path(sys.executable).with_name("targcc-gen")
    for program, folder in ((wheel_program, "from-wheel"), (checkout, "from-checkout")):
        run(program, "new", folder, "--spec", spec, cwd=tmp_path)
        run(program, "job", "Extra", "--manual", "--project", folder, cwd=tmp_path)

    assert contents(tmp_path / "from-wheel") == contents(tmp_path / "from-checkout")


def test_an_installed_wheel_knows_its_blueprints(wheel_program: Path, tmp_path: Path) -> None:
    listed = run(wheel_program, "blueprints", cwd=tmp_path)

    for name in ("blank", "report", "cleanup", "batch", "sync", "backup", "alert-check"):
        assert name in listed


@pytest.mark.soak
def test_the_demo_of_an_installed_wheel_installs_the_scheduler_that_it_carries(
    wheel_program: Path, tmp_path: Path
) -> None:
    output = run(wheel_program, "demo", "acme", "--check", "--scheduler", "package", cwd=tmp_path)

    assert "into its own .venv" in output
    assert re.search(r"Heartbeat, run \d+: succeeded", output)
