"""Features of a project in the spec: valid names, and the rendered files."""

import re

import click
import pytest
from targcc_gen.render import Owner, render_project
from targcc_gen.spec import SpecErrors, dump_spec, parse_spec
from targcc_gen.spec.values import TAKEN_FEATURES
from targcc_scheduler import main
from targcc_scheduler.features import FEATURES
from targcc_scheduler.web.addresses import PATHS
from targcc_scheduler.web.dashboard.rendering import environment
from targcc_scheduler.web.dashboard.router import ROUTERS

SPEC = """targcc: 1
project: {{name: acme-jobs, package: acme_jobs{more}}}
features: {features}
jobs: {{DailySales: {{cron: "0 2 * * *"}}}}
"""


def parsed(features: str, more: str = ""):
    return parse_spec(SPEC.format(features=features, more=more))


def test_a_feature_is_rendered_for_its_owner_and_registered():
    tree = render_project(parsed("[notes, on_duty]"))
    folder = "src/acme_jobs/features"
    own = {
        path.removeprefix(f"{folder}/notes/") for path in tree.files if f"{folder}/notes/" in path
    }
    modules = {"__init__", "feature", "model", "loops", "api", "pages", "commands"}
    assert own == {*(f"{name}.py" for name in modules), "templates/page.html"}
    for path in (
        f"{folder}/__init__.py",
        f"{folder}/on_duty/api.py",
        "tests/features/test_notes.py",
    ):
        assert tree.files[path].owner is Owner.SCAFFOLD
    scheduler = tree.files["src/acme_jobs/scheduler.py"].content.decode()
    assert 'features=("acme_jobs.features.notes", "acme_jobs.features.on_duty")' in scheduler
    assert b'"on-duty"' in tree.files[f"{folder}/on_duty/feature.py"].content


def test_a_feature_goes_into_an_app_that_existed_before():
    tree = render_project(parsed("[notes]", ", inside: src"))
    assert "src/acme_jobs/features/notes/feature.py" in tree.files


def test_a_project_without_features_says_nothing_of_them():
    tree = render_project(parsed("[]"))
    assert not any("/features" in path for path in tree.files)
    assert b"features=" not in tree.files["src/acme_jobs/scheduler.py"].content


def test_a_spec_with_features_is_written_as_it_was_read():
    spec = parsed("[notes, on_duty]")
    assert parse_spec(dump_spec(spec)).features == ("notes", "on_duty")


@pytest.mark.parametrize(
    "name", ["Notes", "my-notes", "1st", "class", "a" * 31, "''", "alerts", "job"]
)
def test_a_name_that_no_feature_can_have_is_refused(name):
    with pytest.raises(SpecErrors):
        parsed(f"[{name}]")


def test_two_features_of_one_name_are_refused():
    with pytest.raises(SpecErrors) as refused:
        parsed("[notes, notes]")
    assert [problem.message for problem in refused.value.problems] == ["two features have one name"]


def test_names_of_the_scheduler_are_taken():
    commands = set(main.list_commands(click.Context(main)))
    paths = {
        re.split("[/{]", route.path)[1]
        for router in ROUTERS
        for route in router.routes
        if "/" in route.path
    }
    paths |= {path.split("/")[2] for path in PATHS if path.startswith("/api/")}
    folders = {name.partition("/")[0] for name in environment().list_templates() if "/" in name}
    taken = {
        name for name in {*FEATURES, *commands, *paths, *folders} if re.fullmatch("[a-z]+", name)
    }
    assert taken - TAKEN_FEATURES == set()
