"""Written specs are readable, and every YAML reader reads the same values."""

import json
from datetime import timedelta
from textwrap import dedent

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from targcc_gen import assets
from targcc_gen.cli.commands.schema import schema
from targcc_gen.spec import (
    DefaultsSpec,
    JobSpec,
    ProjectSpec,
    Spec,
    SpecErrors,
    build_job,
    dump_spec,
    load_spec,
    parse_spec,
)
from targcc_gen.spec.json_schema import spec_schema
from targcc_gen.spec.reference import reference

EXAMPLES = sorted(assets.examples().glob("*/targcc.yaml"))

hostile = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200) | st.sampled_from(
    ["{{ x }}", "{% raw %}", '"""', "'''", "\\", "a\nb", "a\r\nb", "\u2028", "\x85", "\u202e", "👩‍👩‍👧", "yes", "null", "1:30", "- a",
     "# a", "a: b", "a #b", "*a", "&a", "!a", "%a", "@a", "`a", "~", "<<", "=", "...", "---", "0x1F", "1e3", ".inf", "2026-01-01",
     "", " ", "\ufeff", "\x7f", "\ufffe", "${HOME}", "$(id)", "[", "{", "]", "}", ",", "?", "|", ">"]
)  # fmt: skip


def spec_of(job, **project):
    return Spec(targcc=1, project=ProjectSpec(name="acme", **project), jobs={"Nightly": job})


def test_a_new_spec_says_what_matters_and_leaves_out_the_defaults():
    spec = Spec(
        targcc=1,
        project=ProjectSpec(name="acme-jobs", timezone="Europe/London"),
        defaults=DefaultsSpec(timeout=timedelta(hours=1)),
        jobs={
            "Heartbeat": build_job("Heartbeat", {"cron": "* * * * *", "retries": 0}),
            "Report": build_job(
                "Report",
                {
                    "every": "90m",
                    "anchor": "2026-01-01",
                    "alerts": {"on": ["failure", "slower than 5m"], "email": ["ops@example.com"]},
                    "misfire": {"policy": "skip"},
                    "params": {"since": "date = 2026-01-01", "on": "str = a: b"},
                    "paused": True,
                },
            ),
        },
    )

    assert dump_spec(spec) == dedent("""\
        # yaml-language-server: $schema=.targcc/schema.json
        targcc: 1

        project:
          name: acme-jobs
          package: acme_jobs
          timezone: Europe/London

        database: sqlite

        queues:
          default: {workers: 5}

        defaults:
          retries: 3
          timeout: 1h

        jobs:
          Heartbeat:
            cron: "* * * * *"
            retries: 0

          Report:
            every: 1h30m
            anchor: "2026-01-01T00:00"
            misfire: {policy: skip}
            alerts:
              on: [failure, "slower than 5m"]
              email: [ops@example.com]
            params:
              since: "date = 2026-01-01"
              on: "str = a: b"
            paused: true
        """)


def test_a_spec_without_jobs_is_written_and_read():
    spec = parse_spec("targcc: 1\nproject: {name: acme}\n")

    assert parse_spec(dump_spec(spec)) == spec


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_an_example_is_written_and_read_back_the_same(path):
    spec = load_spec(path)

    assert parse_spec(dump_spec(spec)) == spec


@given(hostile, hostile.filter(str.strip))
def test_any_text_is_read_back_as_it_was(description, display_name):
    spec = spec_of(
        JobSpec(type="manual", description=description, display_name=display_name),
        description=description,
    )

    text = dump_spec(spec)

    assert parse_spec(text) == spec
    assert all(line.isprintable() for line in text.splitlines())


@given(hostile, hostile.filter(str.strip))
def test_readers_of_yaml_1_1_see_the_same_text(description, display_name):
    text = dump_spec(
        spec_of(JobSpec(type="manual", description=description, display_name=display_name))
    )

    job = yaml.safe_load(text)["jobs"]["Nightly"]
    assert (job.get("description", ""), job["display_name"]) == (description, display_name)


@given(hostile)
def test_any_default_of_a_text_parameter_is_read_back(default):
    param = "str = " + json.dumps(default)

    spec = spec_of(build_job("Nightly", {"type": "manual", "params": {"greeting": param}}))

    assert parse_spec(dump_spec(spec)).jobs["Nightly"].params["greeting"].default == default


# --- JSON Schema and reference ----------------------------------------------------------------------------------------


def test_the_command_prints_a_valid_schema():
    printed = json.loads(CliRunner().invoke(schema).output)

    jsonschema.Draft202012Validator.check_schema(printed)
    assert printed == spec_schema()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_schema_accepts_the_examples(path):
    data = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader) | {"targcc": 1}
    document = yaml.safe_load(dump_spec(load_spec(path)).replace(" on:", ' "on":'))

    jsonschema.validate(document, spec_schema())
    assert set(data["jobs"]) == set(document["jobs"])


ACCEPTED = [
    {"type": "manual", "timeout": "none", "procedure": "dbo.X", "blueprint": "stored-procedure"},
    {
        "cron": "0 2 * * *",
        "misfire": {},
        "alerts": {"on": ["slower than 5m", "missed"], "slack": "https://x.y/z"},
    },
    {"type": "manual", "alerts": {"webhook": "${HOOK_URL}", "teams": "file:/run/secrets/teams"}},
    {"every": "5m", "after": "completion", "params": {"a": "list[ str ] = []"}},
    {"at": "2026-12-31 02:00", "name": "Old name", "paused": False, "priority": -5},
]
REFUSED = [
    {"type": "manual", "retires": 5},
    {"type": "manual", "alerts": {"on": ["failure"], "emails": ["a@b"]}},
    {"type": "manual", "alerts": {"webhook": "http://x.y/z"}},
    {"type": "manual", "alerts": {"webhook": "$HOOK_URL"}},
    {"type": "manual", "misfire": {"grce": "1h"}},
    {"type": "manual", "overlap": "skp"},
    {"type": "manual", "timeout": None},
    {"type": "manual", "retries": -1},
    {"type": "manual", "params": {"a": "flaot"}},
    {"type": "manual", "cron": "0 2 * * *"},
    {},
]


@pytest.mark.parametrize("job", ACCEPTED)
def test_editors_accept_what_the_loader_accepts(job):
    document = {
        "targcc": 1,
        "project": {"name": "acme"},
        "jobs": {"daily_report": job},
        "queues": None,
    }

    jsonschema.validate(document, spec_schema())
    parse_spec(json.dumps(document))


@pytest.mark.parametrize("job", REFUSED)
def test_editors_mark_what_the_loader_refuses(job):
    document = {"targcc": 1, "project": {"name": "acme"}, "jobs": {"Nightly": job}}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, spec_schema())
    with pytest.raises(SpecErrors):
        parse_spec(json.dumps(document))


def test_every_key_is_described_for_editors():
    definitions = [spec_schema(), *spec_schema()["$defs"].values()]

    undescribed = [
        key
        for definition in definitions
        for key, value in definition["properties"].items()
        if "description" not in value and "$ref" not in value
    ]
    assert undescribed == []


def test_the_reference_in_the_manual_has_every_key():
    text = reference()
    definitions = [spec_schema(), *spec_schema()["$defs"].values()]

    missing = {
        key
        for definition in definitions
        for key in definition["properties"]
        if f"| `{key}` |" not in text
    }
    assert missing == set()


@pytest.mark.parametrize("key", ["Null", "True", "No", "On"])
def test_a_key_that_yaml_reads_as_another_type_is_quoted(key):
    text = dump_spec(Spec.model_validate({"targcc": 1, "project": {"name": "shop"}, "jobs": {key: {"cron": "0 2 * * *"}}}))  # fmt: skip

    assert list(yaml.safe_load(text)["jobs"]) == [key]
