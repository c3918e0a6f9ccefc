"""Generated projects that run: rendered and compiled once, copied for each test, run by the tests' interpreter."""

import compileall
import sys
from pathlib import Path
from shutil import copytree

import pytest
from rendered_projects import DATA, WAYS
from targcc_gen.demo import DemoProject
from targcc_gen.render import render_project
from targcc_gen.spec import parse_spec, set_scheduler
from targcc_gen.sync import apply, make_plan


@pytest.fixture(autouse=True)
def _starts_processes(processes: None) -> None:
    """Put every test of this folder into ring 2."""


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Render a read-only project with every blueprint and job type, for each way of installing the scheduler. Tests use ``project``."""
    text = (DATA / "every-blueprint.yaml").read_text(encoding="utf-8")
    roots = {way: tmp_path_factory.mktemp(way) / "shop-jobs" for way in WAYS}
    for way, root in roots.items():
        spec = set_scheduler(text, way)
        apply(make_plan(render_project(parse_spec(spec), spec_text=spec), root))
        compileall.compile_dir(root / "src", quiet=1)
    return roots


@pytest.fixture
def project(rendered: dict[str, Path], tmp_path: Path) -> DemoProject:
    """Copy the project with vendored scheduler source for this test."""
    return copied(rendered["vendored"], tmp_path)


@pytest.fixture(params=WAYS)
def either(
    rendered: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> DemoProject:
    """Copy the project for this test, for each way of installing the scheduler."""
    return copied(rendered[request.param], tmp_path)


def copied(source: Path, folder: Path) -> DemoProject:
    root = folder / "shop-jobs"
    copytree(source, root)
    return DemoProject(root, "shop_jobs", Path(sys.executable))
