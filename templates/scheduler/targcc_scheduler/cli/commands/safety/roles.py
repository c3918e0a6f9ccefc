"""``targcc role``: what roles of one's own allow, and with which jobs."""

from __future__ import annotations

import click

from ....security.rights import own_roles
from ....security.roles import Grant, Role
from ...common import audited, opened, run
from ...group import Commands
from ...output import done, json_option, print_json, print_table, shows

_MAY = click.Choice([*Role], case_sensitive=False)
_ALL = "*"


@click.group("role", cls=Commands)
def role_group() -> None:
    """Manage roles that are about some jobs, beside viewer, operator and admin."""


@role_group.command("list")
@shows
def list_roles(*, as_json: bool) -> None:
    """Show the roles: what each allows, and with which jobs.

    \b
    Example:
      targcc role list
    """

    async def work() -> None:
        async with opened() as scheduler:
            own = await scheduler.read(own_roles.roles)
        rows = [(str(one), str(one), _ALL) for one in Role]
        rows += [(role.name, str(one.may), one.jobs) for role in own for one in role.grants]
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
    help="As much as viewer, operator or admin, with the jobs whose names fit; may be given several times.",
)
@json_option
def create_role(name: str, *, grants: tuple[tuple[str, str], ...], as_json: bool) -> None:
    """Make a role; users and tokens get it by --role, people of an OpenID provider by TARGCC_OIDC_ROLES.

    \b
    Example:
      targcc role create finance --grant operator "finance:*" --grant viewer "Daily*"
    """
    given = [Grant(Role(may), jobs) for may, jobs in grants]
    said = ", ".join(map(str, given)) or "nothing yet"
    audited("create role", f"{name}: {said}", lambda db, _: own_roles.create(db, name, given))
    done(f"the role {name} allows: {said}", as_json=as_json, role=name)


@role_group.command("grant")
@click.argument("name")
@click.argument("may", type=_MAY)
@click.argument("pattern")
@json_option
def grant(name: str, may: str, pattern: str, *, as_json: bool) -> None:
    """Let a role allow something with the jobs whose names fit; whoever has it may do it at once.

    \b
    Example:
      targcc role grant finance viewer "Daily*"
    """
    added = Grant(Role(may), pattern)
    audited("grant", f"{name}: {added}", lambda db, _: own_roles.grant(db, name, added))
    done(f"the role {name} allows {added}", as_json=as_json, role=name)


@role_group.command("revoke")
@click.argument("name")
@click.argument("pattern")
@json_option
def revoke(name: str, pattern: str, *, as_json: bool) -> None:
    """Let a role allow nothing any more by this pattern, at once.

    \b
    Example:
      targcc role revoke finance "Daily*"
    """
    audited("revoke", f"{name}: {pattern}", lambda db, _: own_roles.revoke(db, name, pattern))
    done(f"the role {name} has no grant for {pattern} any more", as_json=as_json, role=name)


@role_group.command("assign")
@click.argument("name")
@click.argument("user")
@json_option
def assign(name: str, user: str, *, as_json: bool) -> None:
    """Give a user another role, built-in or of your own; it holds in their open sessions, too.

    \b
    Example:
      targcc role assign finance dana
    """
    audited("change role", f"{user} is {name}", lambda db, _: own_roles.assign(db, user, name))
    done(f"{user} is {name}", as_json=as_json, role=name)


@role_group.command("remove")
@click.argument("name")
@json_option
def remove_role(name: str, *, as_json: bool) -> None:
    """Remove a role that no user and no token has.

    \b
    Example:
      targcc role remove finance
    """
    audited("remove role", name, lambda db, _: own_roles.remove(db, name))
    done(f"the role {name} is removed", as_json=as_json, role=name)
