"""The events of one run: its state and progress, what it writes, and its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

from fastapi import Request

from ...queries.models import LogLine
from ...security.roles import Principal
from ..state import get_web
from .streams import BEGINNING, COMMENT, LOOK_SECONDS, EventStream, Leave, event

Lines = Callable[[Iterable[LogLine]], str]


def as_json(lines: Iterable[LogLine]) -> str:
    """Each line as an event with its key."""
    return "".join(event("log", line, line.id) for line in lines)


def run_events(
    request: Request,
    principal: Principal,
    run_id: int,
    job: str,
    *,
    after: int,
    lines: Lines = as_json,
) -> EventStream:
    """A stream of the run's events until it is over.

    Args:
        request: The request.
        principal: Who reads.
        run_id: The run.
        job: Its job.
        after: Log lines after this key.
        lines: How lines are written.

    Raises:
        Problem: there are too many streams.
    """
    web = get_web(request)
    web.streams.check(principal)

    async def events() -> AsyncIterator[str]:
        leave, shown = Leave(request, principal, job), None
        with web.streams.one(principal), web.runs.watch(run_id, after) as watcher:
            yield BEGINNING
            while await leave.goes_on():
                new = await watcher.news(LOOK_SECONDS)
                said = ""
                if watcher.status != shown and watcher.status is not None:
                    shown = watcher.status
                    said += event("run", shown)
                if new:
                    said += lines(new)
                if watcher.ended:
                    yield said + event("end", watcher.status)
                    return
                if said or leave.is_quiet():
                    yield said or COMMENT
                    leave.spoke()

    return EventStream(events())
