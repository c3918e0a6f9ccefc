"""``targcc alert``: test that alerts arrive, and list open alerts."""

import json

import pytest
from alert_sinks import WebhookSink, mail_server, slack  # noqa: F401 - fixtures
from click.testing import CliRunner
from targcc_scheduler import Alerts, job
from targcc_scheduler.cli.main import main


@job(
    "0 2 * * *",
    alerts=Alerts(email=("dana@example.com",), slack="${RIG_SLACK}", teams="${RIG_TEAMS}"),
)
def nightly():
    """Work at night."""


@pytest.fixture
def targcc(database, request, monkeypatch, mail_server):  # noqa: F811 - the fixture
    """Return a function that runs a command and returns its exit status and output."""
    monkeypatch.setenv("TARGCC_DATABASE_URL", database.url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", request.module.__name__)
    monkeypatch.setenv("TARGCC_SMTP_HOST", "127.0.0.1")
    monkeypatch.setenv("TARGCC_SMTP_PORT", str(mail_server.port))

    def call(*words):
        result = CliRunner().invoke(main, words)
        return result.exit_code, result.output

    return call


def test_a_test_goes_out_for_real_and_each_result_is_said(
    targcc, mail_server, slack, database, monkeypatch  # noqa: F811 - the fixtures
):
    status, output = targcc("alert", "test")
    assert (status, "there is nobody to tell" in output) == (2, True)
    monkeypatch.setenv("TARGCC_ALERT_EMAIL", "ops@example.com")
    status, output = targcc("alert", "test", "--json")
    assert (status, json.loads(output)) == (
        0,
        [{"channel": "mail", "to": "ops@example.com", "reason": None}],
    )
    assert mail_server.handler.mails[0]["Subject"].startswith("[Test] ")

    monkeypatch.setenv("RIG_SLACK", slack.url)
    gone = WebhookSink(404)
    monkeypatch.setenv("RIG_TEAMS", gone.url)
    status, output = targcc("alert", "test", "--job", "Nightly", "--json")
    gone.close()
    assert status == 1
    assert {result["channel"]: result["reason"] for result in json.loads(output)} == {
        "mail": None,
        "slack": None,
        "teams": "the webhook answered 404",
    }
    assert "s3cret" not in output
    assert slack.bodies[0]["text"].startswith("[Test] ")
    status, output = targcc("alert", "test", "--job", "Nightly", "--channel", "email")
    assert (status, "dana@example.com" in output, "slack" in output) == (0, True, False)
    assert len(mail_server.handler.mails) == 3
    assert database.one("SELECT COUNT(*) FROM c_JobAudit WHERE Action = 'alert-test'") == 3


def test_what_is_not_over_waits_or_did_not_go_out_is_listed(targcc, database):
    assert targcc("alert", "list") == (0, "Every alert is over, and every message went out.\n")
    database.change(
        "INSERT INTO c_JobAlertThread (Thread, Kind, JobName, About, Title, FirstAt, LastAt, Number, TargetsJson)"
        " VALUES ('x', 'failure', 'Nightly', '', 'Nightly failed', '2026-06-10 00:10:00', '2026-06-10 00:20:00', 7, '[]')"
    )
    database.change(
        "INSERT INTO c_JobConcern (Subject, Kind, Since, Detail)"
        " VALUES ('Nightly', 'alert', '2026-06-10 00:10:00', 'slack: nobody answers there')"
    )
    status, output = targcc("alert", "list")
    assert status == 0
    assert "Nightly failed" in output
    assert "An alert about Nightly was not sent" in output
    listing = json.loads(targcc("alert", "list", "--json")[1])
    assert (listing["going_on"][0]["times"], listing["waiting"], listing["on_call"]) == (
        7,
        [],
        None,
    )
