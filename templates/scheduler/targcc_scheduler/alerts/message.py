"""What an alert says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ..schedules import format_duration
from .events import AlertEvent, AlertKind

_DETAILS_LENGTH = 2_500  # Slack refuses a block of more than 3,000 characters
_VERBS = {"failure": "failed", "success": "succeeded", "slow": "was slow", "missed": "was missed"}
_COLORS = {"failure": "attention", "success": "good", "slow": "warning", "missed": "warning"}


@dataclass(frozen=True)
class Notice:
    """What is said, before it takes the form of a channel."""

    title: str
    facts: tuple[tuple[str, str], ...]
    message: str
    details: str
    url: str
    color: str

    @classmethod
    def about(
        cls,
        event: AlertEvent,
        kind: AlertKind,
        url: str,
        *,
        held_back: int,
        slower_than_ms: int | None,
    ) -> Notice:
        """The notice for an event.

        Args:
            event: What happened.
            kind: What is told about it.
            url: The run on the dashboard.
            held_back: How many alerts about this job were not sent since the last one.
            slower_than_ms: The time it was to stay within, in an alert that says it did not.
        """
        facts = [("Job", event.definition.name)]
        if event.run_id is not None:
            facts.append(("Run", f"{event.run_id}, attempt {event.attempt}"))
        if event.scheduled_for is not None:
            facts.append(("Scheduled for", event.scheduled_for.isoformat(" ", "seconds")))
        if event.duration_ms is not None:
            facts.append(("Took", _duration(event.duration_ms)))
        if slower_than_ms is not None:
            facts.append(("Expected", f"at most {_duration(slower_than_ms)}"))
        if event.server:
            facts.append(("Server", event.server))
        if held_back:
            facts.append(("Not sent", f"{held_back} alerts before this one (limit per hour)"))
        return cls(
            title=one_line(f"{event.definition.display_name} {_VERBS[kind]}"),
            facts=tuple(facts),
            message=event.message,
            details=event.details[-_DETAILS_LENGTH:],
            url=url,
            color=_COLORS[kind],
        )

    def as_text(self) -> str:
        """Plain text, for mail."""
        width = max(len(name) for name, _ in self.facts)
        lines = [self.message, "", *(f"{name:<{width}}  {value}" for name, value in self.facts)]
        lines += ["", self.url]
        if self.details:
            lines += ["", self.details]
        return "\n".join(lines) + "\n"

    def for_slack(self) -> dict[str, Any]:
        """Slack's blocks, with the title as fallback."""
        blocks: list[dict[str, Any]] = [
            {"type": "header", "text": {"type": "plain_text", "text": self.title[:150]}},
        ]
        if self.message:
            text = {"type": "plain_text", "text": self.message[:_DETAILS_LENGTH]}
            blocks.append({"type": "section", "text": text})
        fields = [
            {"type": "mrkdwn", "text": f"*{name}*\n{_escape(value)}"} for name, value in self.facts
        ]
        blocks.append({"type": "section", "fields": fields})
        if self.details:
            quoted = _escape(self.details).replace("```", "'''")[-_DETAILS_LENGTH:]
            code = f"```{quoted}```"
            blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": code}})
        link = f"<{self.url}|Open the run>"
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": link}]})
        return {"text": self.title, "blocks": blocks}

    def for_teams(self) -> dict[str, Any]:
        """A message with an Adaptive Card, as a Power Automate workflow takes it."""
        body: list[dict[str, Any]] = [
            {
                "type": "TextBlock",
                "text": self.title,
                "weight": "Bolder",
                "size": "Medium",
                "color": self.color,
                "wrap": True,
            },
            {"type": "TextBlock", "text": self.message or " ", "wrap": True},
            {
                "type": "FactSet",
                "facts": [{"title": name, "value": value} for name, value in self.facts],
            },
        ]
        if self.details:
            body.append(
                {"type": "TextBlock", "text": self.details, "fontType": "Monospace", "wrap": True}
            )
        card = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": body,
            "actions": [{"type": "Action.OpenUrl", "title": "Open the run", "url": self.url}],
        }
        attachment = {
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": None,
            "content": card,
        }
        return {"type": "message", "attachments": [attachment]}


def _duration(milliseconds: int) -> str:
    return format_duration(timedelta(milliseconds=milliseconds))


def one_line(text: str) -> str:
    """A text on one line, each run of white space a blank."""
    return " ".join(text.split())


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
