"""The app behind a real uvicorn, because a stream needs a server; and readers of its events."""

import asyncio
import contextlib
import inspect
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import uvicorn
from targcc_scheduler import Settings
from targcc_scheduler.kernel.runs import log
from web_fixtures import Site, running

PATIENCE = 60


@contextlib.asynccontextmanager
async def server(site: Site) -> AsyncIterator[uvicorn.Server]:
    """Serve the site's app; its lifespan has been entered before."""
    config = uvicorn.Config(site.app, port=0, lifespan="off", log_config=None)
    live_server = uvicorn.Server(config)
    serving = asyncio.create_task(live_server.serve())
    await eventually(lambda: live_server.started)
    try:
        yield live_server
    finally:
        live_server.should_exit = True
        await asyncio.wait_for(serving, PATIENCE)


def address_of(found: uvicorn.Server) -> str:
    port = found.servers[0].sockets[0].getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
async def address(site: Site) -> AsyncIterator[str]:
    async with server(site) as live_server:
        yield address_of(live_server)


@contextlib.asynccontextmanager
async def browse_site(settings: Settings) -> AsyncIterator[tuple[Site, str]]:
    """Yield a site with a working node, and its address."""
    async with running(settings, work=True) as site, server(site) as live_server:
        yield site, address_of(live_server)


@dataclass(frozen=True)
class Event:
    """One event of a stream."""

    name: str
    data: Any
    key: str


class Stream:
    """Reader of an event stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def next(self) -> Event | None:
        """Return the next event; ``None`` at the end."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            async for line in self._lines:
                if not line and "data" in fields:
                    return Event(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
                name, _, value = line.partition(": ")
                fields[name] = value
        return None

    async def until(self, name: str) -> Event:
        """Return the next event with this name."""
        while (event := await self.next()) is not None:
            if event.name == name:
                return event
        raise AssertionError(f"the stream ended without {name}")


@contextlib.asynccontextmanager
async def stream(client: httpx.AsyncClient, url: str, **headers: str) -> AsyncIterator[Stream]:
    """Open the event stream at a URL."""
    async with client.stream("GET", url, headers=headers, timeout=PATIENCE) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in answer.headers
        yield Stream(answer)


async def eventually(look: Callable[[], Any]) -> None:
    """Wait until ``look`` returns a true value; ``look`` may return an awaitable."""
    async with asyncio.timeout(PATIENCE):
        while True:
            result = look()
            if await result if inspect.isawaitable(result) else result:
                return
            await asyncio.sleep(0.02)


async def write(site: Site, run_id: int, *texts: str) -> None:
    """Write log lines of a run."""
    rows = [
        {
            "RunId": run_id,
            "Attempt": 1,
            "At": datetime.now(UTC),
            "Level": "info",
            "Message": text,
        }
        for text in texts
    ]
    await site.change(lambda db: log.add_lines(db, rows))
