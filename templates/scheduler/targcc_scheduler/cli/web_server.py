"""The web server that ``targcc serve`` starts, and what it prints once it is up."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
import uvicorn

from ..core.memory import give_back
from ..core.text import visible
from ..project import current
from ..scheduler import Scheduler
from ..security.login_links import LOGIN_LINKS
from ..settings import Settings
from .common import has_users
from .connections import BehindProxies, Limits, guarded
from .group import CliError
from .interrupts import HANDS_BACK, Interrupts

if TYPE_CHECKING:
    from ..web.state import Web


def load_app(where: str | None) -> Any:
    """The app to serve: the one that is named, the project's own, or one that is nothing but the scheduler.

    Raises:
        CliError: there is no such app, or it does not include the scheduler.
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
        raise CliError(f"cannot import {module_name}: {error}") from error
    if not callable(app) or not hasattr(app, "state"):
        raise CliError(
            f"there is no app with the scheduler {name or 'app'!r} in {module_name}: a FastAPI or Starlette app, or with_scheduler(app)"
        )
    return app


class Server(uvicorn.Server):
    """Uvicorn, which prints the address of the dashboard once it is up.

    Args:
        app: What to serve.
        chosen: The settings, with the address it listens at.
        version: The version of the tables.

    Attributes:
        scheduler: That of the app, once it has started; the app itself forgets it before it stops.
    """

    def __init__(self, app: Any, chosen: Settings, version: str) -> None:
        # Uvicorn by itself believes whatever comes from 127.0.0.1, which anybody on the machine can be.
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
        self._interrupts = Interrupts(self._hold, self._hurry)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The process was told to stop; uvicorn raises the signal again at its end."""
        if not self.should_exit:
            super().handle_exit(sig, frame)
        self._interrupts.told(sig)

    def _hold(self) -> None:
        if self.scheduler is not None:
            self.scheduler.hold()

    def _hurry(self) -> None:
        """Uvicorn waits no longer for browsers, nor for the app's end: so :func:`serve_app` does."""
        self.force_exit = True
        with contextlib.suppress(RuntimeError):  # the signal came while something else was printed
            click.echo(HANDS_BACK)
        if self.scheduler is not None:
            self.scheduler.hold(hurry=True)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and print the address."""
        await super().startup(sockets)
        if self.should_exit:
            return
        web = getattr(self._app.state, "targcc", None)
        if web is None:
            click.echo(
                "warning: the app does not include scheduler_router: it serves no dashboard",
                err=True,
            )
            return
        give_back()
        self.scheduler = web.scheduler
        chosen = self._chosen.at(web.prefix)
        for line in await _greeting(chosen, self._version, web):
            click.echo(visible(line, lines=True))


def serve_app(app: Any, chosen: Settings, version: str, listener: socket.socket) -> None:
    """Serve until the process is told to stop."""
    server = Server(app, chosen, version)
    try:
        server.run(sockets=[listener])
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
    lines += [f"          {one.path or one.module}: {one.error}" for one in scheduler.broken]
    if web.trouble:
        lines.append(f"Trouble   {web.trouble}")
    if web.host_login or await has_users(chosen):
        return [*lines, f"Open      {page}"]
    link = f"{page}/login?token={LOGIN_LINKS.create()}"
    return [*lines, f"Open      {link}  (works once, for 10 minutes; then: targcc user add NAME)"]
