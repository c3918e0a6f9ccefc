"""Options in the code of any job can be copied into the spec, and both then agree."""

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from targcc_gen.errors import InputError
from targcc_gen.render import render_job
from targcc_gen.spec import Spec
from targcc_gen.spec.rules import OF_UNIQUE
from targcc_gen.sync.jobs.arguments import closest_blueprint, new_shape
from targcc_gen.sync.jobs.decorator import SCHEDULE, DecoratedJob, Unread, job_in, meaning_of
from targcc_gen.sync.jobs.decorator_merge import drifted
from targcc_gen.sync.jobs.pull import _changed

SCHEDULES: list[dict[str, Any]] = [
    {"cron": "0 2 * * *"},
    {"cron": "@daily"},
    {"every": "90m", "anchor": "2026-01-01T00:10"},
    {"every": "10m", "after": "completion"},
    {"every": "1d", "after": "start"},
    {"at": "2031-01-01T10:00"},
    {"at": "2031-01-01T10:00:07+02:00"},
    {"type": "manual"},
    {"type": "fire-and-forget"},
    {"type": "delayed"},
    {"after": ["ImportOrders"]},
    {"after": ["ImportOrders", "Prices"], "type": "fire-and-forget"},
]
OPTIONS: dict[str, list[Any]] = {
    "timezone": ["UTC", "Europe/London"],
    "display_name": ["Sales", "Sales of “today”\n", 'a "b" \\'],
    "queue": ["default", "critical"],
    "priority": [-5, 7],
    "retries": [0, 3],
    "backoff": ["1m30s", "30s"],
    "timeout": ["1h", "none", "36h"],
    "overlap": ["skip", "queue", "allow"],
    "misfire": [
        {"policy": "skip"},
        {"policy": "run_all", "grace": "none"},
        {"grace": "1d"},
        {"grace": "90m"},
    ],
    "concurrency": [1, 12],
    "limit": [{"running": 2}, {"rate": "100/min", "burst": 5}, {"running": 10, "weight": 3}],
    "isolation": ["thread", "process"],
    "memory_limit": [256],
    "alerts": [
        {"email": ["a@example.com"]},
        {"on": ["success", "slower than 5m"], "slack": "${HOOK}", "max_per_hour": 3},
    ],
    "calendar": ["weekend", ["weekend", "nights"]],
    "on_holiday": ["skip", "next"],
    "unique": ["day", ["day", "shop"], True],
    "unique_scope": ["queued", "90m"],
    "on_duplicate": ["skip", "replace", "debounce 90s"],
    "expires_in": ["10m"],
    "paused": [True],
    "name": ["Turnover"],
}
PROJECT = {"name": "acme-jobs", "timezone": "UTC"}


def chance_job(chance: random.Random) -> dict[str, Any]:
    job = dict(chance.choice(SCHEDULES))
    for key, values in OPTIONS.items():
        if chance.random() < 0.35:
            job[key] = chance.choice(values)
    if "unique" not in job:
        job = {key: value for key, value in job.items() if key not in OF_UNIQUE}
    return job | {"params": {"day": "str = today", "shop": "int = 1"}}


def spec_of(job: dict[str, Any]) -> Spec | None:
    whole = {
        "targcc": 1,
        "project": PROJECT,
        "queues": {"critical": {}},
        "calendars": {"weekend": {"off": "saturday"}, "nights": {"blackouts": "22:00-05:00"}},
        "defaults": {"retries": 3},
        "jobs": {
            "Sales": job,
            "ImportOrders": {"cron": "0 1 * * *"},
            "Prices": {"type": "manual", "name": "SP_Prices"},
        },
    }
    try:
        return Spec.model_validate(whole)
    except ValueError:
        return None


def specs(seed: int) -> list[Spec]:
    chance = random.Random(seed)
    return [spec for _ in range(160) if (spec := spec_of(chance_job(chance))) is not None]


def written(spec: Spec) -> tuple[DecoratedJob, dict[str, Any]]:
    file = render_job(spec, "Sales")[0]
    decorated = job_in(file.content)
    assert decorated is not None
    assert file.job is not None
    return decorated, dict(file.job.defaults)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_what_any_code_says_goes_into_any_spec(seed):
    every = specs(seed)
    assert len(every) > 40
    pulled = 0
    for spec, code in zip(every, reversed(every), strict=True):
        (wanted, holds), (now, _) = written(spec), written(code)
        names = drifted(now, wanted, None, keep=(), defaults=holds)
        meanings = {name: now.means(name, holds) for name in names}
        try:
            job = _changed(spec, "Sales", now, meanings, holds)
        except InputError as error:
            raise AssertionError(f"{spec.jobs} <- {code.jobs}") from error
        after, _ = written(spec.model_copy(update={"jobs": {**spec.jobs, "Sales": job}}))
        assert drifted(now, after, None, keep=(), defaults=holds) == [], (spec.jobs, code.jobs)
        pulled += bool(names)
    assert pulled > 40


@pytest.mark.parametrize("blueprint", ["blank", "cleanup", "sync"])
def test_a_blueprint_is_known_by_its_module_and_another_version_of_it_is_no_other(blueprint):
    spec = spec_of({"cron": "0 2 * * *", "blueprint": blueprint})
    assert spec is not None
    file = render_job(spec, "Sales")[0]
    older = file.content.replace(
        b"        return JobResult", b"        print()\n        return JobResult"
    )
    assert older != file.content
    assert new_shape(older, file) is None
    other = spec_of({"cron": "0 2 * * *", "blueprint": "stored-procedure"})
    assert other is not None
    wanted = render_job(other, "Sales")[0]
    assert wanted.job is not None
    assert closest_blueprint(older, wanted.job) == blueprint
    shape = new_shape(older, wanted)
    assert shape is not None
    assert shape.is_other_blueprint


@pytest.mark.parametrize(
    ("name", "arguments", "meaning"),
    [
        ("overlap", {"schedule": '"0 2 * * *"', "overlap": '"skip"'}, None),
        ("overlap", {"schedule": '"0 2 * * *"', "overlap": '"allow"'}, "allow"),
        ("overlap", {"schedule": "JobType.DELAYED", "overlap": '"allow"'}, None),
        ("overlap", {"schedule": "JobType.DELAYED", "overlap": '"skip"'}, "skip"),
        ("overlap", {"every": '"1h"', "overlap": '"skip"'}, None),
        ("overlap", {"overlap": '"allow"'}, None),
        ("at", {"at": '"2031-01-01T10:00"'}, datetime(2031, 1, 1, 10)),  # noqa: DTZ001
        ("anchor", {"anchor": '"2031-01-01 10:00"'}, datetime(2031, 1, 1, 10)),  # noqa: DTZ001
        ("at", {"at": '"soon"'}, "soon"),
        ("queue", {"queue": '"2031-01-01"'}, "2031-01-01"),
        ("timeout", {"timeout": '"long"'}, "long"),
        ("timeout", {"timeout": "timedelta(minutes=5)"}, timedelta(minutes=5)),
    ],
)
def test_the_meaning_of_an_argument(name, arguments, meaning):
    arguments = {SCHEDULE if word == "schedule" else word: text for word, text in arguments.items()}
    assert meaning_of(name, arguments, {}, class_name="NightlyJob", defaults={}) == meaning


@pytest.mark.parametrize(
    "call",
    ["timedelta(minutes=5, seconds=f())", "timedelta(**f())", "Alerts(on=f(), oncall=True)"],
)
def test_a_call_with_a_value_that_only_python_can_compute_is_unread(call):
    meaning = meaning_of("option", {"option": call}, {}, class_name="NightlyJob", defaults={})
    assert isinstance(meaning, Unread)


def test_a_module_with_few_lines_of_a_blueprint_is_of_none():
    spec = spec_of({"cron": "0 2 * * *", "blueprint": "sync"})
    assert spec is not None
    file = render_job(spec, "Sales")[0]
    facts = file.job
    assert facts is not None
    text = b"".join(file.content.splitlines(keepends=True)[-9:]) + b"".join(
        b"line_%d = 1\n" % number for number in range(100)
    )
    assert closest_blueprint(text, facts, at_least=0.5) == ""
    assert closest_blueprint(text, facts) != ""
