"""``targcc server``: processes that run jobs; ``targcc release``: releases of their job definitions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from ...core import humanize
from ..common import run
from ..completing import server_names
from ..connect import connect, path
from ..group import ChoiceError, Commands, NotOverError
from ..output import as_shown, done, json_option, print_json, print_table, shows, wait_options, when

if TYPE_CHECKING:
    from ...kernel.queries.models import Server
    from ...kernel.queries.system import Release
    from ...web.api.schema import DoneOut
    from ...web.api.schemas import DrainOut
    from ..transport import Api

_LOOK_SECONDS = 0.5


@click.group("server", cls=Commands)
def server_group() -> None:
    """List and drain servers: the processes that run jobs."""


@server_group.command("list")
@shows
def list_servers(*, as_json: bool) -> None:
    """List the servers that are up.

    \b
    Example:
      targcc server list
    """

    async def work() -> None:
        async with connect() as api:
            servers: list[Server] = await api.rows(path("servers"))
        if as_json:
            print_json(servers)
        elif not servers:
            click.echo("No server is up: targcc serve, or targcc worker.")
        else:
            _print_servers(servers, api.now)

    run(work())


def _print_servers(servers: Sequence[Server], now: datetime) -> None:
    print_table(
        [
            "SERVER",
            "PROCESS",
            "STATE",
            "QUEUES",
            "BUSY",
            "UP SINCE",
            "HEARTBEAT",
            "RELEASE",
            "VERSION",
        ],
        [
            [
                server.name,
                str(server.process_id),
                _state(server),
                ", ".join(server.queues),
                f"{server.running} of {server.workers}",
                when(server.started_at, now),
                humanize.relative(server.heartbeat_at, now),
                server.release or "",
                server.version,
            ]
            for server in servers
        ],
    )
    for server in servers:
        trouble = humanize.node_trouble(server.stuck_since, server.stuck_in, server.clock_offset_ms)
        if trouble:
            message = f"{server.name} (process {server.process_id}): {trouble}"
            click.echo(as_shown(message, lines=True))


def _state(server: Server) -> str:
    if server.stopping_at is not None:
        return "stopping"
    if server.drain_requested_at is None:
        return server.role or "up"
    return "draining" if server.running else "drained"


@server_group.command("drain")
@click.argument("name", shell_complete=server_names)
@wait_options
@json_option
def drain_server(name: str, *, wait: bool, timeout: timedelta | None, as_json: bool) -> None:
    """Drain a server: it claims no new runs and completes its running runs.

    NAME is the name from targcc server list, which all servers of one machine share. NAME:PROCESS is a single server.

    \b
    Example:
      targcc server drain web-1:4711 --wait
      targcc server resume web-1:4711
    """

    async def work() -> None:
        async with connect() as api:
            answer: DrainOut = await api.post(path("servers", name, "drain"))
            if wait:
                await _until_empty(api, name, timeout)
        _tell(answer, "empty" if wait else "taking nothing new", as_json=as_json)

    run(work())


@server_group.command("resume")
@click.argument("name", shell_complete=server_names)
@json_option
def resume_server(name: str, *, as_json: bool) -> None:
    """End the draining of a server: it claims runs again.

    \b
    Example:
      targcc server resume web-1:4711
    """

    async def work() -> None:
        async with connect() as api:
            answer: DrainOut = await api.post(path("servers", name, "resume"))
        _tell(answer, "taking runs again", as_json=as_json)

    run(work())


def _tell(drain: DrainOut, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json([{"server": server.id, "state": what} for server in drain.servers])
        return
    for server in drain.servers:
        click.echo(as_shown(f"{server.name}:{server.process_id} is {what}"))


async def _until_empty(api: Api, name: str, patience: timedelta | None) -> None:
    """Wait until nodes have no run in two consecutive polls: a claim may have been in progress during the first.

    Raises:
        CliError: the time is up.
    """
    deadline = None if patience is None else time.monotonic() + patience.total_seconds()
    empty = False
    while True:
        busy = (await api.get(path("servers", name, "busy"))).runs
        if not busy and empty:
            return
        empty = not busy
        if deadline is not None and time.monotonic() >= deadline:
            raise NotOverError(
                f"{humanize.count(busy, 'run')} still go on; the server takes nothing new"
            )
        await asyncio.sleep(_LOOK_SECONDS)


@click.group("release", cls=Commands)
def release_group() -> None:
    """List releases, and choose the release whose schedules are used."""


@release_group.command("list")
@shows
def list_releases(*, as_json: bool) -> None:
    """List the releases whose servers have been up, newest first. Shows how each differs from the release whose schedules are used.

    \b
    Example:
      targcc release list
    """

    async def work() -> None:
        async with connect() as api:
            releases: list[Release] = await api.rows(path("releases"))
        if as_json:
            print_json(releases)
        elif not releases:
            click.echo("No server has been up yet.")
        else:
            print_table(
                ["RELEASE", "SCHEDULES", "SERVERS", "FIRST SEEN", "DIFFERS IN"],
                [
                    [
                        release.name,
                        _standing(release),
                        ", ".join(release.servers),
                        when(release.first_seen_at, api.now),
                        "; ".join(release.differences),
                    ]
                    for release in releases
                ],
            )

    run(work())


def _standing(release: Release) -> str:
    if not release.decides:
        return ""
    return (
        f"in force, chosen by {release.chosen_by}" if release.chosen_at is not None else "in force"
    )


@release_group.command("use")
@click.argument("name", required=False)
@click.option("--newest", is_flag=True, help="Use the schedules of the newest release again.")
@json_option
def use_release(name: str | None, *, newest: bool, as_json: bool) -> None:
    """Use the schedules of a release, even when a newer release exists, until another release is chosen.

    \b
    Example:
      targcc release use 2026.11.24
      targcc release use --newest
    """
    if (name is None) != newest:
        raise ChoiceError("say which release, or --newest")

    async def work() -> None:
        async with connect() as api:
            answer: DoneOut = await api.post(path("releases", name or "newest", "use"))
        done(answer.message, as_json=as_json, release=name)

    run(work())
