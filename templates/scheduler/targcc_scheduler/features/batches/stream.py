"""The events of one batch or flow: its state and progress, and its end."""

from __future__ import annotations

from typing import Literal

from fastapi import Request

from ...web.state import get_web
from ...web.streams import EventStream, Leave, follow
from ..accounts.roles import Principal


def batch_events(
    request: Request, principal: Principal, batch_id: int, kind: Literal["batch", "flow"]
) -> EventStream:
    """A stream of events, named by what it is, until it is over.

    Args:
        request: The request.
        principal: Who reads.
        batch_id: The batch or flow.
        kind: Which of the two it is.

    Raises:
        Problem: there are too many streams.
    """
    watching = get_web(request).batches.watch(batch_id)
    leave = Leave(request, principal, whole=True)
    return follow(principal, kind, watching, leave, lambda _: "")
