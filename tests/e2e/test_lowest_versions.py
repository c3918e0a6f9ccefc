"""Everything works with the oldest and the newest versions that the declared bounds allow."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Collection
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

GUEST_SMOKE = ROOT / "tests/data/applications/guest_smoke.py"
OF_THE_SCHEDULER = (
    "tests/scheduler/hosts/test_crowded_hosts.py",
    "tests/scheduler/hosts/test_inline_sessions.py",
    "tests/scheduler/jobs/test_definitions.py",
    "tests/scheduler/jobs/test_sealed_arguments.py",
    "tests/scheduler/storage/test_frequent.py",
    "tests/scheduler/storage/test_inline_cursor.py",
    "tests/scheduler/web/test_api.py",
    "tests/scheduler/web/test_pages.py",
    "tests/scheduler/worker/test_settlement_writer.py",
    "tests/scheduler/worker/test_stop.py",
)
"""Tests of arguments, statements, pages and results, on SQLite."""
TESTERS_OF_THE_SCHEDULER = ("aiosmtpd", "hypothesis", "jsonschema", "psutil", "pytest", "pytest-asyncio", "pytest-xdist")  # fmt: skip
NOT_ALONE = "not postgresql and not listens and not django and not errors"
"""Tests without a server and without Django. Starlette before 0.28 hangs in the host ``errors``, which reads bodies in a middleware."""
PYTHONS = {"lowest-direct": "3.11", "highest": "3.13"}
"""The lowest versions are those of the oldest Python; every machine of CI has both."""

pytestmark = pytest.mark.soak


def run(*command: str | Path, cwd: Path, **variables: str) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def requirements_of_developers(names: Collection[str]) -> list[str]:
    """Return the requirements of these packages in the groups of the developers."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [
        requirement
        for group in ("dev", "demo")
        for requirement in groups["dependency-groups"][group]
        if isinstance(requirement, str) and Requirement(requirement).name in names
    ]


def oldest(folder: Path, *requirements: str | Path) -> Path:
    """Return the programs folder of an environment with the oldest versions."""
    return environment(folder, "lowest-direct", sys.executable, *requirements)


def environment(folder: Path, resolution: str, python: str, *requirements: str | Path) -> Path:
    """Return the programs folder of an environment of a Python, with the oldest or the newest versions."""
    run("uv", "venv", "--quiet", "--python", python, folder / "env", cwd=folder)
    programs = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin")
    options = ("--quiet", "--python", programs / "python", "--resolution", resolution)
    run("uv", "pip", "install", *options, *requirements, cwd=folder)
    return programs


@pytest.mark.parametrize("resolution", list(PYTHONS))
def test_the_scheduler_alone(tmp_path, resolution):
    """The scheduler is installed without the generator, which would raise the lower bounds of shared dependencies."""
    testers = requirements_of_developers(TESTERS_OF_THE_SCHEDULER)
    scheduler = f"{SCHEDULER}[run,postgresql,secrets]"
    programs = environment(
        tmp_path, resolution, PYTHONS[resolution], "--editable", scheduler, "packaging", *testers
    )
    smoke = ("-q", "-n", "2", "-p", "no:cacheprovider", "-k", NOT_ALONE)
    command = (programs / "python", "-m", "pytest", *smoke, *OF_THE_SCHEDULER)
    run(*command, cwd=ROOT, PYTHONPATH=str(ROOT / "generator"))


@pytest.mark.parametrize("resolution", list(PYTHONS))
def test_a_guest(tmp_path, resolution):
    """An application without uvicorn, rich, prometheus-client and psutil has the scheduler inside."""
    wheel = f"targcc-scheduler[guest] @ {SCHEDULER.as_uri()}"
    programs = environment(tmp_path, resolution, PYTHONS[resolution], wheel)
    run(programs / "python", GUEST_SMOKE, cwd=tmp_path)


def test_the_generator_and_the_scheduler(tmp_path):
    testers = requirements_of_developers(TESTERS)
    assert len(testers) == len(TESTERS)
    scheduler = f"{SCHEDULER}[run,postgresql,oidc,secrets,otel]"
    programs = oldest(tmp_path, "--editable", ROOT, "--editable", scheduler, *testers)
    run(programs / "targcc-gen", "demo", "--check", cwd=tmp_path)
    smoke = ("-q", "-n", "2", "-p", "no:cacheprovider", "--ring", "1", *SMOKE)
    smoke += ("--ignore", "tests/generator/readers/test_reader_database.py")
    smoke += ("--ignore", "tests/scheduler/jobs/test_typed_calls.py")
    # PostgreSQL, the fake SQL Server and the type checkers are wheels that only the tests of this repository require.
    smoke += (
        "-W",
        "ignore:The 'alias' attribute",
    )  # FastAPI 0.103 beside the generator's pydantic 2.14
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
