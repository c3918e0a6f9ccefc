"""Alert channels: the interface, and the channels by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol

from ...core.errors import ProjectError
from ...settings import Settings
from .chat import SlackChannel, TeamsChannel, WebhookChannel
from .mail import MailChannel
from .message import Notice

# The interface of a channel.


class Channel(Protocol):
    """A way to send alerts.

    Attributes:
        name: Name of the channel in rules, logs and the audit, such as ``slack``.
    """

    @property
    def name(self) -> str:
        """Return the channel's name in rules, such as ``slack``."""

    async def send(self, message: Notice, target: str) -> None:
        """Send one alert. The caller retries after a failure, so a channel must not retry.

        Args:
            message: The notice to render and send.
            target: Recipient from the rule: addresses, or a webhook's URL.

        Raises:
            AlertError: the recipient refused the alert; the text holds no secret.
            Exception: any other failure; only the type's name is logged.
        """


# The registry of channels.


def make_channels(settings: Settings, own: Mapping[str, str]) -> Mapping[str, Channel]:
    """Build the standard channels and the project's own channels.

    Args:
        settings: Settings for all channels.
        own: Maps a channel's name to ``module:name``, a class or function that builds the channel from the settings.

    Raises:
        ProjectError: a module or name cannot be imported.
    """
    return {
        **standard_channels(settings),
        **{name: _own(name, place, settings) for name, place in own.items()},
    }


def _own(name: str, place: str, settings: Settings) -> Channel:
    module, _, attribute = place.partition(":")
    try:
        make = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ProjectError(
            f"the alert channel {name} is {place!r}, and that cannot be imported: {error}"
        ) from error
    channel: Channel = make(settings)
    return channel


def standard_channels(settings: Settings) -> Mapping[str, Channel]:
    """Return the standard channels by name."""
    channels: list[Channel] = [
        MailChannel(settings),
        SlackChannel(),
        TeamsChannel(),
        WebhookChannel(),
    ]
    return {channel.name: channel for channel in channels}
