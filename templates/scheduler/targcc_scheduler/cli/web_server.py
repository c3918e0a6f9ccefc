"""Web server of ``targcc serve``, with a guard against slow connections."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import ipaddress
import os
import socket
import sys
from collections import Counter
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

import click
import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ..core.memory import trim_after_start
from ..core.outage import OUTAGES
from ..core.text import visible
from ..project import current
from ..scheduler import Scheduler
from ..settings import Settings
from ..web.host_login import FROM_PROXY
from .common import broken_lines, first_login
from .group import AppError
from .interrupts import HANDS_BACK, Interrupts

if TYPE_CHECKING:
    from ..web.state import Web


# Guard against slow connections and too many connections: such connections are closed, so that the server can answer the rest.
#
# Uvicorn closes a connection that is idle between two requests. Uvicorn waits without limit for the rest of a request, and for a client that does
# not read the answer.

MOST_HEAD_BYTES = 65_536
"""Most bytes of a request's head, for a parser without a limit."""
LEAST_READ_BYTES = 16_384
"""Least bytes of an answer that a client has to take to count as reading."""


@dataclass(slots=True, kw_only=True)
class Limits:
    """Limits of a server's connections, and the connections that count.

    Args:
        per_address: Most simultaneous connections per address.
        proxies: Addresses and networks of proxies, separated by commas, exempt from ``per_address``; ``*`` exempts every address.
        waiting: Most connections without a complete request; a further connection closes the connection that has waited longest.
        head: Seconds until a request's head has to be complete.
        body: Seconds after the head until the body has to be complete.
        reading: Seconds until a client has to take the next part of its answer.
    """

    per_address: int
    proxies: str = ""
    waiting: int = 300
    head: float = 10
    body: float = 20
    reading: float = 20
    _open: Counter[str] = field(default_factory=Counter)
    _waiting: dict[Any, float] = field(default_factory=dict)

    def begin(self, connection: Any, address: str | None, now: float) -> bool:
        """Count a connection and return whether the connection may stay."""
        self._waiting[connection] = now
        if address is None or self._is_proxy(address):
            self._make_room()
            return True
        self._open[address] += 1
        self._make_room()
        return self._open[address] <= self.per_address

    def is_here(self, connection: Any) -> None:
        """Note that a connection's request is complete."""
        self._waiting.pop(connection, None)

    def waits(self, connection: Any, now: float) -> None:
        """Note that a connection's next request has begun."""
        self._waiting.setdefault(connection, now)

    def end(self, connection: Any, address: str | None) -> None:
        """Forget a connection."""
        self._waiting.pop(connection, None)
        if address is not None and address in self._open:
            self._open[address] -= 1
            self._open += Counter()  # drop addresses without connections

    def _make_room(self) -> None:
        if len(self._waiting) > self.waiting:
            oldest = min(self._waiting, key=self._waiting.__getitem__)
            del self._waiting[oldest]
            oldest.transport.abort()

    def _is_proxy(self, address: str) -> bool:
        for network in filter(None, map(str.strip, self.proxies.split(","))):
            if network in {"*", address}:
                return True
            try:
                if ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False):
                    return True
            except ValueError:
                continue
        return False


class GuardedProtocol(AutoHTTPProtocol):  # type: ignore[valid-type, misc]  # whichever is installed
    """Uvicorn's protocol; closes connections that are slower than :class:`Limits` allow."""

    limits: ClassVar[Limits]
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    cycle: Any

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Count a new connection; close the connection if its address has too many."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if isinstance(peer, tuple) else None
        now = self.loop.time()
        self._head_since: float | None = now
        self._body_since = self._read_at = now
        self._head_bytes = self._left = 0
        self._request: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_counted = True
        if self.limits.begin(self, self._address, now):
            self._look_later()
        else:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take received data, note the start and the end of requests, and close the connection if a head is too long."""
        answered = self._request is not None and self._request.response_complete
        if answered and self._head_since is None:
            self._head_since, self._head_bytes = self.loop.time(), 0
            self.limits.waits(self, self._head_since)
        self._head_bytes += len(data)
        super().data_received(data)
        self._note_request()
        if self._head_since is not None and self._head_bytes > MOST_HEAD_BYTES:
            self.transport.abort()

    def _note_request(self) -> None:
        if self.cycle is not self._request:
            self._request, self._head_since = self.cycle, None
            self._body_since = self.loop.time()
        if self._request is not None and not self._request.more_body:
            self.limits.is_here(self)

    def resume_writing(self) -> None:
        """Note that the client has taken most of the written data."""
        self._read_at = self.loop.time()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the closed connection."""
        self._leave()
        super().connection_lost(exc)

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._is_counted:
            self._is_counted = False
            self.limits.end(self, self._address)

    def _look_later(self) -> None:
        limits = self.limits
        pause = min(limits.head, limits.body, limits.reading) / 4
        self._timer = self.loop.call_later(pause, self._look)

    def _look(self) -> None:
        """Close the connection if its client is too slow."""
        if self.transport.get_protocol() is not self:  # upgraded to a web socket
            self._leave()
            return
        self._note_request()
        if self._is_too_slow(self.loop.time()):
            self.transport.abort()
        else:
            self._look_later()

    def _is_too_slow(self, now: float) -> bool:
        left = self.transport.get_write_buffer_size()
        if not left or left <= self._left - LEAST_READ_BYTES:
            self._read_at, self._left = now, left
        self._left = max(self._left, left)
        if now - self._read_at > self.limits.reading:
            return True
        if self._head_since is not None:
            return now - self._head_since > self.limits.head
        return bool(self._request.more_body) and now - self._body_since > self.limits.body


def guarded(limits: Limits) -> type[GuardedProtocol]:
    """Return the protocol class for a server with these limits."""
    return type("Guarded", (GuardedProtocol,), {"limits": limits})


class BehindProxies:
    """ASGI app that accepts ``X-Forwarded-For`` and ``X-Forwarded-Proto`` from trusted proxies.

    Store in the request's scope whether a trusted proxy sent the request, since uvicorn's middleware replaces the proxy's address by the client's.

    Args:
        app: ASGI app to wrap.
        proxies: Addresses and networks of trusted proxies, separated by commas; ``*`` trusts every address.
    """

    def __init__(self, app: Any, proxies: str) -> None:
        self._app = ProxyHeadersMiddleware(app, trusted_hosts=proxies)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request (ASGI)."""
        if _has_two_lengths(scope):
            await _refuse(send)
            return
        peer = (scope.get("client") or ("",))[0]
        known = peer in self._app.trusted_hosts
        scope[FROM_PROXY] = known
        await self._app(scope, receive, send)


def _has_two_lengths(scope: Any) -> bool:
    """Return whether a request has both ``Content-Length`` and ``Transfer-Encoding``.

    A proxy and this server could then disagree where the body ends, so that the rest passes as a request of its own (request smuggling).
    """
    names = {name for name, _ in scope.get("headers", ())}
    return {b"content-length", b"transfer-encoding"} <= names


async def _refuse(send: Any) -> None:
    head = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 400, "headers": head})
    await send({"type": "http.response.body", "body": b""})


# Web server of ``targcc serve``, and its greeting.


def load_app(where: str | None) -> Any:
    """Return the app to serve: the named app, else the project's app, else an app with only the scheduler.

    Raises:
        CliError: the module cannot be imported, or holds no such app.
    """
    module_name, _, name = (where or f"{current().package}.main:app").partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        app = getattr(importlib.import_module(module_name), name or "app", None)
    except ModuleNotFoundError as error:
        if where is None and error.name == module_name:
            from ..web.router import create_app

            return create_app()
        raise AppError(f"cannot import {module_name}: {error}") from error
    if not callable(app) or not hasattr(app, "state"):
        raise AppError(
            f"there is no app with the scheduler {name or 'app'!r} in {module_name}: a FastAPI or Starlette app, or with_scheduler(app)"
        )
    return app


class Server(uvicorn.Server):
    """Uvicorn server that prints the dashboard's address after the start.

    Args:
        app: App to serve.
        chosen: Settings, with the listening address.
        version: Version of the tables.

    Attributes:
        scheduler: Scheduler of the started app, kept here since the app drops its scheduler before stopping.
        error: Error of the database that ends the server at its start.
    """

    def __init__(self, app: Any, chosen: Settings, version: str) -> None:
        # By default, uvicorn trusts forwarded headers from 127.0.0.1. Any user of the machine can send such headers.
        proxies = chosen.trusted_proxies or os.environ.get("FORWARDED_ALLOW_IPS", "")
        config = uvicorn.Config(
            BehindProxies(app, proxies) if proxies else app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=10,
            http=guarded(Limits(per_address=chosen.connections_per_address, proxies=proxies)),
        )
        super().__init__(config)
        self._app = app
        self._chosen = chosen
        self._version = version
        self.scheduler: Scheduler | None = None
        self.error: Exception | None = None
        self._interrupts = Interrupts(self._hold, self._hurry)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a stop signal; uvicorn raises the signal again at its end."""
        if not self.should_exit:
            super().handle_exit(sig, frame)
        self._interrupts.told(sig)

    def _hold(self) -> None:
        if self.scheduler is not None:
            self.scheduler.hold()

    def _hurry(self) -> None:
        """Stop at once: uvicorn waits neither for browsers nor for the app's shutdown, so :func:`serve_app` stops the scheduler."""
        self.force_exit = True
        with contextlib.suppress(RuntimeError):  # the signal interrupted another print
            click.echo(HANDS_BACK)
        if self.scheduler is not None:
            self.scheduler.hold(hurry=True)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and print the dashboard's address."""
        await super().startup(sockets)
        if self.should_exit:
            return
        from ..web.state import shared_state

        web = getattr(shared_state(self._app), "targcc", None)
        if web is None:
            click.echo(
                "warning: the app does not include scheduler_router: it serves no dashboard",
                err=True,
            )
            return
        trim_after_start()
        self.scheduler = web.scheduler
        chosen = self._chosen.at(web.prefix)
        try:
            lines = await self.greet(chosen, web)
        except OUTAGES as error:
            self.error, self.should_exit = error, True
            return
        for line in lines:
            click.echo(visible(line, lines=True))

    async def greet(self, chosen: Settings, web: Web) -> list[str]:
        """Return the lines that are printed after the start."""
        return await _greeting(chosen, self._version, web)


def serve_app(app: Any, chosen: Settings, version: str, listener: socket.socket) -> None:
    """Serve until a signal stops the process.

    Raises:
        Exception: The database was lost at the start.
    """
    server = Server(app, chosen, version)
    try:
        server.run(sockets=[listener])
        if server.error is not None:
            raise server.error
    finally:
        if server.force_exit and server.scheduler is not None:
            asyncio.run(server.scheduler.stop())


async def _greeting(chosen: Settings, version: str, web: Web) -> list[str]:
    page, scheduler = chosen.dashboard_url, web.scheduler
    jobs, broken = len(scheduler.definitions), len(scheduler.broken)
    lines = [
        f"Database  {chosen.shown_database_url}  (migrated to {version})",
        f"Jobs      {jobs} found in {chosen.jobs_package}, {broken} broken",
    ]
    lines += broken_lines(scheduler)
    if web.trouble:
        lines.append(f"Trouble   {web.trouble}")
    make_link = None if web.host_login else await first_login(chosen)
    if make_link is None:
        return [*lines, f"Open      {page}"]
    return [
        *lines,
        f"Open      {make_link(page)}  (works once, for 10 minutes; then: targcc user add NAME)",
    ]
