"""Each blueprint is a complete job: documented, rendered to a clean module, and found by its names."""

import ast
from pathlib import Path

import pytest
import yaml
from targcc_gen.assets import blueprints
from targcc_gen.render import render_job
from targcc_gen.spec import BLUEPRINTS, parse_spec

FOLDERS = sorted(path.parent.name for path in blueprints().glob("*/blueprint.yaml"))


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


# By blueprint: tests of its failure path, its second run, and its empty input.
SHOWN = {
    "alert-check": ("fails_without_a_retry_when_space_is_short", "a_second_run_fails_too", "a_missing_disk_is_an_error"),
    "backup": ("a_missing_database_is_an_error", "a_retry_replaces_its_backup", "an_empty_database_is_backed_up_too"),
    "batch": ("a_refused_item_does_not_stop_the_batch", "a_second_run_posts_only_new_items", "succeeds_without_open_items"),
    "blank": ("refuses_an_unknown_argument", "a_second_attempt_succeeds_too", "succeeds"),
    "cleanup": ("refuses_to_delete_everything", "a_second_run_deletes_nothing", "an_empty_table_is_a_success"),
    "command": ("another_status_fails_with_the_last_lines", "a_second_run_gets_the_input_again", "a_program_without_output_is_a_success"),
    "heartbeat": ("refuses_an_unknown_argument", "a_second_attempt_reports_too", "reports_how_late_it_started"),
    "http": ("another_status_fails_and_an_error_of_the_server_is_retried", "a_second_run_calls_again", "without_an_address_nothing_is_called"),
    "not-ported": ("fails_until_the_job_is_ported", "is_not_retried", "fails_until_the_job_is_ported"),
    "report": ("a_mail_error_fails_and_a_retry_sends_the_mail", "a_retry_sends_no_second_mail", "sends_no_mail_after_a_day_without_runs"),
    "sql": ("an_error_of_a_statement_fails_the_run", "a_second_run_executes_it_again", "an_empty_table_is_a_success"),
    "stored-procedure": ("an_error_of_the_procedure_fails_the_run", "a_procedure_without_rows_is_a_success", "a_procedure_without_rows_is_a_success"),
    "sync": ("a_refused_token_is_an_error", "reads_every_page_and_then_only_new_items", "no_items_is_a_success"),
}  # fmt: skip


def test_each_blueprint_shows_its_failure_its_second_run_and_its_empty_input():
    assert sorted(SHOWN) == FOLDERS
    for name, tests in SHOWN.items():
        test = rendered(name)["tests/jobs/test_nightly_work.py"]
        assert {f"async def test_{test_name}(" in test for test_name in tests} == {True}, name


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
