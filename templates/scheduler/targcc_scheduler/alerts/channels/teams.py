"""Alerts to Microsoft Teams."""

from __future__ import annotations

import re
from typing import Any

from ..message import LONGEST_DETAILS, LONGEST_MESSAGE, Notice, ending, shortened

_COLORS = {"success": "good", "recovered": "good", "slow": "warning", "missed": "warning"}
_COLORS |= dict.fromkeys(("failure", "late", "node", "unknown", "escalation"), "attention")
_MARKUP = re.compile(r"[\\`*_\[\]<>#~|!&]")
_BEGINS_A_LIST = re.compile(r"^([^\S\n]*+)([-+=]|\d++(?=[.)]))", re.MULTILINE)
_MOST_LINES = 8
_MOST_SECTIONS = 6  # Teams refuses a message of more than 28 kB
_LONGEST_FACT = 500
_LONGEST_LINE = 150


class TeamsChannel:
    """Posts to a Power Automate workflow that posts to Teams; the target is its URL."""

    name = "teams"

    async def send(self, message: Notice, target: str) -> None:
        """See :class:`~.base.Channel`."""
        from .http import post

        await post(target, teams_body(message))


def teams_body(message: Notice) -> dict[str, Any]:
    """An alert as a message with an Adaptive Card, which a workflow takes. No text in it is Markdown of somebody's own."""
    title = {"text": _escaped(message.title), "weight": "Bolder", "size": "Medium"}
    body = [
        _block(**title, color=_COLORS.get(message.kind, "default")),
        _block(text=_escaped(shortened(message.message, LONGEST_MESSAGE)) or " "),
    ]
    if message.facts:
        facts = [
            {"title": _escaped(name), "value": _escaped(shortened(value, _LONGEST_FACT))}
            for name, value in message.facts
        ]
        body.append({"type": "FactSet", "facts": facts})
    for section in message.sections[:_MOST_SECTIONS]:
        body.append(_block(text=_escaped(section.title), weight="Bolder", spacing="Medium"))
        shown = [_escaped(shortened(text, _LONGEST_LINE)) for text, _ in section.lines]
        if len(shown) > _MOST_LINES:
            shown[_MOST_LINES:] = [f"…and {len(shown) - _MOST_LINES} more"]
        body += [_block(text=line, spacing="None") for line in shown]
    if message.details:
        body.append(
            _block(text=_escaped(ending(message.details, LONGEST_DETAILS)), fontType="Monospace")
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


def _escaped(text: str) -> str:
    """A text that Markdown leaves as it is."""
    escaped = _MARKUP.sub(lambda found: f"\\{found[0]}", text)
    return _BEGINS_A_LIST.sub(_not_a_list, escaped)


def _not_a_list(found: re.Match[str]) -> str:
    blank, sign = found.groups()
    return f"{blank}{sign}\\" if sign[0].isdigit() else f"{blank}\\{sign}"
