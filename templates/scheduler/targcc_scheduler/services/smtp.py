"""Sending a message through the mail server that the settings name."""

from __future__ import annotations

from email.message import EmailMessage

from ..settings import Settings

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
