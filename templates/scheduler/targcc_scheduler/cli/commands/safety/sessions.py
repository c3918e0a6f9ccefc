"""``targcc session``: browsers that are signed in."""

from __future__ import annotations

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from ....core.humanize import count
from ....security import sessions
from ...common import opened, operator, run
from ...group import CliError, Commands
from ...output import json_option, print_json, print_table, when


@click.group("session", cls=Commands)
def session_group() -> None:
    """See which browsers are signed in, and end their sessions."""


@session_group.command("list")
@click.option("--user", metavar="NAME", help="Only theirs.")
@json_option
def list_sessions(*, user: str | None, as_json: bool) -> None:
    """Show the sessions: whose, on which browser, from where, since when.

    \b
    Example:
      targcc session list --user dana
    """

    async def work() -> None:
        async with opened() as scheduler:
            now, idle = scheduler.clock.now(), scheduler.settings.session_idle
            found = await scheduler.read(lambda db: sessions.sessions(db, now, idle, name=user))
        if as_json:
            names = (
                *("id", "name", "role", "device", "address"),
                *("created_at", "last_seen_at", "expires_at"),
            )
            print_json([{name: getattr(one, name) for name in names} for one in found])
        elif not found:
            click.echo("Nobody is signed in.")
        else:
            print_table(
                ["ID", "WHO", "BROWSER", "FROM", "SIGNED IN", "LAST USED", "ENDS"],
                [
                    [
                        one.id,
                        one.name,
                        one.device,
                        one.address,
                        when(one.created_at, now),
                        when(one.last_seen_at, now),
                        when(one.expires_at, now),
                    ]
                    for one in found
                ],
            )

    run(work())


@session_group.command("end")
@click.argument("session_id", metavar="ID", required=False)
@click.option("--user", metavar="NAME", help="All of this user.")
@click.option("--all", "everybody", is_flag=True, help="All of everybody.")
def end_sessions(session_id: str | None, *, user: str | None, everybody: bool) -> None:
    """End one session, those of a user, or all: whoever has them signs in again.

    \b
    Example:
      targcc session end 5f0c1a2b3c4d
      targcc session end --user dana
    """
    if sum([session_id is not None, user is not None, everybody]) != 1:
        raise CliError("say which: ID, --user NAME or --all")

    async def work() -> str:
        async with opened() as scheduler:
            now = scheduler.clock.now()

            async def end(db: AsyncConnection) -> str:
                if session_id is not None:
                    whose = await sessions.revoke(db, session_id, operator(), now)
                    return f"{session_id} of {whose}"
                ended = await sessions.revoke_all(db, operator(), now, name=user)
                return f"{count(ended, 'session')} of {user or 'everybody'}"

            return await scheduler.change(end)

    click.echo(f"ended: {run(work())}")
