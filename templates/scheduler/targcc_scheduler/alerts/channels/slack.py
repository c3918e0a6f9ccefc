"""Alerts to Slack."""

from __future__ import annotations

from typing import Any

from ..message import LONGEST_DETAILS, Notice

_LONGEST_TITLE = 150  # Slack refuses a longer header


class SlackChannel:
    """Posts to an incoming webhook of Slack; the target is its URL."""

    name = "slack"

    async def send(self, message: Notice, target: str) -> None:
        """See :class:`~.base.Channel`."""
        from .http import post

        await post(target, slack_body(message))


def slack_body(message: Notice) -> dict[str, Any]:
    """An alert as Slack's blocks, with the title as fallback."""
    title = {"type": "plain_text", "text": message.title[:_LONGEST_TITLE]}
    blocks: list[dict[str, Any]] = [{"type": "header", "text": title}]
    if message.message:
        text = {"type": "plain_text", "text": message.message[:LONGEST_DETAILS]}
        blocks.append({"type": "section", "text": text})
    blocks.append(
        {
            "type": "section",
            "fields": [_markdown(f"*{name}*\n{_escape(value)}") for name, value in message.facts],
        }
    )
    if message.details:
        quoted = _escape(message.details).replace("```", "'''")[-LONGEST_DETAILS:]
        blocks.append({"type": "section", "text": _markdown(f"```{quoted}```")})
    blocks.append({"type": "context", "elements": [_markdown(f"<{message.url}|Open the run>")]})
    return {"text": message.title, "blocks": blocks}


def _markdown(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
