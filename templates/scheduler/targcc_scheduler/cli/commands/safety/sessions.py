"""``targcc session``: browsers that are signed in."""

from __future__ import annotations

import click

from ....web.api.schemas.base import DoneOut
from ....web.api.schemas.sessions import SessionOut
from ...api.reach import path, reached
from ...common import run
from ...group import CliError, Commands
from ...output import done, json_option, print_json, print_table, shows, when


@click.group("session", cls=Commands)
def session_group() -> None:
    """See which browsers are signed in, and end their sessions."""


@session_group.command("list")
@click.option("--user", metavar="NAME", help="Only theirs.")
@shows
def list_sessions(*, user: str | None, as_json: bool) -> None:
    """Show the sessions: whose, on which browser, from where, since when.

    \b
    Example:
      targcc session list --user dana
    """

    async def work() -> None:
        async with reached() as api:
            found = await api.get(path("sessions"), list[SessionOut], user=user)
        if as_json:
            print_json(found)
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
                        when(one.created_at, api.now),
                        when(one.last_seen_at, api.now),
                        when(one.expires_at, api.now),
                    ]
                    for one in found
                ],
            )

    run(work())


@session_group.command("end")
@click.argument("session_id", metavar="ID", required=False)
@click.option("--user", metavar="NAME", help="All of this user.")
@click.option("--all", "everybody", is_flag=True, help="All of everybody.")
@json_option
def end_sessions(
    session_id: str | None, *, user: str | None, everybody: bool, as_json: bool
) -> None:
    """End one session, those of a user, or all: whoever has them signs in again.

    \b
    Example:
      targcc session end 5f0c1a2b3c4d
      targcc session end --user dana
    """
    if sum([session_id is not None, user is not None, everybody]) != 1:
        raise CliError("say which: ID, --user NAME or --all")

    async def work() -> None:
        async with reached() as api:
            if session_id is not None:
                said = await api.delete(path("sessions", session_id), DoneOut)
            else:
                said = await api.delete(path("sessions"), DoneOut, user=user, all=everybody or None)
        done(said.message, as_json=as_json)

    run(work())
