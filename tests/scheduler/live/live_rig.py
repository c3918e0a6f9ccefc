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
    found = uvicorn.Server(config)
    serving = asyncio.create_task(found.serve())
    await eventually(lambda: found.started)
    try:
        yield found
    finally:
        found.should_exit = True
        await asyncio.wait_for(serving, PATIENCE)


def address_of(found: uvicorn.Server) -> str:
    port = found.servers[0].sockets[0].getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
async def address(site: Site) -> AsyncIterator[str]:
    async with server(site) as found:
        yield address_of(found)


@contextlib.asynccontextmanager
async def browse_site(settings: Settings) -> AsyncIterator[tuple[Site, str]]:
    """Yield a site with a working node, and its address."""
    async with running(settings, work=True) as site, server(site) as found:
        yield site, address_of(found)


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
        said: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            async for line in self._lines:
                if not line and "data" in said:
                    return Event(said["event"], json.loads(said["data"]), said.get("id", ""))
                name, _, value = line.partition(": ")
                said[name] = value
        return None

    async def until(self, name: str) -> Event:
        """Return the next event with this name."""
        while (one := await self.next()) is not None:
            if one.name == name:
                return one
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
            found = look()
            if await found if inspect.isawaitable(found) else found:
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
