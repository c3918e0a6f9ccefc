"""Values of a parsed spec."""

from datetime import date, datetime, timedelta
from uuid import UUID

import pytest
from pydantic import ValidationError
from targcc_gen import assets
from targcc_gen.errors import InputError
from targcc_gen.spec import (
    BLUEPRINTS,
    PARAM_TYPES,
    JobSpec,
    Param,
    ProjectSpec,
    Spec,
    build_job,
    load_spec,
    parse_spec,
    with_job,
)
from targcc_scheduler.services.procedures import procedure_call

HEAD = "targcc: 1\nproject: {name: acme-jobs}\n"


def only_job(body):
    (job,) = parse_spec(f"{HEAD}jobs: {{Nightly: {{{body}}}}}\n").jobs.values()
    return job


def test_windows_zones_become_iana_zones():
    text = "targcc: 1\nproject: {name: acme, package: acme, timezone: Israel Standard Time}\njobs: {A: {cron: 0 2 * * *, timezone: GMT Standard Time}}\n"
    spec = parse_spec(text)
    assert (spec.project.timezone, spec.jobs["A"].timezone) == ("Asia/Jerusalem", "Europe/London")


def test_the_smallest_spec_gets_every_default():
    spec = parse_spec(HEAD)

    assert (spec.project.package, spec.project.timezone) == ("acme_jobs", "UTC")
    assert spec.database == "sqlite"
    assert {name: queue.workers for name, queue in spec.queues.items()} == {"default": 5}
    assert spec.defaults.retries == 3
    assert spec.jobs == {}


@pytest.mark.parametrize("section", ["jobs:", "queues:", "defaults:", "jobs: {}", "jobs: null"])
def test_a_section_with_nothing_in_it_is_as_good_as_none(section):
    assert parse_spec(f"{HEAD}{section}\n") == parse_spec(HEAD)


@pytest.mark.parametrize(
    ("body", "given"),
    [
        ('cron: "0 2 * * *"', {"cron": "0 2 * * *"}),
        ("every: 5m", {"every": timedelta(minutes=5)}),
        ("every: 5m, after: completion", {"every": timedelta(minutes=5), "after": "completion"}),
        ("type: manual", {"type": "manual"}),
        ("type: fire-and-forget", {"type": "fire-and-forget"}),
        ("type: delayed", {"type": "delayed"}),
    ],
)
def test_each_way_to_say_when_a_job_runs_is_understood(body, given):
    assert only_job(body).model_dump(exclude_unset=True) == given


def test_a_job_may_run_at_one_time_only():
    assert f"{only_job('at: 2026-12-31T02:00').at:%Y-%m-%d %H:%M}" == "2026-12-31 02:00"


def test_words_that_yaml_1_1_turns_into_truth_values_and_numbers_stay_words():
    job = only_job(
        "type: manual, description: off, display_name: 1:30, alerts: {on: [failure], email: [a@b.c]}"
    )

    assert (job.description, job.display_name, job.alerts.on) == ("off", "1:30", ("failure",))


def test_durations_and_instants_are_read():
    job = only_job(
        'every: 1h30m, anchor: 2026-01-01 06:00, timeout: none, alerts: {on: ["slower  than 90s"], email: [a@b]}'
    )

    assert (job.every, job.anchor) == (
        timedelta(minutes=90),
        datetime.fromisoformat("2026-01-01T06:00"),
    )
    assert job.timeout == "none"
    assert (job.alerts.on, job.alerts.slower_than) == (
        ("slower than 1m30s",),
        timedelta(seconds=90),
    )


@pytest.mark.parametrize(
    ("text", "default"),
    [
        ("str = hello world", "hello world"),
        ('str = " a\\n"', " a\n"),
        ("str =", ""),
        ("int = -5", -5),
        ("float = 1e3", 1000.0),
        ("bool = false", False),
        ("date = 2026-01-31", date(2026, 1, 31)),
        ("datetime=2026-01-31T02:00", datetime.fromisoformat("2026-01-31T02:00")),
        (
            "uuid = 123e4567-e89b-12d3-a456-426614174000",
            UUID("123e4567-e89b-12d3-a456-426614174000"),
        ),
        ('list[str] = ["a", "ב"]', ["a", "ב"]),
        ("list[ int ] = [1, 2]", [1, 2]),
        ('dict = {"a": {"b": [1.5, null]}}', {"a": {"b": [1.5, None]}}),
        ("str = ''", ""),
        ("str = 'a \\n b'", "a \\n b"),
        ("str = 'tis", "'tis"),
        ("str = '", "'"),
        ("str = \"'a'\"", "'a'"),
    ],
)
def test_a_parameter_has_a_type_and_a_default_and_is_written_back(text, default):
    param = Param.parse(text)

    assert (param.default, param.required) == (default, False)
    assert Param.parse(str(param)) == param


@pytest.mark.parametrize("kind", PARAM_TYPES)
def test_a_parameter_without_a_default_is_required(kind):
    assert Param.parse(kind) == Param(kind, required=True)


@pytest.mark.parametrize(
    "text",
    ["flaot", "", "l i s t", "int = x", "int = 1.0", "int = \u0661", "float = nan", "float = 1e999", "bool = True",
     "date = 2026-02-30", "uuid = 1", "list[int] = [1.5]", "list[int] = [true]", "list[str] = a", "dict = []",
     'dict = {"a": NaN}', 'str = "a', "dict = " + "[" * 100_000, "int = " + "9" * 5000],
)  # fmt: skip
def test_a_parameter_that_is_wrong_is_refused(text):
    with pytest.raises(ValueError, match=r"no parameter type|is no "):
        Param.parse(text)


def test_aliases_stand_for_what_they_name():
    spec = parse_spec(f"{HEAD}jobs:\n  A: &usual {{type: manual, retries: 7}}\n  B: *usual\n")

    assert spec.jobs["B"] == spec.jobs["A"]


def test_a_spec_cannot_be_changed():
    spec = parse_spec(HEAD)

    with pytest.raises(ValidationError):
        spec.database = "postgresql"


def test_models_that_are_built_in_python_obey_the_same_rules():
    with pytest.raises(ValidationError, match="both cron and every"):
        JobSpec(cron="0 2 * * *", every="5m")
    with pytest.raises(ValidationError, match="no queue"):
        Spec(targcc=1, project=ProjectSpec(name="a"), jobs={"A": JobSpec(type="manual", queue="x")})
    with pytest.raises(ValidationError, match="two jobs have one name"):
        Spec(
            targcc=1,
            project=ProjectSpec(name="a"),
            jobs={"ab_c": {"type": "manual"}, "AbC": {"type": "manual"}},
        )


def test_a_job_that_does_not_fit_the_spec_is_refused():
    spec = parse_spec(f"{HEAD}jobs: {{DailyReport: {{type: manual}}}}\n")

    for key, values, complaint in [
        ("DailyReport", {}, "has a job DailyReport already"),
        ("Dailyreport", {}, "are both"),
        ("Other", {"queue": "late"}, 'no queue "late"'),
    ]:
        with pytest.raises(InputError, match=complaint):
            with_job(spec, key, build_job(key, {"type": "manual", **values}))


def test_every_blueprint_folder_can_be_asked_for():
    folders = {path.parent.name for path in assets.blueprints().glob("*/blueprint.yaml")}
    assert folders <= set(BLUEPRINTS)


def test_the_demo_shows_every_kind_of_job_and_every_blueprint_one_would_choose():
    jobs = load_spec(assets.examples() / "acme" / "targcc.yaml").jobs

    assert len(jobs) == 10
    assert jobs["Heartbeat"].cron == "* * * * *"
    assert {job.blueprint for job in jobs.values()} == set(BLUEPRINTS) - {
        "not-ported", "heartbeat", "command", "sql", "http",  # imports write these
    }  # fmt: skip
    schedule_keys = {
        key for job in jobs.values() for key in ("cron", "every", "after") if getattr(job, key)
    }
    assert schedule_keys == {"cron", "every", "after"}
    types = {job.type for job in jobs.values()}
    assert types == {None, "manual", "fire-and-forget", "delayed"}


@pytest.mark.parametrize(
    "address",
    [
        "https://hooks.slack.com/services/T0000/B0000/XXXXXXXXXXXX",
        "https://acme.webhook.office.com/webhookb2/1",
        "https://prod-1.westeurope.logic.azure.com:443/workflows/x?sig=abc",
        "https://discord.com/api/webhooks/1/x",
        "https://alerts.example.com/in?token=abc",
        "https://alerts.example.com/in/a1b2c3d4e5f6a7b8c9d0e1",
    ],
)
def test_an_address_that_is_a_secret_does_not_belong_into_the_spec(address):
    with pytest.raises(InputError, match="is a secret") as error:
        only_job(f"type: manual, alerts: {{webhook: '{address}'}}")
    assert "${SLACK_URL}" in str(error.value.hint or error.value.message)


@pytest.mark.parametrize(
    "address", ["https://alerts.example.com/in", "${SLACK_URL}", "file:/run/secrets/slack"]
)
def test_an_address_without_a_secret_and_a_reference_do(address):
    job = only_job(f"type: manual, alerts: {{webhook: '{address}'}}")
    assert job.alerts is not None
    assert job.alerts.webhook == address


@pytest.mark.parametrize(
    "name",
    [
        "SP_A",
        "a.b.c.d",
        "[a b].[c]]d]",
        '"a""b".c',
        "Shop..close",
        "#tmp",
        "@x",
        "a...b",
        "a.b.c.d.e",
        "a b",
    ],
)
def test_the_spec_takes_the_procedures_that_the_scheduler_can_call(name):
    def can(call):
        try:
            return bool(call())
        except ValueError:
            return False

    job = {"type": "manual", "blueprint": "stored-procedure", "procedure": name}
    assert can(lambda: JobSpec.model_validate(job)) is can(
        lambda: procedure_call("mssql", name, {})
    )
