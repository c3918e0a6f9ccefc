"""Alerts by mail."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

from ...core.errors import AlertError
from ...core.text import visible
from ...project import current
from ...services.smtp import send_by_smtp
from ...settings import Settings
from ..message import Notice

_NO_ATOM = re.compile(r"[^A-Za-z0-9._-]+")


class MailChannel:
    """One mail to all addresses of the target, which commas separate: plain text, and the same as a page.

    Mails about the same failure belong to one conversation. A mail that is sent again has the same Message-ID.

    Args:
        settings: Names the mail server and the sender.
    """

    name = "mail"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def send(self, message: Notice, target: str) -> None:
        """See :class:`~.base.Channel`."""
        if not self._settings.smtp_host:
            raise AlertError("no mail server: set TARGCC_SMTP_HOST")
        await send_by_smtp(self._settings, mail_of(message, self._settings.smtp_from, target))


def mail_of(message: Notice, sender: str, target: str) -> EmailMessage:
    """An alert as a mail.

    Raises:
        AlertError: an address holds a line break.
    """
    from .mail_page import mail_page  # the entities of HTML are large

    mail = EmailMessage()
    try:
        mail["From"], mail["To"] = sender, target
    except ValueError:  # would be a header of somebody's own
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
    mail["X-Auto-Response-Suppress"] = "All"  # Exchange: nobody is out of the office to a machine
    mail["List-Id"] = f"Alerts of {project} <alerts.{project}.{domain}>"
    mail.set_content(mail_text(message))
    mail.add_alternative(mail_page(message), subtype="html")
    return mail


def _atom(text: str) -> str:
    """What may stand in the ids of a mail."""
    return _NO_ATOM.sub("-", text).strip(".-")[:100]


def mail_text(message: Notice) -> str:
    """An alert as plain text."""
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
