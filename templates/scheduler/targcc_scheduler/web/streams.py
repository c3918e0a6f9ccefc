"""Server-sent events of runs, and a run's whole log."""

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
from ..core.outage import OUTAGES
from ..core.states import RunState
from ..features.accounts.roles import Principal, Role
from ..kernel.queries.models import LogLine
from ..kernel.queries.runs import Change, lines_after
from ..project import current
from ..scheduler import Scheduler
from ..schedules.zones import parse_zone
from .authentication import find_principal
from .state import get_web

# Server-sent events: how one is written, and when a stream ends.

T_co = TypeVar("T_co", covariant=True)
"""News."""
LOOK_SECONDS = 0.5
"""How often a stream that has nothing to say sees whether it is to end."""
BEAT = timedelta(seconds=15)
"""After so long without an event there is a comment, so that proxies keep the connection, and the reader is asked for again."""
_AGAIN_MS = 3_000


class Watcher(Protocol[T_co]):
    """Somebody who hears of one thing: its status, and other news.

    Attributes:
        status: How it is; ``None``: it is gone, or nothing was heard yet.
        ended: Nothing more will be heard.
    """

    status: Any
    ended: bool

    async def news(self, seconds: float) -> T_co:
        """Wait for something to happen, at most so long; the news beside the status."""


class Leave:
    """Whether a stream may go on: its reader is still somebody who may look, and the server goes on.

    Args:
        request: The request that it answers.
        reader: Who reads.
        job: The run's job, for readers that may see the runs of some jobs only.
        whole: It is for those alone who may see the runs of all jobs.
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
        """Something was sent."""
        self._spoke = uptime()

    def is_quiet(self) -> bool:
        """Whether it is time for a comment."""
        return uptime() - self._spoke >= BEAT.total_seconds()

    async def goes_on(self) -> bool:
        """Whether there is more to come."""
        if is_stopping():
            return False
        if uptime() - self._asked >= BEAT.total_seconds():
            self._asked = uptime()
            with contextlib.suppress(*OUTAGES, QueryTimeout):  # the database is away for a while
                self._reader = await find_principal(self.request)
        if self._reader is None:
            return False
        if self._whole or self._job is not None:
            return self._reader.covers(Role.VIEWER, self._job)
        return self._reader.covers_some(Role.VIEWER)

    def shows(self, job: str) -> bool:
        """Whether the reader may look at the runs of a job."""
        return self._reader is not None and self._reader.covers(Role.VIEWER, job)


def is_stopping() -> bool:
    """Whether uvicorn was told to stop, which waits for open answers first: it is who handles the signals."""
    for one in (signal.SIGTERM, signal.SIGINT):
        server = getattr(signal.getsignal(one), "__self__", None)
        if getattr(server, "should_exit", False) is True:
            return True
    return False


def event(name: str, data: Any, key: object | None = None) -> str:
    """An event with a value as JSON.

    Args:
        name: What it is.
        data: Anything that pydantic can write.
        key: What a reader that comes back sends as ``Last-Event-ID``.
    """
    text = json.dumps(to_jsonable_python(data), ensure_ascii=False, separators=(",", ":"))
    number = "" if key is None else f"id: {key}\n"
    return f"{number}event: {name}\ndata: {text}\n\n"


BEGINNING = f"retry: {_AGAIN_MS}\n\n"
COMMENT = ": still here\n\n"


class EventStream(StreamingResponse):
    """The answer that streams events."""

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
    """A stream of what somebody watches, until that is over.

    Args:
        principal: Who reads.
        kind: What an event of its status is called.
        watching: Hears of it, while the stream is open.
        leave: Whether the stream may go on.
        written: The events of the news that come beside the status.

    Raises:
        Problem: there are too many streams.
    """
    streams = get_web(leave.request).streams
    streams.check(principal)

    async def events() -> AsyncIterator[str]:
        shown = None
        with streams.one(principal), watching as watcher:
            yield BEGINNING
            while await leave.goes_on():
                news = await watcher.news(LOOK_SECONDS)
                said = ""
                if watcher.status != shown and watcher.status is not None:
                    shown = watcher.status
                    said = event(kind, shown)
                if news:
                    said += await asyncio.to_thread(written, news)  # a log may be long
                if watcher.ended:
                    yield said + event("end", watcher.status)
                    return
                if said or leave.is_quiet():
                    yield said or COMMENT
                    leave.spoke()

    return EventStream(events())


def last_event(request: Request) -> str:
    """What a reader that comes back has seen last."""
    return request.headers.get("Last-Event-ID", "")


# The events of one run: its state and progress, what it writes, and its end.

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


# The events of all runs: each change of a state, for those who ask for it.

_LONGEST_AGO = timedelta(hours=1)
"""A reader that was away longer is told that it has missed something."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which changes somebody wants to hear of; without any of a kind: all.

    Args:
        jobs: Of these jobs, or those that a pattern such as ``Daily*`` names.
        queues: Of runs of these queues.
        states: To these states.
    """

    jobs: Sequence[str] = ()
    queues: Sequence[str] = ()
    states: Sequence[RunState] = ()

    def fits(self, one: Change) -> bool:
        """Whether it is one of those."""
        job = one.job.lower()
        return (
            (not self.jobs or any(fnmatchcase(job, pattern.lower()) for pattern in self.jobs))
            and (not self.queues or one.queue in self.queues)
            and (not self.states or one.state in self.states)
        )


def change_events(request: Request, principal: Principal, wanted: Wanted) -> EventStream:
    """A stream of changes, from now on or from where the reader was before.

    Raises:
        Problem: there are too many streams.
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
                listener.catch_up([one for one in missed.found if one.key != seen])
            while await leave.goes_on():
                found = await listener.news(LOOK_SECONDS)
                said = "".join(
                    event("run", one, one.key)
                    for one in found
                    if wanted.fits(one) and one.key != seen and leave.shows(one.job)
                )
                if said or leave.is_quiet():
                    yield said or COMMENT
                    leave.spoke()
                if listener.behind:
                    return

    return EventStream(events())


def _instant(key: str) -> datetime | None:
    """When the change of a key was."""
    try:
        found = datetime.fromisoformat(key.partition("~")[0])
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, OverflowError):  # also one that no database has
        return None


# A run's whole log as a file.

_LINES_A_PART = 1_000


def log_as_text(scheduler: Scheduler, run_id: int) -> StreamingResponse:
    """The lines that a run has written so far, in parts, each of which is a question of its own."""
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
