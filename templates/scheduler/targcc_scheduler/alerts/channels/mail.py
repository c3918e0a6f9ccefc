"""Alerts by mail."""

from __future__ import annotations

from email.message import EmailMessage

from ...core.errors import AlertError
from ...services.smtp import send_by_smtp
from ...settings import Settings
from ..message import Notice


class MailChannel:
    """One plain-text mail to all addresses of the target, which commas separate.

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
        mail = EmailMessage()
        mail["From"] = self._settings.smtp_from
        mail["To"] = target
        mail["Subject"] = message.title
        mail.set_content(mail_text(message))
        await send_by_smtp(self._settings, mail)


def mail_text(message: Notice) -> str:
    """An alert as plain text."""
    width = max(len(name) for name, _ in message.facts)
    facts = [f"{name:<{width}}  {value}" for name, value in message.facts]
    lines = [message.message, "", *facts, "", message.url]
    if message.details:
        lines += ["", message.details]
    return "\n".join(lines) + "\n"
