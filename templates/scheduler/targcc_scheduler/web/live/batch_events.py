"""The events of one batch or flow: its state and progress, and its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from fastapi import Request

from ...security.roles import Principal
from ..state import get_web
from .streams import BEGINNING, COMMENT, LOOK_SECONDS, EventStream, Leave, event


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
    web = get_web(request)
    web.streams.check(principal)

    async def events() -> AsyncIterator[str]:
        leave, shown = Leave(request, principal), None
        with web.streams.one(principal), web.batches.watch(batch_id) as watcher:
            yield BEGINNING
            while await leave.goes_on() and leave.shows_all():
                await watcher.news(LOOK_SECONDS)
                said = ""
                if watcher.status != shown and watcher.status is not None:
                    shown = watcher.status
                    said = event(kind, shown)
                if watcher.ended:
                    yield said + event("end", watcher.status)
                    return
                if said or leave.is_quiet():
                    yield said or COMMENT
                    leave.spoke()

    return EventStream(events())
