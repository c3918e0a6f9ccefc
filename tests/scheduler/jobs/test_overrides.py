"""Overridden options of a job: where they apply, which are invalid, and the lines that move them into the code."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import SecretStr
from targcc_gen.render.decorator import decorator
from targcc_gen.spec import parse_spec
from targcc_scheduler import project
from targcc_scheduler.core.errors import OverrideError
from targcc_scheduler.features.overrides.effective import code_lines, effective
from targcc_scheduler.kernel.jobs.declaration import declare, define
from targcc_scheduler.kernel.jobs.overrides import Override, read_value
from targcc_scheduler.kernel.jobs.registry import JobRegistry
from targcc_scheduler.kernel.node.releases import described
from targcc_scheduler.project import Project, configure

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
PLAIN = Project(
    name="app", package="app", queues={"default": 5, "apart": 1}, process_queues=("apart",)
)


class ReportJob:
    def execute(
        self,
        ctx,
        days: int = 7,
        since: date = date(2026, 1, 1),
        tone: str = "kind",
        key: SecretStr | None = None,
    ):
        """Do nothing."""


@pytest.fixture(autouse=True)
def _project(monkeypatch):
    monkeypatch.setattr(project, "_configured", None)
    configure(PLAIN)


def changes(**values):
    return [
        Override("Report", name, json.dumps(read_value(name, value)), "dana", NOW, "late data")
        for name, value in values.items()
    ]


def report(schedule="0 2 * * *", **options):
    return declare(ReportJob, schedule, timezone="UTC", **options).complete(PLAIN)


ALL = {
    "schedule": "30 4 * * 1",
    "timezone": "Europe/Berlin",
    "arguments": {"days": 14, "since": "2026-02-01", "tone": "strict"},
    "queue": "apart",
    "priority": "5",
    "retries": 0,
    "timeout": "90s",
}


def test_each_option_holds_and_the_code_stays_known():
    job = effective(report(), changes(**ALL), PLAIN)
    first = job.schedule.next(NOW, job.timezone)
    assert f"{first:%a %H:%M %z}" == "Mon 04:30 +0200"
    assert (job.queue, job.priority, job.retries, job.timeout) == (
        *("apart", 5, 0),
        timedelta(seconds=90),
    )
    assert job.isolation == "process"  # from the queue's settings
    assert json.loads(job.check({"days": 3}))["days"] == 3
    assert json.loads(job.check({}))["since"] == "2026-02-01"
    assert job.coded == report()
    # the fingerprint of a release covers its code alone
    assert described([job]) == described([report()])
    assert hash(job)


def test_what_does_not_fit_the_code_does_not_hold_and_says_so():
    job = effective(report(), changes(arguments={"weeks": 2}, priority=3), PLAIN)
    assert [override.problem for override in job.overrides] == [
        "takes no weeks: days, since, tone, key",
        "",
    ]
    assert (job.priority, job.arguments_json) == (3, "{}")
    for wrong, message in (
        ({"arguments": {"days": "many"}}, "days: input should be a valid integer"),
        ({"arguments": {"key": "s3cret"}}, "key is secret"),
    ):
        [override] = effective(report(), changes(**wrong), PLAIN).overrides
        assert message in override.problem
    [unscheduled] = effective(report(None), changes(schedule="every 5m"), PLAIN).overrides
    assert "runs only when asked" in unscheduled.problem


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("schedule", "every now"), ("schedule", "61 * * * *"), ("timezone", "Mars/Olympus")),
        *(("priority", "high"), ("retries", -1), ("timeout", "soon"), ("arguments", "[1]")),
        *(("queue", " "), ("paused", True)),
    ],
)
def test_what_cannot_be_read_is_refused(field, value):
    with pytest.raises(OverrideError, match=field):
        read_value(field, value)


def test_a_windows_zone_is_stored_as_its_iana_zone():
    assert read_value("timezone", "israel standard time") == "Asia/Jerusalem"


def test_an_override_survives_another_definition_of_the_code():
    registry = JobRegistry("no_such_package", project=PLAIN)
    registry.add(define(ReportJob, "0 2 * * *", retries=1))
    shared = registry.definitions
    assert registry.override(changes(priority=7), effective) == {"Report"}
    assert (shared["Report"].priority, shared["Report"].retries) == (7, 1)
    registry.add(define(ReportJob, "0 3 * * *", retries=2))  # the code of the next release
    assert (shared["Report"].priority, shared["Report"].retries) == (7, 2)
    assert registry.find("report job") is shared["Report"]
    assert [job.priority for job in registry.own] == [0]
    assert registry.override([], effective) == {"Report"}
    assert shared["Report"].schedule_text == "0 3 * * *"
    assert shared["Report"].overrides == ()


@pytest.mark.parametrize(
    "schedule",
    [
        *("30 4 * * 1", "every 15m", "every 1h after completion"),
        *("every 1d from 2026-01-01T02:00", "once at 2026-12-31T08:00:00"),
    ],
)
def test_the_lines_for_the_code_say_the_same(schedule):
    """The generator reads the spec lines. The decorator, and the lines of a class, define the same job."""
    job = effective(report(), changes(**ALL | {"schedule": schedule}), PLAIN)
    lines = code_lines(job)
    head = "targcc: 1\nproject: {name: app}\nqueues: {default: {workers: 1}, apart: {workers: 1}}\n"
    spec = parse_spec(head + "\n".join(lines.spec))
    for written in (
        decorator(spec.jobs["Report"], described=True).removeprefix("@job(").removesuffix(")"),
        "\n".join(lines.decorator),
    ):
        target, args, options = ReportJob, [], {}
        exec(f"args, options = (lambda *a, **k: (a, k))({written})", names := {})
        args, options = names["args"], names["options"]
        definition = declare(target, *args, **options).complete(PLAIN)
        for name in ("schedule_text", "timezone", "queue", "priority", "retries", "timeout"):
            assert getattr(definition, name) == getattr(job, name)
        assert definition.schedule == job.schedule
    assert {name: str(param) for name, param in spec.jobs["Report"].params.items()} == {
        "days": "int = 14",
        "since": "date = 2026-02-01",
        "tone": "str = strict",
    }
    assert lines.signature == (
        "days: int = 14",
        "since: date = datetime.date(2026, 2, 1)",
        "tone: str = 'strict'",
    )
