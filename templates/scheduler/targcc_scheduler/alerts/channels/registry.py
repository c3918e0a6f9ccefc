"""The channels there are."""

from __future__ import annotations

from collections.abc import Mapping

from ...settings import Settings
from .base import Channel
from .mail import MailChannel
from .slack import SlackChannel
from .teams import TeamsChannel
from .webhook import WebhookChannel


def standard_channels(settings: Settings) -> Mapping[str, Channel]:
    """The channels by the names that rules call them."""
    channels: list[Channel] = [
        MailChannel(settings),
        SlackChannel(),
        TeamsChannel(),
        WebhookChannel(),
    ]
    return {channel.name: channel for channel in channels}
