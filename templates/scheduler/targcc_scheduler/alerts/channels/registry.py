"""The channels there are."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from ...core.errors import ProjectError
from ...settings import Settings
from .base import Channel
from .mail import MailChannel
from .slack import SlackChannel
from .teams import TeamsChannel
from .webhook import WebhookChannel


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
