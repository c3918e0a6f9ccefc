"""Everything works with the oldest versions that the declared lower bounds allow."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from targcc_gen.render import render_project
from targcc_gen.spec import load_spec
from targcc_gen.sync import apply, make_plan

ROOT = Path(__file__).resolve().parents[2]
SCHEDULER = ROOT / "templates/scheduler"
TESTERS = {
    "pytest",
    "pytest-asyncio",
    "pytest-xdist",
    "hypothesis",
    "jsonschema",
    "oidc-provider-mock",
    "opentelemetry-sdk",
    "sentry-sdk",
}
SMOKE = (
    "tests/generator/readers",
    "tests/generator/spec",
    "tests/generator/render/test_render_jobs.py",
    "tests/generator/patch/test_patch_wiring.py",
    "tests/generator/sync/test_sync_decorators.py",
    "tests/generator/sync/test_sync_plan.py",
    "tests/generator/sync/test_sync_pyproject.py",
    "tests/scheduler/jobs",
    "tests/scheduler/security",
    "tests/scheduler/worker",
)

pytestmark = pytest.mark.soak


def run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def oldest(folder: Path, *requirements: str | Path) -> Path:
    """Return the programs folder of an environment with the oldest versions."""
    run("uv", "venv", "--quiet", "--python", sys.executable, folder / "env", cwd=folder)
    programs = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin")
    python = ("--python", programs / "python")
    lowest = ("--resolution", "lowest-direct")
    run("uv", "pip", "install", "--quiet", *python, *lowest, *requirements, cwd=folder)
    return programs


def test_the_generator_and_the_scheduler(tmp_path):
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    testers = [
        requirement
        for requirement in groups["dependency-groups"]["dev"]
        if Requirement(requirement).name in TESTERS
    ]
    assert len(testers) == len(TESTERS)
    scheduler = f"{SCHEDULER}[run,postgresql,oidc,secrets,otel]"
    programs = oldest(tmp_path, "--editable", ROOT, "--editable", scheduler, *testers)
    run(programs / "targcc-gen", "demo", "--check", cwd=tmp_path)
    smoke = ("-q", "-n", "2", "-p", "no:cacheprovider", *SMOKE)
    smoke += ("--ignore", "tests/generator/readers/test_reader_database.py")
    # PostgreSQL and the fake SQL Server are wheels that only the tests of this repository require.
    run(programs / "python", "-m", "pytest", *smoke, "-k", "not postgresql", cwd=ROOT)


def test_a_rendered_project(tmp_path):
    root = tmp_path / "acme-jobs"
    apply(make_plan(render_project(load_spec(ROOT / "examples/acme/targcc.yaml")), root))
    programs = oldest(
        tmp_path,
        "--requirements",
        root / "pyproject.toml",
        "--extra",
        "postgresql",
        "--group",
        f"{root / 'pyproject.toml'}:dev",
    )
    run(programs / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=root)
    run(programs / "ruff", "check", "--no-cache", ".", cwd=root)
    run(programs / "black", "--check", ".", cwd=root)
