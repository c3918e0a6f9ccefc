"""The events of one run: its state and progress, what it writes, and its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastapi import Request

from ...queries.models import LogLine
from ...security.roles import Principal
from ..state import get_web
from .streams import EventStream, Leave, event, follow

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
    watching = get_web(request).runs.watch(run_id, after)
    leave = Leave(request, principal, job)
    return follow(principal, "run", watching, leave, lambda new: lines(new) if new else "")
