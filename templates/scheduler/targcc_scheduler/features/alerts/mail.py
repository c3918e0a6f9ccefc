"""Alerts by mail."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from html import escape

from ...core.errors import AlertError
from ...core.text import visible
from ...project import current
from ...services.mailer import send_by_smtp
from ...settings import Settings
from .message import Notice

# The mail channel.

_NO_ATOM = re.compile(r"[^A-Za-z0-9._-]+")


class MailChannel:
    """Sends a mail to all comma-separated addresses in the target, as plain text and HTML.

    Mails about the same problem share a conversation. A repeated delivery keeps the Message-ID.

    Args:
        settings: Mail server and sender address.
    """

    name = "mail"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def send(self, message: Notice, target: str) -> None:
        """Send a mail. See :class:`~.channels.Channel`."""
        if not self._settings.smtp_host:
            raise AlertError("no mail server: set TARGCC_SMTP_HOST")
        await send_by_smtp(self._settings, mail_of(message, self._settings.smtp_from, target))


def mail_of(message: Notice, sender: str, target: str) -> EmailMessage:
    """Build the mail of a notice.

    Raises:
        AlertError: an address holds a line break.
    """
    mail = EmailMessage()
    try:
        mail["From"], mail["To"] = sender, target
    except ValueError:  # a line break would inject a header
        raise AlertError("the addresses hold a line break") from None
    domain = _atom(parseaddr(sender)[1].rpartition("@")[2]) or "localhost"
    project = _atom(current().name)
    mail["Subject"] = visible(message.title)
    mail["Date"] = format_datetime(message.at or datetime.now(UTC))
    mail["Message-ID"] = f"<{_atom(message.key)}.{project}@{domain}>"
    if message.thread:
        first = f"<thread.{_atom(message.thread)}.{project}@{domain}>"
        mail["In-Reply-To"], mail["References"] = first, first
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"  # Exchange sends no out-of-office reply
    mail["List-Id"] = f"Alerts of {project} <alerts.{project}.{domain}>"
    mail.set_content(mail_text(message))
    mail.add_alternative(mail_page(message), subtype="html")
    return mail


def _atom(text: str) -> str:
    """Replace characters that mail ids do not allow; return at most 100 characters."""
    return _NO_ATOM.sub("-", text).strip(".-")[:100]


def mail_text(message: Notice) -> str:
    """Render a notice as plain text."""
    lines = [message.message]
    if message.facts:
        width = max(len(name) for name, _ in message.facts)
        lines += ["", *(f"{name:<{width}}  {value}" for name, value in message.facts)]
    for section in message.sections:
        lines += ["", section.title, *(f"  {text}" for text, _ in section.lines)]
    lines += ["", *dict.fromkeys([message.url, *(url for _, url in message.links)])]
    if message.details:
        lines += ["", message.details]
    return visible("\n".join(lines), lines=True) + "\n"


# The HTML part of a mail: small, without external resources. Each text that people wrote has its own direction (``dir="auto"``).

_COLORS = {
    "failure": "#b42318",
    "late": "#b42318",
    "node": "#b42318",
    "unknown": "#b42318",
    "escalation": "#b42318",
    "slow": "#b54708",
    "missed": "#b54708",
    "success": "#067647",
    "recovered": "#067647",
}
_PLAIN_COLOR = "#344054"
_FONT = "font:15px/1.5 -apple-system,'Segoe UI',Roboto,Arial,sans-serif;color:#1d2939"
_BUTTON = (
    "display:inline-block;margin:0 8px 8px 0;padding:7px 14px;border-radius:6px;"
    "background:#1d4ed8;color:#ffffff;text-decoration:none"
)
_PRE = (
    "margin:16px 0 0;padding:12px;border-radius:6px;background:#f2f4f7;"
    "font:13px/1.45 Consolas,Menlo,monospace;white-space:pre-wrap;overflow-wrap:anywhere"
)


def mail_page(message: Notice) -> str:
    """Render a notice as an HTML page."""
    color = _COLORS.get(message.kind, _PLAIN_COLOR)
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{_text(message.title)}</title></head>
<body style="margin:0;padding:16px;background:#ffffff;{_FONT}">
<div style="max-width:640px;margin:0 auto">
<h1 dir="auto" style="margin:0 0 12px;padding:2px 12px;border-inline-start:5px solid {color};font-size:19px">\
{_text(message.title)}</h1>
{"".join(_parts(message))}</div>
</body>
</html>
"""


def _parts(message: Notice) -> Iterable[str]:
    if message.message:
        yield f'<p dir="auto" style="margin:0 0 12px">{_text(message.message)}</p>\n'
    if message.facts:
        rows = "".join(
            f'<tr><th scope="row" style="padding:2px 16px 2px 0;text-align:start;font-weight:normal;color:#667085">'
            f'{_text(name)}</th><td dir="auto" style="padding:2px 0">{_text(value)}</td></tr>\n'
            for name, value in message.facts
        )
        yield f'<table style="border-collapse:collapse;margin:0 0 12px">\n{rows}</table>\n'
    for section in message.sections:
        lines = "".join(_line(text, url) for text, url in section.lines)
        yield (
            f'<h2 style="margin:16px 0 4px;font-size:16px">{_text(section.title)}</h2>\n'
            f'<ul style="margin:0;padding-inline-start:20px">\n{lines}</ul>\n'
        )
    buttons = "".join(
        f'<a href="{_text(url)}" style="{_BUTTON}">{_text(label)}</a>\n'
        for label, url in message.links or (("Open the dashboard", message.url),)
    )
    yield f'<p style="margin:16px 0 0">{buttons}</p>\n'
    if message.details:
        yield f'<pre dir="auto" style="{_PRE}">{_text(message.details, lines=True)}</pre>\n'


def _line(text: str, url: str) -> str:
    shown = (
        f'<a href="{_text(url)}" style="color:#1d4ed8">{_text(text)}</a>' if url else _text(text)
    )
    return f'<li dir="auto">{shown}</li>\n'


def _text(text: str, *, lines: bool = False) -> str:
    return escape(visible(text, lines=lines))
