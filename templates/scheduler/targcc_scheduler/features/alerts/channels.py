"""Alert channels: the interface, the channels by name, and the channels for Slack, Microsoft Teams and plain webhooks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, Protocol

from ...core.errors import ProjectError
from ...settings import Settings
from .mail import MailChannel
from .message import LONGEST_DETAILS, LONGEST_MESSAGE, Notice, ending, shortened

# Alert channels for Slack, Microsoft Teams and plain webhooks.

# The Slack channel. The constants are Slack's limits, in characters where not stated otherwise.

_LONGEST_HEADER = 150  # text of a header
_LONGEST_BLOCK = 3_000  # text of a section
_LONGEST_FIELD = 2_000  # text of a field
_MOST_FIELDS = 10  # fields per section
_MOST_SECTIONS = 20  # our limit; Slack refuses more than 50 blocks
_LONGEST_BUTTON = 75  # text of a button
_LONGEST_URL = 3_000  # address of a button
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class SlackChannel:
    """Posts alerts to an incoming webhook of Slack; the target is the webhook's URL."""

    name = "slack"

    async def send(self, message: Notice, target: str) -> None:
        """Post to Slack. See :class:`Channel`."""
        from ...core.http_post import post

        await post(target, slack_body(message))


def slack_body(message: Notice) -> dict[str, Any]:
    """Render a notice as Slack blocks, with the title as fallback text. Texts are escaped: mentions and links in a text have no effect."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(message.title, _LONGEST_HEADER)}
    ]
    if message.message:
        blocks.append({"type": "section", "text": _plain(message.message, LONGEST_MESSAGE)})
    if message.facts:
        fields = [
            _markdown(f"*{_escaped(name)}*\n{_escaped(value, _LONGEST_FIELD - 200)}")
            for name, value in message.facts[:_MOST_FIELDS]
        ]
        blocks.append({"type": "section", "fields": fields})
    blocks += _sections(message)
    if message.details:
        quoted = _escaped_end(message.details.replace("```", "'''"), _LONGEST_BLOCK - 6)
        blocks.append({"type": "section", "text": _markdown(f"```{quoted}```")})
    buttons = [_button(*link) for link in message.links if len(link[1]) <= _LONGEST_URL]
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    return {"text": _escaped(message.title, _LONGEST_BLOCK), "blocks": blocks}


def _sections(message: Notice) -> Iterable[dict[str, Any]]:
    for section in message.sections[:_MOST_SECTIONS]:
        text = f"*{_escaped(section.title, LONGEST_MESSAGE)}*"
        for number, (label, url) in enumerate(section.lines):
            shown = _escaped(label, 300).replace("|", "¦")
            line = f"\n• <{_escaped(url)}|{shown}>" if url else f"\n• {shown}"
            rest = f"\n…and {len(section.lines) - number} more"
            if len(text) + len(line) + len(rest) > _LONGEST_BLOCK:
                text += rest
                break
            text += line
        yield {"type": "section", "text": _markdown(text)}


def _button(label: str, url: str) -> dict[str, Any]:
    text = {"type": "plain_text", "text": _escaped(label, _LONGEST_BUTTON)}
    return {"type": "button", "text": text, "url": url, "action_id": label}


def _plain(text: str, longest: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": _escaped(text, longest), "emoji": False}


def _markdown(text: str) -> dict[str, Any]:
    """Return a ``mrkdwn`` text object. ``verbatim`` stops Slack from linking names and addresses."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _escaped(text: str, longest: int = _LONGEST_FIELD) -> str:
    """Escape a text for Slack and cut its end at ``longest`` characters, not inside an entity."""
    escaped = _entities(text)
    if len(escaped) <= longest:
        return escaped
    kept, size = 0, 1
    while size + (width := len(_ENTITIES.get(text[kept], "x"))) <= longest:
        kept, size = kept + 1, size + width
    return f"{_entities(text[:kept])}…"


def _escaped_end(text: str, longest: int) -> str:
    """Escape a text for Slack and cut its beginning at ``longest`` characters, not inside an entity."""
    escaped = _entities(text)
    if len(escaped) <= longest:
        return escaped
    kept, size = len(text), 1
    while size + (width := len(_ENTITIES.get(text[kept - 1], "x"))) <= longest:
        kept, size = kept - 1, size + width
    return f"…{_entities(text[kept:])}"


def _entities(text: str) -> str:
    return "".join(_ENTITIES.get(character, character) for character in text)


# The Microsoft Teams channel.

_COLORS = {"success": "good", "recovered": "good", "slow": "warning", "missed": "warning"}
_COLORS |= dict.fromkeys(("failure", "late", "node", "unknown", "escalation"), "attention")
_MARKUP = re.compile(r"[\\`*_\[\]<>#~|!&]")
_BEGINS_A_LIST = re.compile(r"^([^\S\n]*+)([-+=]|\d++(?=[.)]))", re.MULTILINE)
_MOST_LINES = 8
_MOST_TEAMS_SECTIONS = 6  # Teams refuses a message of more than 28 kB
_LONGEST_FACT = 500
_LONGEST_LINE = 150


class TeamsChannel:
    """Posts alerts to a Power Automate workflow, which posts to Teams; the target is the workflow's URL."""

    name = "teams"

    async def send(self, message: Notice, target: str) -> None:
        """Post to a Teams workflow. See :class:`Channel`."""
        from ...core.http_post import post

        await post(target, teams_body(message))


def teams_body(message: Notice) -> dict[str, Any]:
    """Render a notice as a message with an Adaptive Card, for a workflow. Texts are escaped: Markdown in a text has no effect."""
    title = {"text": _escaped_for_teams(message.title), "weight": "Bolder", "size": "Medium"}
    body = [
        _block(**title, color=_COLORS.get(message.kind, "default")),
        _block(text=_escaped_for_teams(shortened(message.message, LONGEST_MESSAGE)) or " "),
    ]
    if message.facts:
        facts = [
            {
                "title": _escaped_for_teams(name),
                "value": _escaped_for_teams(shortened(value, _LONGEST_FACT)),
            }
            for name, value in message.facts
        ]
        body.append({"type": "FactSet", "facts": facts})
    for section in message.sections[:_MOST_TEAMS_SECTIONS]:
        body.append(
            _block(text=_escaped_for_teams(section.title), weight="Bolder", spacing="Medium")
        )
        shown = [_escaped_for_teams(shortened(text, _LONGEST_LINE)) for text, _ in section.lines]
        if len(shown) > _MOST_LINES:
            shown[_MOST_LINES:] = [f"…and {len(shown) - _MOST_LINES} more"]
        body += [_block(text=line, spacing="None") for line in shown]
    if message.details:
        body.append(
            _block(
                text=_escaped_for_teams(ending(message.details, LONGEST_DETAILS)),
                fontType="Monospace",
            )
        )
    links = message.links or (("Open the dashboard", message.url),)
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": label, "url": url} for label, url in links],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _block(**said: Any) -> dict[str, Any]:
    return {"type": "TextBlock", **said, "wrap": True}


def _escaped_for_teams(text: str) -> str:
    """Escape Markdown in a text."""
    escaped = _MARKUP.sub(lambda found: f"\\{found[0]}", text)
    return _BEGINS_A_LIST.sub(_not_a_list, escaped)


def _not_a_list(match: re.Match[str]) -> str:
    blank, sign = match.groups()
    return f"{blank}{sign}\\" if sign[0].isdigit() else f"{blank}\\{sign}"


# The webhook channel: alerts as plain JSON.


class WebhookChannel:
    """Posts the alert as a plain JSON object; the target is the URL."""

    name = "webhook"

    async def send(self, message: Notice, target: str) -> None:
        """Post JSON. See :class:`Channel`."""
        from ...core.http_post import post

        await post(target, webhook_body(message))


def webhook_body(message: Notice) -> dict[str, Any]:
    """Render a notice as a JSON object.

    * ``event``: failure, success, slow, missed, late, node, unknown, recovered, escalation, held, digest or test.
    * ``run_id``: null when there is no run.
    * ``id``: key of the notice; a repeated delivery keeps the id.
    * ``thread``: key that all alerts about the same problem share.
    """
    return {
        "id": message.key,
        "thread": message.thread,
        "event": message.kind,
        "job": message.job,
        "run_id": message.run_id,
        "title": message.title,
        "message": message.message,
        "details": message.details,
        "facts": dict(message.facts),
        "sections": {
            section.title: [text for text, _ in section.lines] for section in message.sections
        },
        "url": message.url,
        "links": dict(message.links),
    }


# Alert channels: the interface, and the channels by name.

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
