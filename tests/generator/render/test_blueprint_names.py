"""What the spec lets through works: jobs with any names, texts and parameters import, are found, and are clean by the project's own rules."""

# ruff: noqa: RUF001 - texts of people

import ast
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from targcc_gen.render import render_project
from targcc_gen.render.job.context import job_context
from targcc_gen.render.job.jobs import _own_parameters, _printed
from targcc_gen.spec import BLUEPRINTS, Spec, dump_spec, parse_spec
from targcc_gen.spec.blueprint_names import own_params, taken_names
from targcc_gen.spec.params import PARAM_EXAMPLES
from targcc_gen.spec.reading.problems import SpecErrors
from targcc_gen.sync import apply, make_plan

WORDS = ["Database", "Path", "Any", "DateTime", "Daily", "Job", "Context", "Test", "Settings", "Cursors", "Table", "Type", "Id", "List", "Json", "Asyncio", "Items", "Class", "None", "X9"]  # fmt: skip
NAMES = ["id", "type", "list", "dict", "str", "len", "timeout", "attempt", "steps", "cancelled", "total", "rows", "cursor", "items", "size", "start", "end", "chunk", "keep", "settings", "asyncio", "date", "datetime", "uuid", "user_id", "path", "minimum_percent", "print", "input", "result", "error", "name", "target", "url", "format", "filter", "hash", "max", "round", "scheduled_for", "database", "json", "any", "all", "none_value", "a" * 80]  # fmt: skip
TEXTS = ["", "Sends l’invoice – “ok”…", "שלום לכולם", "A\u202eb", "x" * 200, 'quote " and \\', "two\n\nparagraphs", "EIN ТЕСТ", "1·2×3", "#: noqa", "{{ job }}", "ends with a backslash\\", "   ", '"""']  # fmt: skip
SCHEDULES: list[dict[str, Any]] = [
    {"cron": "0 2 * * *"},
    {"cron": "*/5 * * * * *"},
    {"every": "500ms"},
    {"every": "1s"},
    {"every": "90m", "anchor": "2026-01-01T00:10"},
    {"every": "3d"},
    {"every": "10m", "after": "completion"},
    {"every": "36500d"},
    {"at": "2031-01-01T10:00"},
    {"type": "manual"},
    {"type": "fire-and-forget"},
    {"type": "delayed"},
]
ZONES = ["Asia/Jerusalem", "UTC", "Etc/GMT+2", "GMT+2", "America/Indiana/Knox", "europe/london"]


def chance_job(chance: random.Random) -> dict[str, Any]:
    """A job as somebody may write it; much of it is refused."""
    job = dict(chance.choice(SCHEDULES))
    job["blueprint"] = chance.choice(BLUEPRINTS)
    if job["blueprint"] == "stored-procedure":
        job["procedure"] = chance.choice(["dbo.Daily", "[a b].[c]]d]", 'x"y', "p; drop table x"])
    for key, values in {
        "description": TEXTS,
        "display_name": TEXTS,
        "timeout": ["5m", "1s", "24h"],
        "timezone": ZONES,
        "isolation": ["process", "thread"],
        "retries": [0, 3],
    }.items():
        if chance.random() < 0.3:
            job[key] = chance.choice(values)
    names = chance.sample(NAMES, chance.choice([0, 0, 1, 2, 4]))
    if names:
        job["params"] = {name: chance.choice(list(PARAM_EXAMPLES.values())) for name in names}
        if "type" in job and chance.random() < 0.3:
            job["params"] = {name: chance.choice(list(PARAM_EXAMPLES)) for name in names}
    return job


def accepted(chance: random.Random, wanted: int) -> tuple[Spec, list[str]]:
    """A spec of so many jobs that pass, and what was said of the others."""
    head = "targcc: 1\nproject: {name: acme-jobs, package: acme_jobs}\nscheduler: package\n"
    jobs: dict[str, Any] = {}
    said = []
    while len(jobs) < wanted:
        name = "".join(chance.choices(WORDS, k=chance.choice([1, 1, 2, 3])))
        one = {**jobs, name: chance_job(chance)}
        try:
            Spec.model_validate({"targcc": 1, "project": {"name": "acme-jobs"}, "jobs": one})
            text = head + "jobs:\n" + _yaml({name: one[name]})
            render_project(parse_spec(text), spec_text=text)
        except SpecErrors as error:
            said.append(str(error))
        except ValueError as error:
            said.append(str(error))
        else:
            jobs = one
    whole = {"targcc": 1, "project": {"name": "acme-jobs"}, "scheduler": "package", "jobs": jobs}
    return parse_spec(dump_spec(Spec.model_validate(whole))), said


def _yaml(jobs: dict[str, Any]) -> str:
    import yaml

    text = yaml.safe_dump(jobs, allow_unicode=True, sort_keys=False)
    return "".join(f"  {line}\n" for line in text.splitlines())


def run(*words: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


_FIND = """
import sys
sys.path.insert(0, "src")
from acme_jobs.scheduler import JobType
from targcc_scheduler.jobs.discovery import discover
found = discover("acme_jobs.jobs")
assert not found.broken, [(one.module, one.error) for one in found.broken]
assert len(found.definitions) == int(sys.argv[1]), len(found.definitions)
"""


@pytest.fixture(
    scope="module",
    params=[(1, 25), *(pytest.param((seed, 80), marks=pytest.mark.soak) for seed in (2, 3, 4))],
    ids=lambda param: f"seed {param[0]}",
)
def project(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, int, list[str]]]:
    seed, wanted = request.param
    spec, said = accepted(random.Random(seed), wanted)
    root = tmp_path_factory.mktemp("works") / "acme-jobs"
    apply(make_plan(render_project(spec, spec_text=dump_spec(spec)), root))
    return root, wanted, said


def test_every_job_is_found(project):
    root, wanted, said = project
    assert run("-c", _FIND, str(wanted), cwd=root) == ""
    assert said  # something was refused


def test_ruff_finds_nothing(project):
    root, _, _ = project
    assert run("-m", "ruff", "check", "--no-cache", "src", "tests", cwd=root) == ""


def test_black_changes_nothing(project):
    root, _, _ = project
    assert (
        run("-m", "black", "--check", "-q", "--diff", "src/acme_jobs/jobs", "tests/jobs", cwd=root)
        == ""
    )


@pytest.mark.soak
def test_its_types_are_right(project):
    root, _, _ = project
    assert run("-m", "mypy", "src", "tests", cwd=root) == ""


@pytest.mark.soak
def test_each_job_s_own_tests_pass(project):
    root, _, _ = project
    assert run("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/jobs", cwd=root) == ""


def names_in_execute(source: str) -> set[str]:
    """What `execute` of a module binds or reads, but its own parameters and the names of classes and constants."""
    functions = (ast.AsyncFunctionDef, ast.FunctionDef)
    (execute,) = [
        one
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        for one in node.body
        if isinstance(one, functions) and one.name == "execute"
    ]
    own = {argument.arg for argument in [*execute.args.args, *execute.args.kwonlyargs]}
    used: set[str] = set()
    for node in (inner for statement in execute.body for inner in ast.walk(statement)):
        if isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.arg):
            used.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            used.add(node.name)
    return {name for name in used - own if name[0].islower()}


@pytest.mark.parametrize("blueprint", BLUEPRINTS)
def test_a_blueprint_names_what_its_execute_uses(blueprint):
    job = {"type": "manual", "blueprint": blueprint}
    spec = Spec.model_validate(
        {"targcc": 1, "project": {"name": "acme-jobs"}, "jobs": {"Sample": job}}
    )
    source = _printed(spec, job_context(spec, "Sample"), f"{blueprint}/job.py.jinja")
    assert taken_names(blueprint) == names_in_execute(source)
    assert own_params(blueprint) == _own_parameters(spec, "Sample")


@pytest.mark.parametrize("name", ["total", "len", "timedelta"])
def test_such_a_parameter_is_refused_where_it_stands(name):
    text = f"""targcc: 1
project: {{name: acme-jobs}}
jobs:
  Clean:
    type: manual
    blueprint: cleanup
    params: {{{name}: int}}
"""
    if name == "len":
        text = text.replace("cleanup", "report")
    with pytest.raises(SpecErrors) as raised:
        parse_spec(text)
    assert f'targcc.yaml:7:14: error: parameter "{name}" is a name the blueprint' in str(
        raised.value
    )
    assert f'"{name}_value"' in str(raised.value)
