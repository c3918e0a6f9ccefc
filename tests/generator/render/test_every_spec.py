"""Every spec is refused with the error's position, or renders a project that compiles, passes its own checks and runs its jobs.

`TARGCC_EXAMPLES=300 uv run pytest -n 0 -m 'soak or not soak' tests/generator/render/test_every_spec.py` tries that many other specs.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from targcc_gen.render import render_job, render_project
from targcc_gen.spec import Spec, dump_spec, parse_spec
from targcc_gen.spec.blueprint_names import own_params
from targcc_gen.spec.errors import SpecErrors
from targcc_gen.spec.models import KEYS
from whole_spec import DRAWN, specs

OTHER = int(os.environ.get("TARGCC_EXAMPLES", "0"))
EXAMPLES = OTHER or 25
QUIET = ("-q", "-x", "-p", "no:cacheprovider")
PLACED = re.compile(r"targcc\.yaml:[1-9]\d*:[1-9]\d*: error: ")
NOT_DRAWN = {"inside", "extends", "blueprints"}  # keys that refer to files beside the spec


def accepted(data: dict[str, Any]) -> tuple[Spec, str] | None:
    """Return the spec and its text; return None if the spec is refused, always with the place of each error."""
    text = yaml.safe_dump(data, allow_unicode=True, sort_keys=False)
    try:
        return parse_spec(text), text
    except SpecErrors as error:
        message = error.message
    assert PLACED.match(message), message
    return None


@pytest.mark.slow
@settings(max_examples=OTHER or 15, derandomize=not OTHER)
@given(specs())
def test_a_spec_is_refused_with_its_position_or_renders(data):
    if (result := accepted(data)) is None:
        return
    spec, _ = result
    assert parse_spec(dump_spec(spec)) == spec
    for key in spec.jobs:
        for file in render_job(spec, key):
            compile(file.content, file.path, "exec")


def test_every_key_is_drawn():
    assert {kind: set(keys) - NOT_DRAWN for kind, keys in KEYS.items()} == DRAWN


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """Render projects of random specs into one folder, so that each tool starts once; `specs/` has the specs."""
    folder, packages = tmp_path_factory.mktemp("projects"), list[str]()

    @settings(max_examples=EXAMPLES, phases=[Phase.generate], derandomize=not OTHER)
    @given(specs())
    def lay(data):
        if (result := accepted(data)) is not None:
            packages.append(f"p{len(packages)}")
            lay_beside(*result, packages[-1], folder)

    lay()
    assert len(packages) > 1
    return folder, packages


def test_they_are_clean(projects):
    folder, _ = projects
    run(folder, "ruff", "check", "--no-cache", "--config", "src = ['src']", "src", "tests")
    run(folder, "black", "--check", "-q", "--diff", "src", "tests")


def test_the_jobs_of_the_last_are_found(projects):
    folder, packages = projects
    run(folder, "pytest", *QUIET, f"tests/{packages[-1]}/test_found.py")


@pytest.mark.soak
def test_their_types_are_right(projects):
    run(projects[0], "mypy", "--explicit-package-bases", "src", "tests")


@pytest.mark.soak
def test_their_own_tests_start_them_and_run_their_jobs(projects):
    folder, packages = projects
    for package in packages:  # a process per project, because a process can have one scheduler
        run(folder, "pytest", *QUIET, f"tests/{package}")


FOUND = """from {package}.scheduler import Scheduler


def test_every_job_is_found() -> None:
    assert len(Scheduler().definitions) == {count}
"""


def fitting_flows(spec: Spec) -> dict[str, Any]:
    """Return the flows without arguments, over jobs without arguments: the arguments of random flows do not fit random jobs, and the tests of a project refuse such flows."""
    plain = {
        name for name, job in spec.jobs.items() if not (job.params or own_params(job.blueprint))
    }
    return {
        name: flow
        for name, flow in spec.flows.items()
        if all(step.job in plain and not step.arguments for step in flow.steps.values())
    }


def lay_beside(spec: Spec, text: str, package: str, folder: Path) -> None:
    """Write the project's code and tests into the folder under another package name."""
    project = spec.project.model_copy(update={"package": package})
    spec = spec.model_copy(update={"project": project, "flows": fitting_flows(spec)})
    for file in render_project(spec, spec_text=text):
        place = folder / file.path
        if file.path.startswith("tests/"):
            place = folder / "tests" / package / file.path.removeprefix("tests/")
        if file.path in {"targcc.yaml", "pyproject.toml"}:
            place = folder / "specs" / package / file.path
        if file.path == "pyproject.toml":
            (folder / file.path).write_bytes(file.content)
        if file.path.startswith(("src/", "tests/")) or "specs" in place.parts:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.content)
    test_source = FOUND.format(package=package, count=len(spec.jobs) + len(spec.flows))
    (folder / "tests" / package / "test_found.py").write_text(test_source, encoding="utf-8")


def run(root: Path, *words: str) -> None:
    """Run a tool as the projects do; it must succeed without output."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TARGCC_")
    }
    path = os.pathsep.join([str(root / "src"), str(root)])
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=root,
        env={**environment, "PYTHONPATH": path, "MYPYPATH": path},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
