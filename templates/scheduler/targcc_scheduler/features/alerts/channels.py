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

# What an alert channel is.


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


# The channels there are.


def make_channels(settings: Settings, own: Mapping[str, str]) -> Mapping[str, Channel]:
    """The standard channels, and a project's own.

    Args:
        settings: For all of them.
        own: ``module:name`` of what makes each own channel from the settings: a class, or a function.

    Raises:
        ProjectError: there is no such module or name.
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
    """The channels by the names that rules call them."""
    channels: list[Channel] = [
        MailChannel(settings),
        SlackChannel(),
        TeamsChannel(),
        WebhookChannel(),
    ]
    return {channel.name: channel for channel in channels}
