"""Roles of one's own: each allows something with some jobs, such as to operate those whose names begin with ``finance:``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import AuthError
from ...storage import accounts
from ..roles import BUILT_IN, Grant, Role

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,19}")
_PATTERN = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


@dataclass(frozen=True, slots=True)
class OwnRole:
    """A role besides the built-in ones.

    Args:
        name: What users and tokens have.
        grants: What it allows; without any, nothing.
    """

    name: str
    grants: tuple[Grant, ...]


async def roles(connection: AsyncConnection) -> tuple[OwnRole, ...]:
    """The roles, by name."""
    return tuple(_role(row) for row in await accounts.roles(connection))


async def grants_of(connection: AsyncConnection, name: str) -> tuple[Grant, ...]:
    """What a role allows; one that is not there allows nothing."""
    row = await accounts.find_role(connection, name)
    return _role(row).grants if row is not None else ()


async def check_role(connection: AsyncConnection, name: str) -> None:
    """Check that somebody can have a role.

    Raises:
        AuthError: there is none of this name.
    """
    if name not in BUILT_IN and await accounts.find_role(connection, name) is None:
        own = [one.name for one in await roles(connection)]
        raise AuthError(f"there is no role {name}: there are {', '.join([*Role, *own])}")


async def create(connection: AsyncConnection, name: str, grants: Iterable[Grant] = ()) -> None:
    """Make a role.

    Raises:
        AuthError: the name is taken, or is not one, or neither is a pattern.
    """
    if not _NAME.fullmatch(name):
        raise AuthError(
            f"not a name of a role: {name!r}; small letters, digits, - and _ make one, up to 20"
        )
    if name in BUILT_IN or await accounts.find_role(connection, name) is not None:
        raise AuthError(f"there is a role {name} already")
    await _keep(connection, name, grants)


async def grant(connection: AsyncConnection, name: str, added: Grant) -> None:
    """Let a role allow something more; for a pattern that it has already, this instead.

    Raises:
        AuthError: there is no such role, or it is no pattern.
    """
    kept = [one for one in await _existing(connection, name) if one.jobs != added.jobs]
    await _keep(connection, name, [*kept, added])


async def revoke(connection: AsyncConnection, name: str, jobs: str) -> None:
    """Let a role allow nothing any more with the jobs of a pattern.

    Raises:
        AuthError: there is no such role, or it allows nothing with them.
    """
    grants = await _existing(connection, name)
    kept = [one for one in grants if one.jobs != jobs]
    if len(kept) == len(grants):
        raise AuthError(f"the role {name} has no grant for {jobs}")
    await _keep(connection, name, kept)


async def remove(connection: AsyncConnection, name: str) -> None:
    """Remove a role that nobody has.

    Raises:
        AuthError: there is no such role, or somebody has it.
    """
    await _existing(connection, name)
    if holders := await accounts.holders(connection, name):
        raise AuthError(f"{', '.join(holders)} have the role {name}: give them another one first")
    await accounts.remove_role(connection, name)


async def assign(connection: AsyncConnection, user: str, role: str) -> None:
    """Give a user another role, at once.

    Raises:
        AuthError: there is no such role or user.
    """
    await check_role(connection, role)
    if not await accounts.change_role(connection, user, role):
        raise AuthError(f"there is no user {user}")


async def _existing(connection: AsyncConnection, name: str) -> tuple[Grant, ...]:
    row = await accounts.find_role(connection, name)
    if row is None:
        built_in = ": a built-in role stays as it is" if name in BUILT_IN else ""
        raise AuthError(f"there is no role {name} of your own{built_in}")
    return _role(row).grants


async def _keep(connection: AsyncConnection, name: str, grants: Iterable[Grant]) -> None:
    said = list(grants)
    for one in said:
        if not _PATTERN.fullmatch(one.jobs):
            raise AuthError(f"not a pattern of job names: {one.jobs!r}")
    stored = json.dumps([[one.may, one.jobs] for one in said])
    await accounts.keep_role(connection, name, stored)


def _role(row: accounts.Row) -> OwnRole:
    return OwnRole(
        row.Name, tuple(Grant(Role(may), jobs) for may, jobs in json.loads(row.GrantsJson))
    )
