"""Mail that jobs send."""

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

# Sending a message through the mail server that the settings name.

_TIMEOUT_SECONDS = 60
_START_TLS = {"starttls": True, "auto": None}  # None: if the server offers it


async def send_by_smtp(settings: Settings, message: EmailMessage) -> None:
    """Send ``message`` through ``TARGCC_SMTP_HOST``; each call makes a connection of its own.

    Raises:
        aiosmtplib.SMTPException: the server refused it, or does not answer within a minute.
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


# Mail that jobs send.


class Mailer:
    """Sends mail through ``TARGCC_SMTP_HOST``; while that is empty, writes it into a folder.

    Args:
        settings: Names the mail server and the sender.
        outbox: The folder; made when needed.
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
            text: The message; also what readers without HTML see.
            html: The same as HTML.
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
