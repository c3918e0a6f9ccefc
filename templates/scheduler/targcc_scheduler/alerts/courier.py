"""Bringing one message to one recipient, by the channel that the rule names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ..core.errors import AlertError, SecretError
from ..core.secrets import know, mask, resolve
from .channels.base import Channel
from .message import Notice, one_line
from .policy import Target

_TRIES = 3
_TIMEOUT_SECONDS = 15


class Courier:
    """Brings messages.

    Args:
        channels: The channels by name.
    """

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self.channels = channels

    async def bring(self, notice: Notice, target: Target, tries: int | None = None) -> str | None:
        """Send a message, and again when that fails; ``None``, or why it could not be sent: without an address, which may be a password."""
        reason = ""
        tries = _TRIES if tries is None else tries
        for attempt in range(1, tries + 1):
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    await self._send(notice, target)
            except Exception as error:  # noqa: BLE001 - the scheduler goes on
                reason = _reason(error)
                if isinstance(error, SecretError):  # trying again changes nothing
                    break
                if attempt < tries:
                    await asyncio.sleep(2**attempt / 4)
            else:
                return None
        return f"{target.channel}: {reason}"

    async def _send(self, notice: Notice, target: Target) -> None:
        channel = self.channels.get(target.channel)
        if channel is None:
            raise AlertError(f"there is no channel {target.channel}: {', '.join(self.channels)}")
        address = resolve(target.address) if target.from_code else target.address
        if "://" in address:
            know(address)  # a webhook's address is a password
        await channel.send(notice, address)


def _reason(error: Exception) -> str:
    """What went wrong, without the address: a webhook's URL is a password."""
    if isinstance(error, AlertError | SecretError):
        return mask(str(error))
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "no answer in time"
    code, message = getattr(error, "code", None), getattr(error, "message", None)
    if isinstance(code, int) and isinstance(message, str):
        return one_line(mask(f"the mail server answered {code} {message}"))
    return "nobody answers there" if "Connect" in type(error).__name__ else type(error).__name__
