"""Recipients and timing of alerts by mail, Slack and Teams, against real servers on this machine."""

import io
import logging
import socket
from datetime import UTC, datetime, timedelta

import pytest
from alert_sinks import WebhookSink, free_port, plain
from rt_tools import QUICK, until
from targcc_scheduler import Alerts, JobType, RunState, Settings, job
from targcc_scheduler.cli.log_setup import configure_logging
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.db.engines import make_engine
from targcc_scheduler.features.alerts.delivery import AlertSender
from targcc_scheduler.kernel.alert_events import AlertEvent
from targcc_scheduler.kernel.jobs.declaration import define

NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def mail_settings(database, mail_server):
    return Settings(
        _env_file=None,
        database_url=database.url,
        smtp_host="127.0.0.1",
        smtp_port=mail_server.port,
        base_url="https://jobs.example.com/",
        **QUICK,
    )


class Office:
    """Alert sender with a clock that the test sets."""

    def __init__(self, settings: Settings, channels=None) -> None:
        self.engine = make_engine(settings.database_url)
        self.clock = ManualClock(NOON)
        self.sender = AlertSender(self.engine, settings, self.clock, channels)

    async def tell(self, alerts=None, *, name="DailyReport", kind="failure", **details):
        """Send an alert event for a job that has these alert settings."""
        definition = define(_report, "0 2 * * *", name=name, alerts=alerts)
        event = {"run_id": 7, "message": "ValueError: no orders", "server": "host1", **details}
        await self.sender(AlertEvent(kind=kind, definition=definition, **event))


def _report():
    """A job's work."""


@pytest.fixture
async def office(mail_settings):
    office = Office(mail_settings)
    yield office
    await office.engine.dispose()


def audit(database):
    rows = database.rows("SELECT Action, JobName, RunId, Detail FROM c_JobAudit ORDER BY Id")
    return [tuple(row) for row in rows]


# Content of alerts.


async def test_a_failure_is_mailed_with_all_that_is_known_about_it(office, mailbox):
    await office.tell(
        Alerts(email=("ops@example.com", "dana@example.com")),
        details='File "daily_report.py", line 12\nValueError: no orders',
        attempt=3,
        duration_ms=61_500,
        scheduled_for=NOON,
    )
    (mail,) = mailbox.mails
    assert mailbox.recipients == [["ops@example.com", "dana@example.com"]]
    assert mail["Subject"] == "Daily Report failed"
    assert mail["To"] == "ops@example.com, dana@example.com"
    assert mail["From"] == "rig-jobs@localhost"
    text = plain(mail)
    assert text.splitlines()[0] == "ValueError: no orders"
    assert "https://jobs.example.com/jobs/runs/7" in text
    assert "7, attempt 3" in text
    assert "2026-06-10 12:00:00+00:00" in text
    assert "host1" in text
    assert 'File "daily_report.py", line 12' in text


async def test_slack_gets_blocks_it_takes_and_nothing_of_the_error_is_markup(office, slack):
    long = "x" * 5_000 + "\n<script> & ``` end"
    await office.tell(
        Alerts(slack=slack.url), message="no <orders> & no @channel", details=long, duration_ms=1500
    )
    (body,) = slack.bodies
    assert body["text"] == "Daily Report failed"
    header, message, facts, code, buttons = body["blocks"]
    assert (header["type"], header["text"]["text"]) == ("header", "Daily Report failed")
    assert message["text"]["text"] == "no &lt;orders&gt; &amp; no @channel"
    assert "*Job*\nDailyReport" in [field["text"] for field in facts["fields"]]
    assert len(facts["fields"]) <= 10
    assert code["text"]["text"].startswith("```…xxx")
    assert code["text"]["text"].endswith("&lt;script&gt; &amp; ''' end```")
    assert len(code["text"]["text"]) < 3_000
    page = "https://jobs.example.com/jobs"
    opened = {button["text"]["text"]: button["url"] for button in buttons["elements"]}
    assert opened.pop("Open in the inbox").startswith(f"{page}/inbox/")
    assert opened == {
        "Open the run": f"{page}/runs/7",
        "Open the job": f"{page}/jobs/DailyReport",
    }


async def test_teams_gets_an_adaptive_card_and_may_answer_202(office, teams, database):
    await office.tell(Alerts(teams=teams.url), details="Traceback", duration_ms=1500)
    (body,) = teams.bodies
    assert body["type"] == "message"
    (attachment,) = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    title, message, facts, details = card["body"]
    assert title["text"] == "Daily Report failed"
    assert message["text"] == "ValueError: no orders"
    assert {"title": "Run", "value": "7, attempt 1"} in facts["facts"]
    assert details["text"] == "Traceback"
    assert card["actions"][0]["url"] == "https://jobs.example.com/jobs/runs/7"
    assert [action for action, *_ in audit(database)] == ["alert"]


# Recipients.


async def test_success_is_told_only_to_those_who_want_to_hear_it(office, mailbox):
    await office.tell(Alerts(email=("ops@example.com",)), kind="success")
    assert mailbox.mails == []
    await office.tell(Alerts(on=("success",), email=("ops@example.com",)), kind="success")
    assert [mail["Subject"] for mail in mailbox.mails] == ["Daily Report succeeded"]


async def test_a_run_that_took_too_long_is_told_as_slow(office, mailbox):
    alerts = Alerts(on=("slower than 5m",), email=("ops@example.com",))
    await office.tell(alerts, kind="success", message="done", duration_ms=299_000)
    assert mailbox.mails == []
    await office.tell(alerts, kind="success", message="done", duration_ms=301_000)
    (mail,) = mailbox.mails
    assert mail["Subject"] == "Daily Report was slow"
    assert "at most 5m" in plain(mail)


async def test_missed_slots_are_told_to_those_who_want_to_hear_it(office, mailbox):
    missed = {"kind": "missed", "run_id": None, "message": "3 slots were missed"}
    await office.tell(Alerts(email=("ops@example.com",)), **missed)
    assert mailbox.mails == []
    await office.tell(Alerts(on=("missed",), email=("ops@example.com",)), **missed)
    (mail,) = mailbox.mails
    assert mail["Subject"] == "Daily Report was missed"
    assert "https://jobs.example.com/jobs/jobs/DailyReport" in plain(mail)


async def test_a_row_in_the_table_goes_before_the_decorator(office, mailbox, database):
    database.change(
        "INSERT INTO c_JobAlert (JobName, AlertOnFailure, AlertOnSuccess, EmailRecipients) "
        "VALUES ('DailyReport', 0, 1, 'table@example.com; second@example.com')"
    )
    decorated = Alerts(on=("failure",), email=("decorator@example.com",))
    await office.tell(decorated, kind="failure")
    await office.tell(decorated, kind="success")
    assert [mail["Subject"] for mail in mailbox.mails] == ["Daily Report succeeded"]
    assert mailbox.recipients == [["table@example.com", "second@example.com"]]
    sent = database.one("SELECT LastAlertSent FROM c_JobAlert")
    assert sent.startswith("2026-06-10 12:00:00")


async def test_the_table_knows_a_longest_duration(office, mailbox, database):
    database.change(
        "INSERT INTO c_JobAlert (JobName, AlertOnFailure, AlertOnDurationExceeds, EmailRecipients) "
        "VALUES ('DailyReport', 0, 1000, 'table@example.com')"
    )
    await office.tell(kind="success", duration_ms=1000)
    await office.tell(kind="success", duration_ms=1001)
    assert [mail["Subject"] for mail in mailbox.mails] == ["Daily Report was slow"]


async def test_failures_of_jobs_that_name_nobody_go_to_the_general_address(mail_settings, mailbox):
    office = Office(mail_settings.model_copy(update={"alert_email": "all@example.com"}))
    await office.tell(None, kind="failure")
    await office.tell(Alerts(max_per_hour=5), kind="failure")
    await office.tell(None, kind="success")
    await office.engine.dispose()
    assert mailbox.recipients == [["all@example.com"]] * 2


async def test_nobody_is_told_when_nobody_wants_to_know(office, mailbox, database):
    await office.tell(None)
    assert mailbox.mails == []
    assert audit(database) == []


# Hourly limit.


async def test_an_hour_has_room_for_so_many_and_the_next_one_says_what_was_held_back(
    office, mailbox, database
):
    alerts = Alerts(email=("ops@example.com",), max_per_hour=2)
    for _ in range(5):
        await office.tell(alerts)
        office.clock.advance(timedelta(minutes=1))
    await office.tell(alerts, name="Another")
    assert len(mailbox.mails) == 3
    assert [action for action, name, *_ in audit(database) if name == "DailyReport"] == [
        "alert",
        "alert",
        "alert-held-back",
        "alert-held-back",
        "alert-held-back",
    ]
    office.clock.set(NOON + HOUR)  # the first alert is now older than an hour
    await office.tell(alerts)
    assert len(mailbox.mails) == 4
    assert "3 alerts before this one" in plain(mailbox.mails[-1])


async def test_two_nodes_share_one_count(office, mail_settings, mailbox):
    other = Office(mail_settings)
    alerts = Alerts(email=("ops@example.com",), max_per_hour=1)
    await office.tell(alerts)
    await other.tell(alerts)
    await other.engine.dispose()
    assert len(mailbox.mails) == 1


# Failed deliveries.


async def test_an_unreachable_mail_server_is_audited_and_no_secret_is_logged(
    mail_settings, database, caplog, monkeypatch
):
    monkeypatch.setattr("targcc_scheduler.features.alerts.delivery._TRIES", 1)
    office = Office(
        mail_settings.model_copy(update={"smtp_port": free_port(), "smtp_user": "jobs"})
    )
    await office.tell(Alerts(email=("ops@example.com",)))
    await office.engine.dispose()
    assert audit(database)[1] == ("alert-failed", "DailyReport", 7, "mail: nobody answers there")
    assert "the mail alert about DailyReport was not sent: nobody answers there" in caplog.text
    assert "Traceback" not in caplog.text


async def test_what_the_mail_server_refused_is_said_without_the_password(
    mail_settings, database, caplog, monkeypatch
):
    monkeypatch.setattr("targcc_scheduler.features.alerts.delivery._TRIES", 1)
    caplog.set_level(logging.DEBUG)
    password = type(mail_settings.smtp_password)("hunter2-secret")
    account = {"smtp_user": "jobs", "smtp_password": password}
    office = Office(mail_settings.model_copy(update=account))
    await office.tell(Alerts(email=("ops@example.com",)))
    await office.engine.dispose()
    assert audit(database)[1][3] == "mail: the mail server answered 535 Authentication failed"
    assert "hunter2" not in caplog.text


async def test_a_webhook_that_refuses_is_audited_and_its_address_stays_secret(
    office, database, caplog, monkeypatch
):
    monkeypatch.setattr("targcc_scheduler.features.alerts.delivery._TRIES", 1)
    caplog.set_level(logging.INFO)
    gone = WebhookSink(404)
    await office.tell(Alerts(slack=gone.url))
    gone.close()
    await office.tell(Alerts(slack=gone.url))
    failed = [row[3] for row in audit(database) if row[0] == "alert-failed"]
    assert failed == ["slack: the webhook answered 404", "slack: nobody answers there"]
    assert "s3cret" not in caplog.text


async def test_a_webhook_may_be_an_environment_variable_that_is_read_when_an_alert_is_sent(
    office, slack, monkeypatch
):
    alerts = Alerts(slack="${RIG_SLACK_URL}")
    monkeypatch.setenv("RIG_SLACK_URL", slack.url)
    await office.tell(alerts)
    assert [body["text"] for body in slack.bodies] == ["Daily Report failed"]


async def test_a_webhook_whose_variable_is_not_set_is_audited_by_its_name(
    office, database, caplog, monkeypatch
):
    monkeypatch.delenv("RIG_SLACK_URL", raising=False)
    await office.tell(Alerts(slack="${RIG_SLACK_URL}"))
    message = "the environment variable RIG_SLACK_URL is not set, nor a line of .env"
    assert audit(database)[1][3] == f"slack: {message}"
    assert f"was not sent: {message}" in caplog.text


async def test_a_row_of_the_table_cannot_ask_for_a_secret(office, slack, database, monkeypatch):
    monkeypatch.setattr("targcc_scheduler.features.alerts.delivery._TRIES", 1)
    monkeypatch.setenv("RIG_SLACK_URL", slack.url)
    database.change(
        "INSERT INTO c_JobAlert (JobName, AlertOnFailure, SlackWebhook) "
        "VALUES ('DailyReport', 1, '${RIG_SLACK_URL}')"
    )
    await office.tell()
    assert slack.bodies == []
    assert [action for action, *_ in audit(database)] == ["alert", "alert-failed"]


@pytest.fixture
def process_log():
    """Capture the log of a process at level DEBUG, formatted as ``targcc serve`` formats log records."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, levels = root.handlers[:], {None: root.level}
    levels |= {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    configure_logging(Settings(_env_file=None, log_level="DEBUG", log_format="json"), stream)
    yield stream
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


async def test_the_log_at_debug_holds_no_address_of_the_table(
    process_log, office, slack, teams, database
):
    add = "INSERT INTO c_JobAlert (JobName, AlertOnFailure, SlackWebhook, TeamsWebhook) VALUES (?, 1, ?, ?)"
    hooks = [sink.url.replace("/services/T0/", "/hooks/") for sink in (slack, teams)]
    database.change(add, "DailyReport", *hooks)
    await office.tell()
    assert slack.bodies
    assert teams.bodies
    assert "s3cret" not in process_log.getvalue()


class Pager:
    """Alert channel added by this test."""

    name = "mail"

    def __init__(self) -> None:
        self.sent = []

    async def send(self, message, target):
        self.sent.append((message.title, target))


async def test_a_channel_is_found_by_the_name_in_the_rule(mail_settings, database, monkeypatch):
    monkeypatch.setattr("targcc_scheduler.features.alerts.delivery._TRIES", 1)
    pager = Pager()
    office = Office(mail_settings, {"mail": pager})
    await office.tell(Alerts(email=("ops@example.com",), teams="https://teams.example.com/x"))
    await office.engine.dispose()
    assert pager.sent == [("Daily Report failed", "ops@example.com")]
    assert audit(database)[1][3] == "teams: there is no channel teams: mail"


async def test_one_channel_that_fails_keeps_no_other_from_being_told(office, teams, monkeypatch):
    monkeypatch.setattr("targcc_scheduler.features.alerts.delivery._TRIES", 1)
    await office.tell(Alerts(slack=f"http://127.0.0.1:{free_port()}/x", teams=teams.url))
    assert len(teams.bodies) == 1


# End to end: jobs run and nodes send alerts.


@job(JobType.MANUAL, retries=1, backoff="10ms", alerts=Alerts(email=("ops@example.com",)))
def breaks():
    """Fail each time."""
    raise ValueError("no orders")


@job(
    JobType.MANUAL,
    alerts=Alerts(on=("success", "slower than 1s"), email=("ops@example.com",)),
)
def works() -> str:
    """Succeed."""
    return "17 orders"


async def test_a_run_that_failed_for_good_is_told_once_and_not_for_each_attempt(
    make_scheduler, mail_settings, mailbox
):
    scheduler = make_scheduler(settings=mail_settings, notify=None)
    await scheduler.start(schedule=False)
    failed = await scheduler.enqueue("Breaks")
    done = await scheduler.enqueue("Works")
    assert await scheduler.wait(failed, 40) == RunState.FAILED
    assert await scheduler.wait(done, 40) == RunState.SUCCEEDED
    await until(lambda: len(mailbox.mails) == 2)
    by_subject = {mail["Subject"]: plain(mail) for mail in mailbox.mails}
    assert set(by_subject) == {"Breaks failed", "Works succeeded"}
    assert f"{failed}, attempt 2" in by_subject["Breaks failed"]
    assert 'raise ValueError("no orders")' in by_subject["Breaks failed"]
    assert by_subject["Works succeeded"].startswith("17 orders")


async def test_a_job_does_not_wait_for_a_mail_server_that_does_not_answer(
    make_scheduler, database, mail_settings, monkeypatch
):
    monkeypatch.setattr("targcc_scheduler.features.alerts.loops._LAST_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = mail_settings.model_copy(update={"smtp_port": silent.getsockname()[1]})
        scheduler = make_scheduler(settings=settings, notify=None)
        await scheduler.start(schedule=False)
        runs = [await scheduler.enqueue("Works") for _ in range(20)]
        for run_id in runs:
            assert await scheduler.wait(run_id, 5) == RunState.SUCCEEDED
        await until(lambda: database.one("SELECT COUNT(*) FROM c_JobAudit WHERE Action = 'alert'"))
