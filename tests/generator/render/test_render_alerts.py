"""`alerts` and `oncall` of a spec reach the scheduler unchanged, and errors name their place."""

from datetime import UTC, datetime, timedelta

import pytest
from targcc_gen.render.decorator import decorator
from targcc_gen.render.vendor import scheduler_module
from targcc_gen.spec import dump_spec, parse_spec
from targcc_gen.spec.errors import SpecErrors
from targcc_scheduler.features.alerts.policy import AlertPolicy, Target
from targcc_scheduler.project import Project

TEXT = """\
targcc: 1
project: {name: acme-jobs, timezone: Asia/Jerusalem}
alerts:
  email: [ops@example.com]
  oncall: true
  recovered: false
  quiet:
    - {start: "22:00", end: "07:00", channels: [email]}
  digest: {at: "07:30", days: [sun, mon], email: [team@example.com]}
  escalation:
    - {after: 15m, oncall: true}
    - {after: 1h30m, slack: "${HEAD_SLACK}"}
  channels: {ntfy: "acme_jobs.ntfy:NtfyChannel"}
oncall:
  people:
    dana: {email: [dana@example.com], other: {ntfy: "${DANA_NTFY}"}}
    noam: {slack: "${NOAM_SLACK}"}
  rota:
    - {who: dana, days: [sun, mon], start: "08:00", end: "20:00"}
    - {who: noam}
jobs:
  Nightly: {cron: "0 2 * * *", alerts: {oncall: true, urgent: false, other: {ntfy: "acme-night"}}}
"""


def test_what_a_spec_says_is_what_the_scheduler_does():
    spec = parse_spec(TEXT)
    assert parse_spec(dump_spec(spec)) == spec
    source = scheduler_module(spec).decode()
    projects = []
    exec(
        source[source.index("configure(\n") : source.index("if TYPE_CHECKING")],
        {"Project": Project, "configure": projects.append},
    )
    policy = AlertPolicy.of(projects[0])
    noon = datetime(2026, 6, 8, 9, tzinfo=UTC)  # a Monday
    assert (policy.recovered, policy.channels) == (False, spec.alerts.channels)
    assert policy.resolve(policy.general, noon) == (
        Target("mail", "ops@example.com"),
        Target("mail", "dana@example.com"),
        Target("ntfy", "${DANA_NTFY}"),
    )
    assert policy.rota.on_call(noon + timedelta(hours=9)) == "noam"
    assert [step.after for step in policy.escalation] == [
        timedelta(minutes=15),
        timedelta(minutes=90),
    ]
    midnight = noon + timedelta(hours=12)
    assert policy.quiet_until(Target("mail", "x@y"), midnight) == datetime(
        2026, 6, 9, 4, tzinfo=UTC
    )
    assert policy.digest.slot_after(noon) == datetime(2026, 6, 14, 4, 30, tzinfo=UTC)
    assert decorator(spec.jobs["Nightly"], described=True) == (
        '@job("0 2 * * *", alerts=Alerts(other={"ntfy": "acme-night"}, oncall=True, urgent=False))'
    )


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("{who: noam}", "{who: nom}", '20:13: error: no person "nom"'),
        ("rota:", "shifts:", '18:3: error: unknown key "shifts" in oncall'),
        ("email: [team@example.com]", "", "9:3: error: nobody gets this"),
        ("channels: {ntfy:", "channels: {nfy:", 'no channel "ntfy"'),
        ("after: 15m", "afer: 15m", '11:8: error: unknown key "afer" in each escalation'),
        ("days: [sun, mon], email", "days: [sunday], email", 'each days cannot be "sunday"'),
        ("acme_jobs.ntfy:NtfyChannel", "NtfyChannel", "does not say where a class is"),
        ("recovered: false", "recovred: false", 'unknown key "recovred" in alerts'),
    ],
)
def test_what_is_wrong_is_said_with_its_place(right, wrong, said):
    with pytest.raises(SpecErrors) as caught:
        parse_spec(TEXT.replace(right, wrong))
    assert said in str(caught.value.message)
