"""Alerts to Slack."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..message import LONGEST_MESSAGE, Notice

_LONGEST_HEADER = 150  # Slack refuses a longer header,
_LONGEST_BLOCK = 3_000  # a longer text of a section,
_LONGEST_FIELD = 2_000  # a longer field,
_MOST_FIELDS = 10  # more of them,
_MOST_SECTIONS = 20  # more than 50 blocks,
_LONGEST_BUTTON = 75  # a longer text on a button,
_LONGEST_URL = 3_000  # and a longer address behind it
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class SlackChannel:
    """Posts to an incoming webhook of Slack; the target is its URL."""

    name = "slack"

    async def send(self, message: Notice, target: str) -> None:
        """See :class:`~.base.Channel`."""
        from .http import post

        await post(target, slack_body(message))


def slack_body(message: Notice) -> dict[str, Any]:
    """An alert as Slack's blocks, with the title as fallback. Nothing in it is a mention or a link of somebody's own."""
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
        for number, (said, url) in enumerate(section.lines):
            shown = _escaped(said, 300).replace("|", "¦")
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
    """Marked-up text, in which names and addresses stay what they are."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _escaped(text: str, longest: int = _LONGEST_FIELD) -> str:
    """The beginning of a text as Slack shows it word for word, at most so long; no entity is cut in the middle."""
    escaped = _entities(text)
    if len(escaped) <= longest:
        return escaped
    kept, size = 0, 1
    while size + (width := len(_ENTITIES.get(text[kept], "x"))) <= longest:
        kept, size = kept + 1, size + width
    return f"{_entities(text[:kept])}…"


def _escaped_end(text: str, longest: int) -> str:
    """The end of a text, likewise."""
    escaped = _entities(text)
    if len(escaped) <= longest:
        return escaped
    kept, size = len(text), 1
    while size + (width := len(_ENTITIES.get(text[kept - 1], "x"))) <= longest:
        kept, size = kept - 1, size + width
    return f"…{_entities(text[kept:])}"


def _entities(text: str) -> str:
    return "".join(_ENTITIES.get(character, character) for character in text)
