"""Each blueprint is a complete job: described, rendered to a clean module, found by what it is called."""

import ast
from pathlib import Path

import pytest
import yaml
from targcc_gen.assets import blueprints
from targcc_gen.render import render_job
from targcc_gen.spec import BLUEPRINTS, parse_spec

FOLDERS = sorted(path.name for path in blueprints().iterdir() if path.is_dir())


def spec_with(blueprint: str, more: str = ""):
    return parse_spec(
        "targcc: 1\n"
        "project: {name: acme-jobs}\n"
        "jobs:\n"
        "  NightlyWork:\n"
        '    cron: "0 2 * * *"\n'
        f"    blueprint: {blueprint}\n"
        f"{more}",
        "targcc.yaml",
    )


def rendered(blueprint: str, more: str = "") -> dict[str, str]:
    files = render_job(spec_with(blueprint, more), "NightlyWork")
    return {file.path: file.content.decode() for file in files}


def execute_of(source: str) -> ast.AsyncFunctionDef:
    functions = [node for node in ast.walk(ast.parse(source)) if hasattr(node, "args")]
    return next(node for node in functions if getattr(node, "name", "") == "execute")


def test_every_blueprint_a_spec_may_name_is_there():
    assert sorted(BLUEPRINTS) == FOLDERS


@pytest.mark.parametrize("name", FOLDERS)
def test_a_blueprint_says_what_it_is_for_in_one_line(name: str):
    described = yaml.safe_load((blueprints() / name / "blueprint.yaml").read_text(encoding="utf-8"))

    assert described.keys() <= {"summary", "docstring", "defaults", "params", "taken"}
    assert 10 < len(described["summary"]) < 100
    assert not described["summary"].endswith(".")
    assert described["docstring"].endswith(".")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_blueprint_makes_a_job_and_its_test(name: str):
    files = rendered(name)

    assert sorted(files) == [
        "src/acme_jobs/jobs/nightly_work.py",
        "tests/jobs/test_nightly_work.py",
    ]
    assert "class NightlyWorkJob:" in files["src/acme_jobs/jobs/nightly_work.py"]
    assert "async def test_" in files["tests/jobs/test_nightly_work.py"]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_job_takes_the_parameters_of_its_spec(name: str):
    files = rendered(name, "    params: {customer: int = 7, codes: 'list[str] = [\"a\"]'}\n")

    arguments = execute_of(files["src/acme_jobs/jobs/nightly_work.py"]).args
    assert {"customer", "codes"} <= {argument.arg for argument in arguments.kwonlyargs}


@pytest.mark.parametrize("name", FOLDERS)
def test_text_of_a_spec_stays_text(name: str):
    hostile = 'A """ \\\\ {{ project.name }} {% raw %} \' # שלום 🚀'
    more = f"    display_name: {yaml.safe_dump(hostile, allow_unicode=True, width=999).strip()}\n"
    more += f"    description: {yaml.safe_dump(hostile, allow_unicode=True, width=999).strip()}\n"

    files = rendered(name, more)

    module = ast.parse(files["src/acme_jobs/jobs/nightly_work.py"])
    assert hostile in (ast.get_docstring(module) or "")


def test_a_stored_procedure_is_called_with_the_parameters_by_name():
    more = "    procedure: dbo.SP_Nightly\n    params: {year: int = 2026}\n"
    source = rendered("stored-procedure", more)["src/acme_jobs/jobs/nightly_work.py"]

    assert "PROCEDURE = 'dbo.SP_Nightly'" in source.replace('"', "'")
    assert "self.database.call(PROCEDURE, year=year)" in source


def test_no_blueprint_names_the_example_project():
    for path in sorted(Path(blueprints()).rglob("*.jinja")):
        assert "acme" not in path.read_text(encoding="utf-8"), path
