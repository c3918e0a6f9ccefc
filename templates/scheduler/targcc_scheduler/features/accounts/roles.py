"""Custom roles, and the roles of users."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import AuthError, LastAdminError
from ...core.identity import BUILT_IN, Grant, Role
from ...core.languages import Localized
from . import model

# Custom roles: each has grants for some jobs, such as operator for jobs whose names begin with ``finance:``.

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,19}")
_PATTERN = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


@dataclass(frozen=True, slots=True)
class OwnRole:
    """A custom role.

    Args:
        name: The name of the role, as stored for users and tokens.
        grants: The grants of the role; a role without grants allows nothing.
    """

    name: str
    grants: tuple[Grant, ...]


async def roles(connection: AsyncConnection) -> tuple[OwnRole, ...]:
    """Return the custom roles, ordered by name."""
    return tuple(_role(row) for row in await model.roles(connection))


async def grants_of(connection: AsyncConnection, name: str) -> tuple[Grant, ...]:
    """Return the grants of a custom role; an unknown role has no grants."""
    row = await model.find_role(connection, name)
    return _role(row).grants if row is not None else ()


async def check_role(connection: AsyncConnection, name: str) -> None:
    """Check that a built-in or custom role with this name exists.

    Raises:
        AuthError: there is no such role.
    """
    if name not in BUILT_IN and await model.find_role(connection, name) is None:
        own = [role.name for role in await roles(connection)]
        raise AuthError(f"there is no role {name}: there are {', '.join([*Role, *own])}")


def shown_grants(grants: Iterable[Grant]) -> str:
    """Return the grants of a role in words."""
    return ", ".join(map(str, grants)) or "nothing yet"


async def create(connection: AsyncConnection, name: str, grants: Iterable[Grant] = ()) -> None:
    """Create a custom role.

    Raises:
        AuthError: the name is taken or not valid, or the pattern of a grant is not valid.
    """
    if not _NAME.fullmatch(name):
        raise AuthError(
            Localized(
                "not a name of a role: %(name)s; small letters, digits, - and _ make one, up to 20",
                name=repr(name),
            )
        )
    if name in BUILT_IN or await model.find_role(connection, name) is not None:
        raise AuthError(Localized("there is a role %(name)s already", name=name))
    await _keep(connection, name, grants)


async def grant(connection: AsyncConnection, name: str, added: Grant) -> None:
    """Add a grant to a custom role; replace an existing grant with the same pattern.

    Raises:
        AuthError: there is no such role, or the pattern is not valid.
    """
    kept = [entry for entry in await _existing(connection, name) if entry.jobs != added.jobs]
    await _keep(connection, name, [*kept, added])


async def revoke(connection: AsyncConnection, name: str, jobs: str) -> None:
    """Remove the grant with this pattern from a custom role.

    Raises:
        AuthError: there is no such role, or the role has no grant with this pattern.
    """
    grants = await _existing(connection, name)
    kept = [entry for entry in grants if entry.jobs != jobs]
    if len(kept) == len(grants):
        raise AuthError(f"the role {name} has no grant for {jobs}")
    await _keep(connection, name, kept)


async def remove(connection: AsyncConnection, name: str) -> None:
    """Remove a custom role.

    Raises:
        AuthError: there is no such role, or a user or token has the role.
    """
    await _existing(connection, name)
    if holders := await model.holders(connection, name):
        raise AuthError(
            Localized(
                "%(holders)s have the role %(name)s: give them another one first",
                holders=", ".join(holders),
                name=name,
            )
        )
    await model.remove_role(connection, name)


async def assign(connection: AsyncConnection, user: str, role: str) -> None:
    """Change the role of a user; takes effect in open sessions, too.

    Raises:
        AuthError: there is no such role or user.
        LastAdminError: the user is the last admin and the role is another one.
    """
    await check_role(connection, role)
    if role != Role.ADMIN and await model.lock_admins(connection) == [user]:
        raise LastAdminError(user)
    if not await model.change_role(connection, user, role):
        raise AuthError(Localized("there is no user %(name)s", name=user))


async def _existing(connection: AsyncConnection, name: str) -> tuple[Grant, ...]:
    row = await model.find_role(connection, name)
    if row is None:
        built_in = ": a built-in role stays as it is" if name in BUILT_IN else ""
        raise AuthError(f"there is no role {name} of your own{built_in}")
    return _role(row).grants


async def _keep(connection: AsyncConnection, name: str, grants: Iterable[Grant]) -> None:
    entries = list(grants)
    for entry in entries:
        if not _PATTERN.fullmatch(entry.jobs):
            raise AuthError(
                Localized("not a pattern of job names: %(pattern)s", pattern=repr(entry.jobs))
            )
    stored = json.dumps([[entry.may, entry.jobs] for entry in entries])
    await model.keep_role(connection, name, stored)


def _role(row: model.Row) -> OwnRole:
    return OwnRole(
        row.Name, tuple(Grant(Role(may), jobs) for may, jobs in json.loads(row.GrantsJson))
    )
