"""What an alert channel is."""

from __future__ import annotations

from typing import Protocol

from ..message import Notice


class Channel(Protocol):
    """A way to send alerts.

    Attributes:
        name: How rules call it, such as ``slack``; logs and the audit too.
    """

    @property
    def name(self) -> str:
        """How rules call it, such as ``slack``."""

    async def send(self, message: Notice, target: str) -> None:
        """Send one alert; called again after a failure, so it must not retry by itself.

        Args:
            message: What to say; the channel gives it its own form.
            target: Where to, as the rule says: addresses, or a webhook's URL.

        Raises:
            AlertError: it was refused; the text holds no secret.
            Exception: anything else that went wrong; only its kind is logged.
        """
