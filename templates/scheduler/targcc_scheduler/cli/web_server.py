"""The web server that ``targcc serve`` starts, and what it prints once it is up."""

from __future__ import annotations

import importlib
import socket
import sys

import click
import uvicorn
from fastapi import FastAPI

from ..project import current
from ..scheduler import Scheduler
from ..security.login_links import LOGIN_LINKS
from ..settings import Settings
from .common import has_users
from .group import CliError


def load_app(where: str | None) -> FastAPI:
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
    if not isinstance(app, FastAPI):
        raise CliError(f"there is no FastAPI app {name or 'app'!r} in {module_name}")
    return app


class Server(uvicorn.Server):
    """Uvicorn, which prints the address of the dashboard once it is up.

    Args:
        app: What to serve.
        chosen: The settings, with the address it listens at.
        version: The version of the tables.
    """

    def __init__(self, app: FastAPI, chosen: Settings, version: str) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=10,
        )
        super().__init__(config)
        self._app = app
        self._chosen = chosen
        self._version = version

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
        for line in await _greeting(self._chosen, self._version, web.scheduler):
            click.echo(line)


def serve_app(app: FastAPI, chosen: Settings, version: str, listener: socket.socket) -> None:
    """Serve until the process is told to stop."""
    Server(app, chosen, version).run(sockets=[listener])


async def _greeting(chosen: Settings, version: str, scheduler: Scheduler) -> list[str]:
    page = chosen.dashboard_url
    jobs, broken = len(scheduler.definitions), len(scheduler.broken)
    lines = [
        f"Database  {chosen.shown_database_url}  (migrated to {version})",
        f"Jobs      {jobs} found in {chosen.jobs_package}, {broken} broken",
    ]
    lines += [f"          {one.path or one.module}: {one.error}" for one in scheduler.broken]
    if await has_users(chosen):
        return [*lines, f"Open      {page}"]
    link = f"{page}/login?token={LOGIN_LINKS.create()}"
    return [*lines, f"Open      {link}  (works once, for 10 minutes; then: targcc user add NAME)"]
