"""Contract of an alert channel, tested for each built-in channel."""

import logging
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from alert_sinks import WebhookSink, plain
from targcc_scheduler import Settings
from targcc_scheduler.core.errors import AlertError, ProjectError
from targcc_scheduler.features.alerts.channels import make_channels, standard_channels
from targcc_scheduler.features.alerts.message import Notice
from targcc_scheduler.features.triage import loops as triage_loops

NOTICE = Notice(
    kind="failure",
    job="DailyReport",
    run_id=7,
    title="Daily Report failed",
    facts=(("Job", "DailyReport"), ("Run", "7, attempt 1")),
    message="ValueError: no orders",
    details="Traceback: line 12",
    url="https://jobs.example.com/jobs/runs/7",
    links=(("Open the run", "https://jobs.example.com/jobs/runs/7"),),
    thread="3f2504e04f8911d3",
)
NAMES = ["mail", "slack", "teams", "webhook"]
PAGE = Path(__file__).parents[3] / "docs" / "alerts.md"
SAID = [NOTICE.title, NOTICE.message, NOTICE.details, NOTICE.url, "7, attempt 1"]


class Receiver:
    """Receiver behind a channel: a web server or a mail server."""

    def __init__(self, name, hook, mail_server):
        self.is_mail = name == "mail"
        self._hook = hook
        self._mailbox = mail_server.handler
        settings = Settings(_env_file=None, smtp_host="127.0.0.1", smtp_port=mail_server.port)
        self.channel = make_channels(settings, {"ntfy": "ntfy_of_the_manual:NtfyChannel"})[name]
        self.target = "ops@example.com" if self.is_mail else hook.url

    def texts(self):
        """Return the received messages as texts."""
        if not self.is_mail:
            return [str(body) for body in self._hook.bodies]
        return [f"{mail['Subject']}\n{plain(mail)}" for mail in self._mailbox.mails]


@pytest.fixture(params=[*NAMES, "ntfy"])
def receiver(request, slack, mail_server, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "ntfy_of_the_manual.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ntfy_of_the_manual", raising=False)
    return Receiver(request.param, slack, mail_server)


def test_there_is_a_channel_for_each_name_a_rule_can_say():
    channels = standard_channels(Settings(_env_file=None))
    assert {name: channel.name for name, channel in channels.items()} == {n: n for n in NAMES}


async def test_an_alert_arrives_with_all_it_says(receiver):
    await receiver.channel.send(NOTICE, receiver.target)
    (text,) = receiver.texts()
    assert [part for part in SAID if part not in text] == []


async def test_a_channel_sends_again_when_it_is_asked_again(receiver):
    await receiver.channel.send(NOTICE, receiver.target)
    await receiver.channel.send(NOTICE, receiver.target)
    assert len(receiver.texts()) == 2


async def test_a_refusal_is_an_error_that_does_not_hold_the_address(receiver):
    if receiver.is_mail:
        return  # test_alerts tests the errors of mail servers
    sink = WebhookSink(404)
    with pytest.raises(AlertError, match=r"^(the webhook|ntfy) answered 404$"):
        await receiver.channel.send(NOTICE, sink.url)
    sink.close()


def test_an_own_channel_that_is_not_there_is_said_by_its_name():
    with pytest.raises(ProjectError, match=r"the alert channel sms is 'no\.such:Sms'"):
        make_channels(Settings(_env_file=None), {"sms": "no.such:Sms"})


async def test_mail_needs_a_server():
    channel = standard_channels(Settings(_env_file=None))["mail"]
    with pytest.raises(AlertError, match="TARGCC_SMTP_HOST"):
        await channel.send(NOTICE, "ops@example.com")


async def test_a_webhook_gets_a_plain_json_object(slack):
    await standard_channels(Settings(_env_file=None))["webhook"].send(NOTICE, slack.url)
    assert slack.bodies == [
        {
            "id": NOTICE.key,
            "thread": "3f2504e04f8911d3",
            "event": "failure",
            "job": "DailyReport",
            "run_id": 7,
            "title": "Daily Report failed",
            "message": "ValueError: no orders",
            "details": "Traceback: line 12",
            "facts": {"Job": "DailyReport", "Run": "7, attempt 1"},
            "sections": {},
            "url": "https://jobs.example.com/jobs/runs/7",
            "links": {"Open the run": "https://jobs.example.com/jobs/runs/7"},
        }
    ]


async def test_the_log_of_httpx_is_left_alone_and_shows_no_path_of_a_webhook(slack, caplog):
    caplog.set_level(logging.INFO, "httpx")
    await standard_channels(Settings(_env_file=None))["slack"].send(NOTICE, slack.url)
    assert logging.getLogger("httpx").filters == []
    assert "HTTP Request: POST http://127.0.0.1/" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_ping_that_is_sent_on_shows_neither_path(caplog):
    """Treat the path of a ping URL as a password, and the path of its redirect target too."""
    paths = []

    class Sends(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(200 if "next" in self.path else 302)
            self.send_header("Location", "/hooks/s3cret-next")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Suppress the request log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Sends)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        with caplog.at_level(logging.INFO, "httpx"):
            await triage_loops._fetch(f"http://127.0.0.1:{server.server_port}/hooks/s3cret-first")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert paths == ["/hooks/s3cret-first", "/hooks/s3cret-next"]
    assert caplog.text.count("HTTP Request") == 2
    assert "s3cret" not in caplog.text
