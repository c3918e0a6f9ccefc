"""Generated projects that really run: rendered once, copied for each test, run by the interpreter of the tests."""

import sys
from pathlib import Path
from shutil import copytree

import pytest
from rendered_projects import DATA
from targcc_gen.demo import DemoProject
from targcc_gen.render import render_project
from targcc_gen.spec import load_spec
from targcc_gen.sync import apply, make_plan


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a job from every blueprint, of every kind. Do not touch: use ``project``."""
    root = tmp_path_factory.mktemp("rendered") / "shop-jobs"
    apply(make_plan(render_project(load_spec(DATA / "every-blueprint.yaml")), root))
    return root


@pytest.fixture
def project(rendered: Path, tmp_path: Path) -> DemoProject:
    """The test's own copy of that project."""
    root = tmp_path / "shop-jobs"
    copytree(rendered, root)
    return DemoProject(root, "shop_jobs", Path(sys.executable))
