"""`extends`, environment overrides, and the effective value of a key."""

import json
import os
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from targcc_gen.cli import main
from targcc_gen.cli.json_output import schema_of
from targcc_gen.render.vendor import scheduler_module
from targcc_gen.spec import SpecErrors, parse_spec
from targcc_gen.spec.explain import explain
from targcc_gen.spec.json_schema import spec_schema
from targcc_gen.spec.shared import MOST_FILES, effective, layers_of

SHARED = """\
targcc: 1
queues: {slow: {workers: 3}}
defaults: {retries: 7, timeout: 2h}
environments:
  staging:
    defaults: {retries: 1}
"""
SPEC = """\
targcc: 1
project: {name: app}
extends: ../org-defaults.yaml
defaults: {timeout: 1h}
jobs:
  Daily: {cron: "0 2 * * *", queue: slow}
  Hourly: {every: 1h, retries: 4, name: Old-Hourly}
environments:
  production:
  staging:
    queues: {slow: {workers: 1}}
    jobs:
      daily: {timeout: 5m}
      HourlyJob: {timeout: none, paused: true}
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "repository/.git").mkdir(parents=True)
    (tmp_path / "repository/org-defaults.yaml").write_text(SHARED, encoding="utf-8")
    folder = tmp_path / "repository/app"
    folder.mkdir()
    (folder / "targcc.yaml").write_text(SPEC, encoding="utf-8")
    return folder


def said(root: Path, path: str, environment: str | None = None) -> list[tuple]:
    layers = explain(path, effective(SPEC, root), layers_of(SPEC, root), environment)
    return [(layer.value, layer.origin) for layer in layers]


def test_the_spec_counts_more_than_what_it_extends(root):
    spec = effective(SPEC, root)

    assert spec.defaults.retries == 7
    assert spec.defaults.timeout.total_seconds() == 3600
    assert spec.queues["slow"].workers == 3
    assert list(spec.queues) == ["default", "slow"]


@pytest.mark.parametrize(
    ("path", "environment", "expected"),
    [
        ("jobs.Daily.timeout", "staging", [("5m", "targcc.yaml:13"), ("1h", "targcc.yaml:4"), ("2h", "../org-defaults.yaml:3")]),
        ("jobs.daily_job.timeout", None, [("1h", "targcc.yaml:4"), ("2h", "../org-defaults.yaml:3")]),
        ("jobs.Daily.retries", "staging", [(1, "../org-defaults.yaml:6"), (7, "../org-defaults.yaml:3"), ("3", "the default")]),
        ("jobs.Hourly.retries", "staging", [(4, "targcc.yaml:7"), (1, "../org-defaults.yaml:6"), (7, "../org-defaults.yaml:3"), ("3", "the default")]),
        ("queues.slow.workers", "staging", [(1, "targcc.yaml:11"), (3, "../org-defaults.yaml:2"), ("5", "the default")]),
        ("jobs.Daily.description", None, [(None, "the default")]),
        ("database", "production", [("sqlite", "the default")]),
    ],
)  # fmt: skip
def test_a_key_and_where_it_is_said(root, path, environment, expected):
    assert said(root, path, environment) == expected


def test_the_command_explains_and_refuses_what_is_not_there(root):
    def run(*arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(main, ["explain", *arguments, "--project", str(root)])
        assert result.exit_code == status, result.output
        return result.output

    assert run("jobs.Daily.timeout", "--environment", "staging").splitlines() == [
        "jobs.Daily.timeout = 5m   targcc.yaml:13",
        "  over 1h   targcc.yaml:4",
        "  over 2h   ../org-defaults.yaml:3",
    ]
    jsonschema.validate(json.loads(run("defaults.retries", "--json")), schema_of("explain"))
    assert 'did you mean "staging"' in run("database", "--environment", "stagin", status=2)
    assert 'did you mean "Daily"' in run("jobs.Dayli.timeout", status=2)
    assert 'did you mean "retries"' in run("jobs.Daily.retires", status=2)


def test_the_scheduler_gets_what_is_different(root):
    namespace: dict = {}
    source = scheduler_module(effective(SPEC, root)).decode()
    call = source[source.index("configure(\n") : source.index("if TYPE_CHECKING")]

    def configure(project, environments):
        namespace.update(project=project, environments=environments)

    exec(call, {"configure": configure, "Project": lambda **values: values})

    assert namespace["project"]["retries"] == 7
    assert namespace["environments"] == {
        "production": {},
        "staging": {
            "retries": 1,
            "queues": {"default": 5, "slow": 1},
            "queue_limits": {},
            "process_queues": (),
            "job_options": {
                "Daily": {"timeout": "5m"},
                "Old-Hourly": {"timeout": "none", "paused": True},
            },
        },
    }


def test_the_schema_knows_environments():
    spec = parse_spec(SPEC)
    document = {
        "targcc": 1,
        "project": {"name": "app"},
        "extends": spec.extends,
        "environments": {"staging": {"jobs": {"Daily": {"timeout": "5m"}}}, "production": {}},
    }
    jsonschema.validate(document, spec_schema())


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("daily: {timeout", "dayli: {timeout", "13:7: error: no job"),
        ("slow: {workers: 1}", "sloow: {workers: 1}", 'no queue "sloow"'),
        ("timeout: 5m", "timeout: soon", "timeout"),
        ("queue: slow}", "queue: slo}", 'no queue "slo"'),
        ("timeout: 5m", "cron: x", 'unknown key "cron" in job daily of environment staging'),
    ],
)
def test_what_is_wrong_is_said_with_its_place(root, old, new, problem):
    assert old in SPEC
    text = SPEC.replace(old, new)

    def read() -> None:
        parse_spec(text)
        effective(text, root)

    with pytest.raises(SpecErrors) as error:
        read()

    assert problem in error.value.message
    assert error.value.message.startswith("targcc.yaml:")


def test_what_is_wrong_in_a_shared_file_is_said_there(root):
    (root.parent / "org-defaults.yaml").write_text("defaults: {retires: 1}\njobs: {}\n")
    with pytest.raises(SpecErrors) as error:
        effective(SPEC, root)
    assert f"..{os.sep}org-defaults.yaml:1:12: error: unknown key" in error.value.message
    assert "2:1: error: unknown key" in error.value.message


def hostile(root: Path, target: str) -> None:
    """Create the hostile target of `extends`, such as a link, an endless file, a folder, a cycle or a huge file."""
    if target == "link.yaml":
        outside = root.parents[1] / "outside.yaml"
        outside.write_text("defaults: {retries: 1}\n")
        (root / target).symlink_to(outside)
    elif target == "endless.yaml":
        (root / target).symlink_to("/dev/zero")
    elif target == "folder.yaml":
        (root / target).mkdir()
    elif target == "loop.yaml":
        (root / target).symlink_to(root / target)
    elif target == "circle.yaml":
        (root / target).write_text("extends: other.yaml\n")
        (root / "other.yaml").write_text("extends: circle.yaml\n")
    elif target == "long.yaml":
        (root / target).write_text("extends: 0.yaml\n")
        for number in range(MOST_FILES + 1):
            (root / f"{number}.yaml").write_text(f"extends: {number + 1}.yaml\n")
    elif target == "huge.yaml":
        with (root / target).open("wb") as file:
            file.truncate(200_000_000)
    elif target == "deep.yaml":
        (root / target).write_text("defaults: " + "[" * 10_000)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("/etc/passwd", "targcc.yaml:3:10: error: what is extended is a YAML file"),
        ("C:/x.yaml", "targcc.yaml:3:10: error: this is no path from this file"),
        ("https://example.com/x.yaml", "this is no path from this file"),
        ("~/x.yaml", "this is no path from this file"),
        ("../../outside.yaml", "targcc.yaml:3:10: error: "),
        ("link.yaml", "targcc.yaml:3:10: error: the file is outside of the repository"),
        ("endless.yaml", "targcc.yaml:3:10: error: the file is outside of the repository"),
        ("missing.yaml", "targcc.yaml:3:10: error: there is no such file"),
        ("loop.yaml", "targcc.yaml:3:10: error: there is no such file"),
        ("folder.yaml", "targcc.yaml:3:10: error: this is no regular file"),
        ("targcc.yaml", "targcc.yaml:3:10: error: these files extend each other in a circle"),
        ("circle.yaml", "other.yaml:1:10: error: these files extend each other in a circle"),
        ("long.yaml", f"error: more than {MOST_FILES} files extend each other"),
        ("huge.yaml", "huge.yaml:1:1: error: the file is larger than"),
        ("deep.yaml", "error: nested "),
        ("../org-defaults.txt", "what is extended is a YAML file"),
    ],
)
def test_a_path_out_of_the_repository_or_a_hostile_file_is_refused(root, target, problem):
    hostile(root, target)
    text = SPEC.replace("../org-defaults.yaml", target)
    (root / "targcc.yaml").write_text(text)

    with pytest.raises(SpecErrors) as error:
        effective(text, root)

    assert problem in error.value.message
