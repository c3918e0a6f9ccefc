"""An edited pyproject.toml follows a switch of the scheduler and keeps the person's lines."""

import re
import tarfile
import tomllib
from pathlib import Path

import pytest
from targcc_gen.render import render_project
from targcc_gen.spec import parse_spec
from targcc_gen.sync import pyproject

SPEC = "targcc: 1\nproject: {{name: acme-jobs}}\nscheduler: {}\njobs:\n  A: {{type: manual}}\n"
PIN = "targcc-scheduler[run]=="
ARCHIVE = Path(__file__).parents[2] / "data/upgrade/before-vendor/projects.tar.xz"


def rendered(way: str) -> str:
    return render_project(parse_spec(SPEC.format(way))).files["pyproject.toml"].content.decode()


def follow(mine: str, before: str, after: str) -> str:
    merged = pyproject.merge_pyproject(before.encode(), mine.encode(), after.encode())
    return merged.text.decode()


@pytest.fixture(scope="module")
def copied() -> str:
    """Return the pyproject.toml of a project with the scheduler in its package, which lists the scheduler's dependencies."""
    with tarfile.open(ARCHIVE) as archive:
        return archive.extractfile("acme-jobs/pyproject.toml").read().decode()


@pytest.fixture(scope="module")
def vendored() -> str:
    return rendered("vendored")


@pytest.fixture(scope="module")
def package() -> str:
    return rendered("package")


def dependencies(text: str) -> list[str]:
    return tomllib.loads(text)["project"]["dependencies"]


def test_one_that_nobody_edited_becomes_the_rendered_one(vendored, package):
    assert follow(vendored, vendored, package) == package
    assert follow(package, package, vendored) == vendored


@pytest.mark.slow
@pytest.mark.parametrize("way", ["package", "vendored"])
def test_what_people_added_stays_where_it_is(copied, way):
    edited = copied.replace('  "click', '  "boto3>=1",  # for the archive\n  "click')
    edited = edited.replace("[tool.black]", "# ours is 100\n[tool.black]")

    text = follow(edited, copied, rendered(way))

    assert '  "boto3>=1",  # for the archive\n' in text
    assert "# ours is 100\n[tool.black]" in text
    assert [requirement.partition("=")[0] for requirement in dependencies(text)] == [
        "boto3>",
        PIN[:-2],
    ]
    assert "[tool.uv.sources]" in text


@pytest.mark.slow
def test_a_bound_that_people_changed_is_theirs(copied, package):
    edited = copied.replace('"httpx>=0.28"', '"httpx>=0.29"')

    assert "httpx>=0.29" in dependencies(follow(edited, copied, package))


def test_requirements_that_people_keep_elsewhere_are_not_brought_back(vendored, package):
    start, end = vendored.index("dependencies = [") + 16, vendored.index("\n]")
    edited = vendored[:start] + vendored[end:]

    assert dependencies(follow(edited, vendored, package)) == []


def test_the_scheduler_s_source_follows_in_whatever_form_it_is_required(vendored, package):
    edited = re.sub(rf"{re.escape(PIN)}[^\"]*", "Targcc_Scheduler [run] >= 0.2", package, count=1)
    assert edited != package

    text = follow(edited, package, vendored)

    assert "Targcc_Scheduler [run] >= 0" in text
    assert 'targcc-scheduler = { path = "vendor/targcc-scheduler", editable = true }' in text


@pytest.mark.slow
def test_a_source_that_people_chose_stays(copied, package):
    edited = copied + '\n[tool.uv.sources]\ntargcc-scheduler = { path = "../fork" }\n'

    text = follow(edited, copied, package)

    assert '{ path = "../fork" }' in text
    assert '{ path = "../fork" }' in follow(text, package, rendered("vendored"))
