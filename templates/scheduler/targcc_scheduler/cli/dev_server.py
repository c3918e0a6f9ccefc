"""The process of ``targcc dev`` that serves: prints each attempt, runs a job on request, ends with its input."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import sqlalchemy as sa

from ..core import humanize
from ..core.outage import OUTAGES
from ..core.text import visible
from ..db.engines import make_engine
from ..db.tables import logged_job
from ..kernel.jobs.definition import JobDefinition
from ..kernel.jobs.discovery import place_of
from ..kernel.queries.models import Attempt
from ..kernel.queries.runs import running_runs
from ..kernel.queries.system import history
from ..project import EVERY_JOB, Project, adopt, current
from ..schedules.zones import parse_zone
from ..schema_setup import prepare
from ..settings import Settings
from .attempts import failed_lines
from .commands.serve import listen
from .common import broken_lines, first_login, operator, settings
from .output import as_shown
from .web_server import Server, load_app

if TYPE_CHECKING:
    from ..scheduler import Scheduler
    from ..web.state import Web

_POLL_SECONDS = 0.2
_LOOK_SECONDS = 1.0
"""Time to look for running jobs before the end."""
_NEWEST = 50
_NO_RETRIES = {"retries": 0, "alerts": None, "ping": None}
"""Options of each job during development."""


def for_development(project: Project) -> Project:
    """Return a project whose jobs are not retried and send no alerts."""
    options = {**project.job_options, EVERY_JOB: _NO_RETRIES}
    return replace(project, retries=0, job_options=options, alerts={}, oncall={})


def serve_child() -> None:
    """Serve until stdin ends. The first line is the order, an object with ``opens``, ``first``, ``changed`` and ``since``."""
    order = json.loads(sys.stdin.readline())
    adopt(for_development(current()))
    from ..web.state import shared_state
    from .log_setup import configure_logging

    chosen = settings()
    configure_logging(chosen)
    log = logging.getLogger("targcc")
    log.setLevel(logging.CRITICAL)  # attempts and broken files are printed
    log.getChild("events.loops").setLevel(logging.WARNING)  # held messages to webhooks
    version = prepare(chosen)
    listener = listen(chosen)
    app = load_app(None)
    shared_state(app).targcc_work = True
    last = asyncio.run(_last_attempt(chosen))
    DevServer(app, chosen, version, order, last).run(sockets=[listener])


class DevServer(Server):
    """Server that prints each attempt and obeys the lines of stdin.

    Args:
        app: App to serve.
        chosen: Settings, with the listening address.
        version: Version of the tables.
        order: See :func:`serve_child`.
        last: Id of the last attempt before this process.
    """

    def __init__(
        self, app: Any, chosen: Settings, version: str, order: dict[str, Any], last: int
    ) -> None:
        super().__init__(app, chosen, version)
        self._last = last
        self.config.timeout_graceful_shutdown = 1  # open pages connect again after the reload
        self._order = order
        self._tasks: list[asyncio.Task[None]] = []

    async def startup(self, sockets: Any = None) -> None:
        """Start, greet, and begin to follow attempts and stdin."""
        await super().startup(sockets)
        if self.scheduler is None or self.should_exit:
            return
        loop = asyncio.get_running_loop()
        self._tasks.append(asyncio.create_task(self._tell_attempts(self.scheduler)))
        threading.Thread(target=self._obey, args=(loop, self.scheduler), daemon=True).start()

    async def greet(self, chosen: Settings, web: Web) -> list[str]:
        """Return the lines after the start, or after a reload; open the browser on request."""
        scheduler = web.scheduler
        if not self._order["first"]:
            took = humanize.milliseconds(round(1_000 * (time.time() - self._order["since"])))
            changed = ", ".join(place_of(path, None) for path in self._order["changed"])
            line = f"{time.strftime('%H:%M:%S')}  changed     {changed}, reloaded in {took}"
            return [line, *broken_lines(scheduler)]
        jobs, broken = len(scheduler.definitions), len(scheduler.broken)
        shown = chosen.shown_database_url
        lines = [
            f"Database  {shown}  (development, migrated to {self._version})",
            f"Jobs      {jobs} found, {broken} cannot run",
            *broken_lines(scheduler),
        ]
        if web.trouble:
            lines.append(f"Trouble   {web.trouble}")
        return [*lines, await self._open(chosen, web)]

    async def _open(self, chosen: Settings, web: Web) -> str:
        page = chosen.dashboard_url
        make_link = None if web.host_login else await first_login(chosen)
        link = page if make_link is None else make_link(page)
        newest = newest_job(web.scheduler)
        hint = (
            f"press r to run {newest.name}, ? for keys"
            if newest and sys.stdout.isatty()
            else "reloads on save"
        )
        if self._order["opens"] and await asyncio.to_thread(webbrowser.open, link):
            signed_in = "signed in; " if make_link is not None else ""
            return f"Open      {page}  ({signed_in}{hint})"
        once = "works once; " if make_link is not None else ""
        return f"Open      {link}  ({once}{hint})"

    def _obey(self, loop: asyncio.AbstractEventLoop, scheduler: Scheduler) -> None:
        """Read commands until stdin ends; then stop the server."""
        for line in sys.stdin:
            if line.strip() == "run":
                asyncio.run_coroutine_threadsafe(self._run_newest(scheduler), loop)
        scheduler.hold()
        asyncio.run_coroutine_threadsafe(self._end(scheduler), loop)

    async def _end(self, scheduler: Scheduler) -> None:
        """Name the runs that the end of this process stops, then stop the server."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                runs = await scheduler.read(running_runs)
            for run in runs:
                line = f"{time.strftime('%H:%M:%S')}  {run.job}  told to stop (run {run.id})"
                click.echo(as_shown(line))
        except (*OUTAGES, TimeoutError):
            pass  # the end does not wait for the database
        finally:
            self.should_exit = True

    async def _run_newest(self, scheduler: Scheduler) -> None:
        """Run the job whose file was edited last."""
        job = newest_job(scheduler)
        if job is None:
            click.echo("there is no job to run: targcc-gen job NAME adds one")
            return
        try:
            await scheduler.trigger(job, {}, by=operator())
        except Exception as error:  # noqa: BLE001 - the server goes on
            click.echo(
                as_shown(
                    f"{time.strftime('%H:%M:%S')}  {job.name}  cannot be run by key: {error}",
                    lines=True,
                )
            )
            click.echo(f"          targcc job run {job.name} --arg NAME=VALUE passes arguments")

    async def _tell_attempts(self, scheduler: Scheduler) -> None:
        """Print each attempt that ends."""
        last = self._last
        while not self.should_exit:
            for attempt in sorted(await _newest(scheduler), key=lambda item: item.id):
                if attempt.id > last:
                    last = attempt.id
                    for line in attempt_lines(attempt, scheduler.clock.now()):
                        click.echo(as_shown(line))
            await asyncio.sleep(_POLL_SECONDS)


async def _last_attempt(chosen: Settings) -> int:
    """Return the id of the last attempt before this process; 0 without attempts."""
    engine = make_engine(chosen.database_url)
    try:
        async with engine.connect() as connection:
            return await connection.scalar(sa.select(sa.func.max(logged_job.c.ID))) or 0
    finally:
        await engine.dispose()


async def _newest(scheduler: Scheduler) -> tuple[Attempt, ...]:
    """Return the newest attempts; none while the database does not answer, such as at the end."""
    try:
        return await scheduler.read(lambda db: history(db, None, _NEWEST))
    except OUTAGES:
        return ()


def attempt_lines(attempt: Attempt, now: datetime) -> Iterator[str]:
    """Yield the lines about an attempt that has ended."""
    if not attempt.success:
        yield from failed_lines(attempt, next_at=None, now=now)
        return
    ended = (attempt.completed_at or attempt.started_at).astimezone(parse_zone(current().timezone))
    took = humanize.milliseconds(attempt.duration_ms)
    message = f": {attempt.message}" if attempt.message else ""
    yield visible(f"{ended:%H:%M:%S}  {attempt.job}  succeeded after {took}{message}")


def newest_job(scheduler: Scheduler) -> JobDefinition | None:
    """Return the job whose file was edited last; ``None`` without jobs in files."""
    edited: list[tuple[float, str]] = []
    for job in scheduler.definitions.values():
        file = getattr(sys.modules.get(job.module), "__file__", None)
        if file is not None and Path(file).exists():
            edited.append((Path(file).stat().st_mtime, job.name))
    return scheduler.definitions[max(edited)[1]] if edited else None
