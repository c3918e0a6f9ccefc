"""A pyproject.toml that people edited follows the way the scheduler is had, and keeps what is theirs."""

import re
import tomllib

import pytest
from targcc_gen.render import render_project
from targcc_gen.spec import parse_spec
from targcc_gen.sync.inherited import pyproject

SPEC = "targcc: 1\nproject: {{name: acme-jobs}}\nscheduler: {}\njobs:\n  A: {{type: manual}}\n"
PIN = "targcc-scheduler[run]=="


def rendered(way: str) -> str:
    return render_project(parse_spec(SPEC.format(way))).files["pyproject.toml"].content.decode()


def follow(mine: str, before: str, after: str) -> str:
    found = pyproject.follow(before.encode(), mine.encode(), after.encode())
    return found.text.decode()


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


def test_what_people_added_stays_where_it_is(vendored, package):
    mine = vendored.replace('  "click', '  "boto3>=1",  # for the archive\n  "click')
    mine = mine.replace("[tool.black]", "# ours is 100\n[tool.black]")

    to_package = follow(mine, vendored, package)
    back = follow(to_package, package, vendored)

    for text in (to_package, back):
        assert '  "boto3>=1",  # for the archive\n' in text
        assert "# ours is 100\n[tool.black]" in text
    assert [one.partition("=")[0] for one in dependencies(to_package)] == ["boto3>", PIN[:-2]]
    assert set(dependencies(back)) == {*dependencies(vendored), "boto3>=1"}
    assert "sources" not in back


def test_a_bound_that_people_changed_is_theirs(vendored, package):
    mine = vendored.replace('"httpx>=0.28"', '"httpx>=0.29"')

    to_package = follow(mine, vendored, package)
    back = follow(to_package, package, vendored)

    assert "httpx>=0.29" in dependencies(to_package)
    assert [one for one in dependencies(back) if one.startswith("httpx")] == ["httpx>=0.29"]


def test_requirements_that_people_keep_elsewhere_are_not_brought_back(vendored, package):
    start, end = vendored.index("dependencies = [") + 16, vendored.index("\n]")
    mine = vendored[:start] + vendored[end:]
    extras = mine.index("[project.optional"), mine.index("[project.scripts")
    mine = mine[: extras[0]] + mine[extras[1] :]
    assert dependencies(mine) == []

    text = follow(mine, vendored, package)

    assert dependencies(text) == []
    assert "tool.uv" not in text


def test_the_scheduler_s_requirement_goes_in_whatever_form_it_is_written(vendored, package):
    mine = re.sub(rf"{re.escape(PIN)}[^\"]*", "Targcc_Scheduler [run] >= 0.2", package, count=1)
    assert mine != package

    text = follow(mine, package, vendored)

    assert not any("cheduler" in one for one in dependencies(text))


def test_a_source_that_people_chose_stays(vendored, package):
    mine = vendored + '\n[tool.uv.sources]\ntargcc-scheduler = { path = "../fork" }\n'

    text = follow(mine, vendored, package)

    assert '{ path = "../fork" }' in text
    assert '{ path = "../fork" }' in follow(text, package, vendored)
