"""``targcc user``, ``token``, ``role`` and ``session``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from ...cli.common import audited, duration, opened, operator, refuse_server, run
from ...cli.connect import connect, path
from ...cli.group import ChoiceError, Commands
from ...cli.output import done, json_option, print_json, print_table, shows, when
from ...core.identity import Grant, Role

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from ...web.api.schema import DoneOut
    from .schemas import SessionOut, TokenOut, UserOut

# ``targcc user`` and ``targcc token``: accounts for the dashboard and the API.


@click.group("user", cls=Commands)
def user_group() -> None:
    """Manage the users that may sign in to the dashboard."""


@click.group("token", cls=Commands)
def token_group() -> None:
    """Manage the tokens that programs use for the REST API."""


def _password(*, from_stdin: bool) -> str:
    refuse_server()
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    try:
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    except click.Abort:
        if sys.stdin.isatty():
            raise  # Ctrl-C
        raise ChoiceError(
            "no password came: where nobody types, --password-stdin reads it"
        ) from None


@user_group.command("add")
@click.argument("name")
@click.option(
    "--role",
    type=str.lower,
    metavar="ROLE",
    help="Role of the user: viewer, operator, admin, or a custom role. Default: admin for the first user, else viewer.",
)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@json_option
def add_user(name: str, *, role: str | None, password_stdin: bool, as_json: bool) -> None:
    """Add a user.

    \b
    Example:
      targcc user add dana --role operator
    """
    from . import passwords, roles, users

    hashed = passwords.hash_password(_password(from_stdin=password_stdin), name)

    async def first() -> bool:
        async with opened() as scheduler:
            return not await scheduler.read(users.has_users)

    wanted = role or (Role.ADMIN if run(first()) else Role.VIEWER)

    async def work(db: AsyncConnection, now: datetime) -> None:
        await roles.check_role(db, wanted)
        await users.add_user(db, name, hashed, wanted, now)

    audited("add user", f"{name} as {wanted}", work)
    done(f"{name} may sign in as {wanted}", as_json=as_json, name=name, role=wanted)


@user_group.command("list")
@shows
def list_users(*, as_json: bool) -> None:
    """List the users that may sign in.

    \b
    Example:
      targcc user list
    """

    async def work() -> None:
        async with connect() as api:
            rows: list[UserOut] = await api.rows(path("users"))
        if as_json:
            print_json(rows)
        elif not rows:
            click.echo("There is no user yet: targcc user add NAME")
        else:
            print_table(
                ["NAME", "ROLE", "CREATED", "LAST SIGN-IN", "SECOND FACTOR"],
                [
                    [
                        u.name,
                        u.role,
                        when(u.created_at, api.now),
                        when(u.last_login_at, api.now),
                        "on" if u.second_factor else "",
                    ]
                    for u in rows
                ],
            )

    run(work())


@user_group.command("remove")
@click.argument("name")
@json_option
def remove_user(name: str, *, as_json: bool) -> None:
    """Remove a user and end their sessions.

    \b
    Example:
      targcc user remove dana
    """
    from . import users

    audited("remove user", name, lambda db, _: users.remove_user(db, name))
    done(f"{name} is removed", as_json=as_json, name=name)


@user_group.command("password")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@json_option
def change_password(name: str, *, password_stdin: bool, as_json: bool) -> None:
    """Change a user's password and end their sessions.

    \b
    Example:
      targcc user password dana
    """
    from . import passwords, users

    hashed = passwords.hash_password(_password(from_stdin=password_stdin), name)
    audited("change password", name, lambda db, _: users.change_password(db, name, hashed))
    done(f"{name} has another password", as_json=as_json, name=name)


@user_group.command("reset-second-factor")
@click.argument("name")
@json_option
def reset_second_factor(name: str, *, as_json: bool) -> None:
    """Remove the second factor of a user who has lost it, and end their sessions.

    \b
    Example:
      targcc user reset-second-factor dana
    """
    from . import second_factor

    audited("reset second factor", name, lambda db, _: second_factor.reset(db, name))
    message = f"{name} signs in by password alone until they turn it on again"
    done(message, as_json=as_json, name=name)


@token_group.command("create")
@click.argument("name")
@click.option(
    "--role",
    type=str.lower,
    metavar="ROLE",
    default=str(Role.VIEWER),
    show_default=True,
    help="Role of the token: viewer, operator, admin, or a custom role.",
)
@click.option(
    "--expires",
    type=duration,
    metavar="DURATION",
    help="Lifetime of the token, such as 90d. Default: until revoked.",
)
@click.option(
    "--start",
    "jobs",
    multiple=True,
    metavar="JOB",
    help="Job that the token may start and whose runs it may see; nothing else is allowed. May be repeated.",
)
@click.option(
    "--account",
    default="",
    metavar="NAME",
    help="Name of the program that owns the token. The audit names the program for all its tokens.",
)
@click.option("--quiet", is_flag=True, help="Print the token alone.")
def create_token(
    name: str,
    *,
    role: str,
    expires: timedelta | None,
    jobs: Sequence[str],
    account: str,
    quiet: bool,
) -> None:
    """Create a token. The token is shown only once.

    \b
    Example:
      targcc token create prometheus
      targcc token create shop --role operator --expires 90d
      targcc token create shop-2027 --account shop --start SendInvoices
    """
    from . import roles, sessions

    made: list[str] = []
    keys = run(_job_names(jobs)) if jobs else None
    wanted = role if keys is None else Role.OPERATOR

    async def work(db: AsyncConnection, now: datetime) -> None:
        await roles.check_role(db, wanted)
        by = str(operator())
        made.append(
            await sessions.create_token(
                db, name, wanted, by=by, now=now, life=expires, account=account, jobs=keys
            )
        )

    audited("create token", f"{name} as {sessions.scope_of(wanted, keys)}", work)
    if quiet:
        click.echo(made[0])
        return
    click.echo(f"{made[0]}\n\nKeep it now: it is not shown again. Send it with each request:")
    click.echo("  Authorization: Bearer …")


async def _job_names(jobs: Sequence[str]) -> list[str]:
    """Return the registered name of each job; the arguments may be written in any way that the scheduler finds."""
    async with opened() as scheduler:
        return [scheduler.find(job).name for job in jobs]


@token_group.command("list")
@shows
def list_tokens(*, as_json: bool) -> None:
    """List the tokens. Secrets are not stored and not shown.

    \b
    Example:
      targcc token list
    """

    async def work() -> None:
        async with connect() as api:
            tokens: list[TokenOut] = await api.rows(path("tokens"))
        if as_json:
            print_json(tokens)
        elif not tokens:
            click.echo("There is no token yet: targcc token create NAME")
        else:
            print_table(
                ["NAME", "ACCOUNT", "MAY", "BEGINS WITH", "BY", "CREATED", "LAST USED", "ENDS"],
                [
                    [
                        t.name,
                        t.account,
                        t.scope,
                        t.prefix,
                        t.created_by,
                        when(t.created_at, api.now),
                        when(t.last_used_at, api.now),
                        when(t.expires_at, api.now),
                    ]
                    for t in tokens
                ],
            )

    run(work())


@token_group.command("revoke")
@click.argument("name")
@json_option
def revoke_token(name: str, *, as_json: bool) -> None:
    """Revoke a token.

    \b
    Example:
      targcc token revoke shop
    """
    from . import sessions

    audited("revoke token", name, lambda db, _: sessions.revoke_token(db, name))
    done(f"the token {name} is revoked", as_json=as_json, name=name)


# ``targcc role``: custom roles, their grants and their job patterns.

_MAY = click.Choice([*Role], case_sensitive=False)
_ALL = "*"


@click.group("role", cls=Commands)
def role_group() -> None:
    """Manage custom roles, which apply to some jobs."""


@role_group.command("list")
@shows
def list_roles(*, as_json: bool) -> None:
    """List the roles with their permissions and jobs.

    \b
    Example:
      targcc role list
    """
    from . import roles

    async def work() -> None:
        async with opened() as scheduler:
            own = await scheduler.read(roles.roles)
        rows = [(str(entry), str(entry), _ALL) for entry in Role]
        rows += [(role.name, str(entry.may), entry.jobs) for role in own for entry in role.grants]
        rows += [(role.name, "", "") for role in own if not role.grants]
        if as_json:
            print_json([{"role": role, "may": may, "jobs": jobs} for role, may, jobs in rows])
        else:
            print_table(["ROLE", "MAY", "JOBS"], [list(row) for row in rows])

    run(work())


@role_group.command("create")
@click.argument("name")
@click.option(
    "--grant",
    "grants",
    multiple=True,
    nargs=2,
    metavar="MAY PATTERN",
    type=(_MAY, str),
    help="Permission (viewer, operator or admin) on the jobs that match a pattern. May be repeated.",
)
@json_option
def create_role(name: str, *, grants: tuple[tuple[str, str], ...], as_json: bool) -> None:
    """Create a role. Users and tokens get the role with --role, users of an OpenID provider through TARGCC_OIDC_ROLES.

    \b
    Example:
      targcc role create finance --grant operator "finance:*" --grant viewer "Daily*"
    """
    from . import roles

    given = [Grant(Role(may), jobs) for may, jobs in grants]
    grants_text = roles.shown_grants(given)
    audited("create role", f"{name}: {grants_text}", lambda db, _: roles.create(db, name, given))
    done(f"the role {name} allows: {grants_text}", as_json=as_json, role=name)


@role_group.command("grant")
@click.argument("name")
@click.argument("may", type=_MAY)
@click.argument("pattern")
@json_option
def grant(name: str, may: str, pattern: str, *, as_json: bool) -> None:
    """Grant a role a permission on the jobs that match a pattern. Takes effect at once.

    \b
    Example:
      targcc role grant finance viewer "Daily*"
    """
    from . import roles

    added = Grant(Role(may), pattern)
    audited("grant", f"{name}: {added}", lambda db, _: roles.grant(db, name, added))
    done(f"the role {name} allows {added}", as_json=as_json, role=name)


@role_group.command("revoke")
@click.argument("name")
@click.argument("pattern")
@json_option
def revoke(name: str, pattern: str, *, as_json: bool) -> None:
    """Revoke the permissions of a role on a pattern. Takes effect at once.

    \b
    Example:
      targcc role revoke finance "Daily*"
    """
    from . import roles

    audited("revoke", f"{name}: {pattern}", lambda db, _: roles.revoke(db, name, pattern))
    done(f"the role {name} has no grant for {pattern} any more", as_json=as_json, role=name)


@role_group.command("assign")
@click.argument("name")
@click.argument("user")
@json_option
def assign(name: str, user: str, *, as_json: bool) -> None:
    """Assign a role to a user, built-in or custom. Takes effect in open sessions, too.

    \b
    Example:
      targcc role assign finance dana
    """
    from . import roles

    audited("change role", f"{user} is {name}", lambda db, _: roles.assign(db, user, name))
    done(f"{user} is {name}", as_json=as_json, role=name)


@role_group.command("remove")
@click.argument("name")
@json_option
def remove_role(name: str, *, as_json: bool) -> None:
    """Remove an unused role: no user or token has it.

    \b
    Example:
      targcc role remove finance
    """
    from . import roles

    audited("remove role", name, lambda db, _: roles.remove(db, name))
    done(f"the role {name} is removed", as_json=as_json, role=name)


# ``targcc session``: browser sessions.


@click.group("session", cls=Commands)
def session_group() -> None:
    """List and end sessions of signed-in browsers."""


@session_group.command("list")
@click.option("--user", metavar="NAME", help="Only sessions of this user.")
@shows
def list_sessions(*, user: str | None, as_json: bool) -> None:
    """List the sessions with user, browser, origin and start time.

    \b
    Example:
      targcc session list --user dana
    """

    async def work() -> None:
        async with connect() as api:
            rows: list[SessionOut] = await api.rows(path("sessions"), user=user)
        if as_json:
            print_json(rows)
        elif not rows:
            click.echo("Nobody is signed in.")
        else:
            print_table(
                ["ID", "WHO", "BROWSER", "FROM", "SIGNED IN", "LAST USED", "ENDS"],
                [
                    [
                        row.id,
                        row.name,
                        row.device,
                        row.address,
                        when(row.created_at, api.now),
                        when(row.last_seen_at, api.now),
                        when(row.expires_at, api.now),
                    ]
                    for row in rows
                ],
            )

    run(work())


@session_group.command("end")
@click.argument("session_id", metavar="ID", required=False)
@click.option("--user", metavar="NAME", help="End all sessions of this user.")
@click.option("--all", "everybody", is_flag=True, help="End the sessions of all users.")
@json_option
def end_sessions(
    session_id: str | None, *, user: str | None, everybody: bool, as_json: bool
) -> None:
    """End one session, all sessions of a user, or all sessions. The users have to sign in again.

    \b
    Example:
      targcc session end 5f0c1a2b3c4d
      targcc session end --user dana
    """
    if sum([session_id is not None, user is not None, everybody]) != 1:
        raise ChoiceError("say which: ID, --user NAME or --all")

    async def work() -> None:
        async with connect() as api:
            if session_id is not None:
                response: DoneOut = await api.delete(path("sessions", session_id))
            else:
                response = await api.delete(path("sessions"), user=user, all=everybody or None)
        done(response.message, as_json=as_json)

    run(work())
