"""Stream server-sent events about runs, and a run's whole log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Protocol, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic_core import to_jsonable_python
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.clock import uptime
from ..core.errors import QueryTimeout
from ..core.identity import Principal, Role
from ..core.outage import OUTAGES
from ..core.states import RunState
from ..kernel.queries.models import LogLine
from ..kernel.queries.runs import Change, lines_after
from ..project import current
from ..scheduler import Scheduler
from ..schedules.zones import parse_zone
from .authentication import find_principal
from .state import get_web

# Server-sent events: format, and when a stream ends.

T_co = TypeVar("T_co", covariant=True)
"""News type."""
LOOK_SECONDS = 0.5
"""Seconds between an idle stream's checks whether to end."""
BEAT = timedelta(seconds=15)
"""Time without an event after which a comment is sent, so that proxies keep the connection; also the interval between checks of the reader's credentials."""
_AGAIN_MS = 3_000


class Watcher(Protocol[T_co]):
    """Listener for a single subject: its status and further news.

    Attributes:
        status: The subject's status; ``None`` if the subject is gone or no poll has run yet.
        ended: True if no more news will come.
    """

    status: Any
    ended: bool

    async def news(self, seconds: float) -> T_co:
        """Wait for news, at most ``seconds``, and return the news besides the status."""


class Leave:
    """Decide whether a stream may continue: its reader is still authorized and the server is not stopping.

    Args:
        request: Request that the stream answers.
        reader: Principal who reads the stream.
        job: The run's job, for readers with some jobs only.
        whole: True restricts the stream to readers who may see all jobs.
    """

    def __init__(
        self, request: Request, reader: Principal, job: str | None = None, *, whole: bool = False
    ) -> None:
        self.request = request
        self._reader: Principal | None = reader
        self._job = job
        self._whole = whole
        self._spoke = self._asked = uptime()

    def spoke(self) -> None:
        """Note that data was sent."""
        self._spoke = uptime()

    def is_quiet(self) -> bool:
        """Return whether a comment is due."""
        return uptime() - self._spoke >= BEAT.total_seconds()

    async def goes_on(self) -> bool:
        """Return whether the stream may continue. Authenticate the reader again every 15 seconds."""
        if is_stopping():
            return False
        if uptime() - self._asked >= BEAT.total_seconds():
            self._asked = uptime()
            with contextlib.suppress(*OUTAGES, QueryTimeout):  # in an outage, keep the reader
                self._reader = await find_principal(self.request)
        if self._reader is None:
            return False
        if self._whole or self._job is not None:
            return self._reader.covers(Role.VIEWER, self._job)
        return self._reader.covers_some(Role.VIEWER)

    def shows(self, job: str) -> bool:
        """Return whether the reader may see a job's runs."""
        return self._reader is not None and self._reader.covers(Role.VIEWER, job)


def is_stopping() -> bool:
    """Return whether uvicorn is stopping, read from its signal handlers. Uvicorn waits for open answers before stopping."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        server = getattr(signal.getsignal(signum), "__self__", None)
        if getattr(server, "should_exit", False) is True:
            return True
    return False


def event(name: str, data: Any, key: object | None = None) -> str:
    """Format an event with a JSON value.

    Args:
        name: Event type.
        data: Any value that pydantic can serialize.
        key: Event id, sent back as ``Last-Event-ID`` by a reader that reconnects.
    """
    text = json.dumps(to_jsonable_python(data), ensure_ascii=False, separators=(",", ":"))
    number = "" if key is None else f"id: {key}\n"
    return f"{number}event: {name}\ndata: {text}\n\n"


BEGINNING = f"retry: {_AGAIN_MS}\n\n"
COMMENT = ": still here\n\n"


class EventStream(StreamingResponse):
    """Response that streams events, unbuffered by proxies such as nginx."""

    def __init__(self, events: AsyncIterator[str]) -> None:
        headers = {"X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)


def follow(
    principal: Principal,
    kind: str,
    watching: AbstractContextManager[Watcher[T_co]],
    leave: Leave,
    written: Callable[[T_co], str],
) -> EventStream:
    """Stream a watched subject's events until the subject is over.

    Args:
        principal: Principal who reads.
        kind: Status event name.
        watching: Context that registers the watcher while the stream is open.
        leave: Decides whether the stream may continue.
        written: Function that formats news as events.

    Raises:
        Problem: too many streams are open.
    """
    streams = get_web(leave.request).streams
    streams.check(principal)

    async def events() -> AsyncIterator[str]:
        shown = None
        with streams.one(principal), watching as watcher:
            yield BEGINNING
            while await leave.goes_on():
                news = await watcher.news(LOOK_SECONDS)
                text = ""
                if watcher.status != shown and watcher.status is not None:
                    shown = watcher.status
                    text = event(kind, shown)
                if news:
                    text += await asyncio.to_thread(written, news)  # a log may be long
                if watcher.ended:
                    yield text + event("end", watcher.status)
                    return
                if text or leave.is_quiet():
                    yield text or COMMENT
                    leave.spoke()

    return EventStream(events())


def last_event(request: Request) -> str:
    """Return the ``Last-Event-ID`` from a reader that reconnects; empty for a new reader."""
    return request.headers.get("Last-Event-ID", "")


# Events for a single run: state, progress, log lines and the end.

Lines = Callable[[Iterable[LogLine]], str]


def as_json(lines: Iterable[LogLine]) -> str:
    """Format each log line as an event with its key."""
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
    """Stream a run's events until the run is over.

    Args:
        request: Request that the stream answers.
        principal: Principal who reads.
        run_id: Run id.
        job: The run's job.
        after: Send log lines after this key.
        lines: Function that formats log lines as events.

    Raises:
        Problem: too many streams are open.
    """
    watching = get_web(request).runs.watch(run_id, after)
    leave = Leave(request, principal, job)
    return follow(principal, "run", watching, leave, lambda new: lines(new) if new else "")


# Events for all runs: state changes, filtered by the reader.

_LONGEST_AGO = timedelta(hours=1)
"""Longest absence that a reader can catch up on; after a longer absence the reader gets the event ``gap``."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Filter of changes; an empty field matches all.

    Args:
        jobs: Job names or patterns, such as ``Daily*``.
        queues: The runs' queues.
        states: The runs' new states.
    """

    jobs: Sequence[str] = ()
    queues: Sequence[str] = ()
    states: Sequence[RunState] = ()

    def fits(self, change: Change) -> bool:
        """Return whether a change passes the filter."""
        job = change.job.lower()
        return (
            (not self.jobs or any(fnmatchcase(job, pattern.lower()) for pattern in self.jobs))
            and (not self.queues or change.queue in self.queues)
            and (not self.states or change.state in self.states)
        )


def change_events(request: Request, principal: Principal, wanted: Wanted) -> EventStream:
    """Stream changes from now on, or from the ``Last-Event-ID`` of a reader that reconnects.

    Raises:
        Problem: too many streams are open.
    """
    web = get_web(request)
    web.streams.check(principal)
    now = web.scheduler.clock.now()
    seen = last_event(request)
    place = _instant(seen)

    async def events() -> AsyncIterator[str]:
        leave = Leave(request, principal)
        with web.streams.one(principal), web.changes.listen(place or now) as listener:
            yield BEGINNING
            if place is not None:
                missed = await web.changes.missed(max(place, now - _LONGEST_AGO))
                if missed.until is not None or now - place > _LONGEST_AGO:
                    yield event("gap", {"after": place})
                listener.catch_up([change for change in missed.found if change.key != seen])
            while await leave.goes_on():
                changes = await listener.news(LOOK_SECONDS)
                text = "".join(
                    event("run", change, change.key)
                    for change in changes
                    if wanted.fits(change) and change.key != seen and leave.shows(change.job)
                )
                if text or leave.is_quiet():
                    yield text or COMMENT
                    leave.spoke()
                if listener.behind:
                    return

    return EventStream(events())


def _instant(key: str) -> datetime | None:
    """Return the instant in a change's key; ``None`` for a malformed key."""
    try:
        instant = datetime.fromisoformat(key.partition("~")[0])
        return instant.astimezone(UTC) if instant.tzinfo is not None else None
    except (ValueError, OverflowError):  # also for an instant beyond the range of dates
        return None


# Download of a run's whole log.

_LINES_A_PART = 1_000


def log_as_text(scheduler: Scheduler, run_id: int) -> StreamingResponse:
    """Stream the log lines written so far as text; each 1,000 lines are a query."""
    zone = parse_zone(current().timezone)

    async def part(after: int) -> tuple[LogLine, ...]:
        async def query(db: AsyncConnection) -> tuple[LogLine, ...]:
            return await lines_after(db, run_id, after, _LINES_A_PART)

        return await scheduler.read(query)

    async def parts() -> AsyncIterator[str]:
        after = 0
        while lines := await part(after):
            after = lines[-1].id
            yield "".join(
                f"{line.at.astimezone(zone).isoformat(timespec='milliseconds')} {line.level:<7} {line.message}\n"
                for line in lines
            )

    name = f"run-{run_id}.log"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(parts(), media_type="text/plain", headers=headers)
