"""Mail that jobs send."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from mimetypes import guess_type
from pathlib import Path
from uuid import uuid4

from ..core.files import owner_only
from ..settings import Settings
from .smtp import send_by_smtp


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
