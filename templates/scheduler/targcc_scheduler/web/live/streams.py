"""Server-sent events: how one is written, and when a stream ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic_core import to_jsonable_python

from ...core.clock import uptime
from ...core.errors import QueryTimeout
from ...core.outage import OUTAGES
from ...security.roles import Principal, Role
from ..authentication import find_principal
from ..state import get_web

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
