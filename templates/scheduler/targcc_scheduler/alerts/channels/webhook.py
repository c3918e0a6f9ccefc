"""Alerts as JSON to any web address."""

from __future__ import annotations

from typing import Any

from ..message import Notice


class WebhookChannel:
    """Posts the alert as a plain JSON object; the target is the URL."""

    name = "webhook"

    async def send(self, message: Notice, target: str) -> None:
        """See :class:`~.base.Channel`."""
        from .http import post

        await post(target, webhook_body(message))


def webhook_body(message: Notice) -> dict[str, Any]:
    """An alert as a JSON object.

    ``event`` is failure, success, slow, missed, late, node, unknown, recovered, escalation, held, digest or test; ``run_id`` is null when
    there is no run; ``id`` is the same each time that it is sent, ``thread`` that of all alerts about the same.
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
