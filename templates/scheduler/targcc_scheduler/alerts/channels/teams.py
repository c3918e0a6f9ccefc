"""Alerts to Microsoft Teams."""

from __future__ import annotations

from typing import Any

from ..message import Notice

_COLORS = {"failure": "attention", "success": "good", "slow": "warning", "missed": "warning"}


class TeamsChannel:
    """Posts to a Power Automate workflow that posts to Teams; the target is its URL."""

    name = "teams"

    async def send(self, message: Notice, target: str) -> None:
        """See :class:`~.base.Channel`."""
        from .http import post

        await post(target, teams_body(message))


def teams_body(message: Notice) -> dict[str, Any]:
    """An alert as a message with an Adaptive Card, which a workflow takes."""
    title = {"text": message.title, "weight": "Bolder", "size": "Medium"}
    facts = [{"title": name, "value": value} for name, value in message.facts]
    body: list[dict[str, Any]] = [
        {"type": "TextBlock", **title, "color": _COLORS[message.kind], "wrap": True},
        {"type": "TextBlock", "text": message.message or " ", "wrap": True},
        {"type": "FactSet", "facts": facts},
    ]
    if message.details:
        details = {"text": message.details, "fontType": "Monospace", "wrap": True}
        body.append({"type": "TextBlock", **details})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": "Open the run", "url": message.url}],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}
