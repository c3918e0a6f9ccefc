"""Local alert receivers: a web server and a mail server."""

import json
import socket
import threading
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class WebhookSink:
    """Accept JSON posts and answer like Slack or a Teams workflow."""

    def __init__(self, status: int) -> None:
        self.bodies = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                sink.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Suppress the request log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/T0/s3cret-hook"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def plain(mail):
    """Return the plain-text body of a mail."""
    return mail.get_body(("plain",)).get_content().replace("\r\n", "\n")


class Mailbox:
    """SMTP handler that keeps every received mail."""

    def __init__(self) -> None:
        self.mails = []
        self.recipients = []

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - aiosmtpd calls it so
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        self.recipients.append(envelope.rcpt_tos)
        return "250 OK"


@pytest.fixture
def slack():
    sink = WebhookSink(200)
    yield sink
    sink.close()


@pytest.fixture
def teams():
    sink = WebhookSink(202)
    yield sink
    sink.close()


def refuse(_server, _session, _envelope, _mechanism, _data):
    return AuthResult(success=False, handled=False, message="535 Authentication failed")


@pytest.fixture
def mail_server():
    controller = Controller(
        Mailbox(),
        hostname="127.0.0.1",
        port=free_port(),
        authenticator=refuse,
        auth_require_tls=False,
    )
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture
def mailbox(mail_server):
    return mail_server.handler


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
