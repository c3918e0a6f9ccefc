"""Mail service for jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from mimetypes import guess_type
from pathlib import Path
from uuid import uuid4

from ..core import owner_only
from ..settings import Settings

# Send a message through the mail server in the settings.

_TIMEOUT_SECONDS = 60
_START_TLS = {"starttls": True, "auto": None}  # None: use STARTTLS when the server offers STARTTLS


async def send_by_smtp(settings: Settings, message: EmailMessage) -> None:
    """Send ``message`` through ``TARGCC_SMTP_HOST``; each call opens a new connection.

    Raises:
        aiosmtplib.SMTPException: the server refused the message, or does not answer within a minute.
    """
    import aiosmtplib

    await aiosmtplib.send(
        message,
        hostname=settings.smtp_host,
        port=settings.smtp_port,
        username=settings.smtp_user or None,
        password=settings.smtp_password.get_secret_value() or None,
        use_tls=settings.smtp_tls == "tls",
        start_tls=_START_TLS.get(settings.smtp_tls, False),
        timeout=_TIMEOUT_SECONDS,
    )


# The service that jobs receive.


class Mailer:
    """Send mail through ``TARGCC_SMTP_HOST``; while the setting is empty, write the messages to a folder.

    Args:
        settings: The settings; include the mail server and the sender.
        outbox: The folder; created when needed.
    """

    def __init__(self, settings: Settings, outbox: Path) -> None:
        self._settings = settings
        self._outbox = outbox

    async def send(
        self,
        to: Sequence[str],
        subject: str,
        text: str,
        *,
        html: str | None = None,
        attachments: Mapping[str, bytes] | None = None,
    ) -> None:
        """Send one message to all of ``to``.

        Args:
            to: Mail addresses.
            subject: One line.
            text: The message as plain text, for readers without HTML.
            html: The same message as HTML.
            attachments: File names and contents.
        """
        message = EmailMessage()
        message["From"] = self._settings.smtp_from
        message["To"] = ", ".join(to)
        message["Subject"] = subject
        message.set_content(text)
        if html is not None:
            message.add_alternative(html, subtype="html")
        for name, content in (attachments or {}).items():
            main, _, sub = (guess_type(name)[0] or "application/octet-stream").partition("/")
            message.add_attachment(content, maintype=main, subtype=sub, filename=name)
        await self._deliver(message)

    async def _deliver(self, message: EmailMessage) -> None:
        if self._settings.smtp_host:
            await send_by_smtp(self._settings, message)
        else:
            await asyncio.to_thread(self._keep, message)

    def _keep(self, message: EmailMessage) -> None:
        self._outbox.mkdir(parents=True, exist_ok=True)
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid4().hex[:8]}.eml"
        owner_only.create(self._outbox / name)
        (self._outbox / name).write_bytes(bytes(message))
