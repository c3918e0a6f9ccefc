"""Weekly alert hours in a time zone, and the settings that a project must not use."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from targcc_scheduler.core.errors import ProjectError
from targcc_scheduler.features.alerts.policy import AlertPolicy, Hours, Target
from targcc_scheduler.project import Project

BERLIN = ZoneInfo("Europe/Berlin")


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC)


def policy(**said):
    return AlertPolicy.of(Project("p", "p", "Europe/Berlin", **said))


def test_hours_that_pass_midnight_belong_to_the_day_on_which_they_begin():
    night = Hours.of({"start": "22:00", "end": "07:00", "days": ["fri"]}, "Europe/Berlin")
    ends = {
        "2026-06-12T21:59": None,  # a Friday
        "2026-06-12T22:00": "2026-06-13T07:00",
        "2026-06-13T06:59": "2026-06-13T07:00",
        "2026-06-13T07:00": None,
        "2026-06-13T23:00": None,
    }
    assert {now: night.end_after(at(now)) for now in ends} == {
        now: end and at(end) for now, end in ends.items()
    }


def test_a_night_in_which_clocks_change_ends_when_the_clock_says_so():
    night = Hours.of({"start": "22:00", "end": "07:00"}, "Europe/Berlin")
    for day, hours in (("2026-03-28", 8), ("2026-10-24", 10), ("2026-06-10", 9)):
        begins = at(f"{day}T22:00")
        end = night.end_after(begins)
        assert (end - begins).total_seconds() == hours * 3600


def test_quiet_hours_are_of_those_they_name():
    values = {
        "quiet": [
            {"start": "22:00", "end": "07:00", "channels": ["email"]},
            {"start": "20:00", "end": "09:00", "email": ["dana@example.com"]},
        ]
    }
    rules, midnight = policy(alerts=values), at("2026-06-10T00:00")
    assert rules.quiet_until(Target("mail", "ops@example.com"), midnight) == at("2026-06-10T07:00")
    assert rules.quiet_until(Target("mail", "dana@example.com"), midnight) == at("2026-06-10T09:00")
    assert rules.quiet_until(Target("slack", "${SLACK}"), midnight) is None
    everybody = policy(alerts={"quiet": [{"start": "22:00", "end": "07:00"}]})
    assert everybody.quiet_until(Target("slack", "${SLACK}"), midnight) == at("2026-06-10T07:00")


def test_a_recipient_who_is_named_and_on_call_is_told_once():
    rules = policy(
        alerts={"email": ["dana@example.com"], "oncall": True},
        oncall={"people": {"dana": {"email": ["dana@example.com"]}}, "rota": [{"who": "dana"}]},
    )
    now = at("2026-06-10T00:00")
    assert rules.resolve(rules.general, now) == (Target("mail", "dana@example.com"),)
    assert policy(alerts={"oncall": True}).resolve(rules.general, now) == (
        Target("mail", "dana@example.com"),
    )


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"alerts": {"quiet": [{"start": "25:00", "end": "07:00"}]}}, "no time of the day"),
        ({"alerts": {"quiet": [{"start": "22:00", "end": "07:00", "days": ["sunday"]}]}}, "no day"),
        ({"alerts": {"urgent": ["failures"]}}, "no kind 'failures'"),
        ({"oncall": {"rota": [{"who": "dana"}]}}, "'dana' is in the rota"),
    ],
)
def test_what_cannot_be_is_refused(said, message):
    with pytest.raises(ProjectError, match=message):
        policy(**said)
