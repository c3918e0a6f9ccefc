"""Event stream of one batch or flow: its state, progress and end."""

from __future__ import annotations

from typing import Literal

from fastapi import Request

from ...core.identity import Principal
from ...web.state import get_web
from ...web.streams import EventStream, Leave, follow
from .hub import batch_hub


def batch_events(
    request: Request, principal: Principal, batch_id: int, kind: Literal["batch", "flow"]
) -> EventStream:
    """Return a stream of events named by ``kind``, until the batch or flow is over.

    Args:
        request: The request.
        principal: The reader.
        batch_id: Id of the batch or flow.
        kind: Whether the id belongs to a batch or a flow.

    Raises:
        Problem: too many streams are open.
    """
    watching = get_web(request).shared(batch_hub).watch(batch_id)
    leave = Leave(request, principal, whole=True)
    return follow(principal, kind, watching, leave, lambda _: "")
