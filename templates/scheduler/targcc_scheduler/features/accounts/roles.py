"""Built-in roles, custom roles, and the principal of a request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor
from ...core.errors import AuthError
from . import model

# Built-in roles, grants and principals.

ACCOUNT_NAME = re.compile(r"[\w][\w.@+-]{0,63}")


class Role(StrEnum):
    """Built-in roles in rising order; each role includes the roles before."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Return whether this role includes the role ``needed``."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


BUILT_IN = frozenset(map(str, Role))
"""Names of the built-in roles, which hold for all jobs."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A permission of a custom role: a built-in role, limited to the jobs that match a pattern.

    Args:
        may: The built-in role to hold for these jobs.
        jobs: A pattern of job names, such as ``finance:*``; ``*`` is any text, ``?`` is one character, case is ignored.
    """

    may: Role
    jobs: str

    def fits(self, job: str) -> bool:
        """Return whether the pattern matches the name of a job."""
        return fnmatchcase(job.casefold(), self.jobs.casefold().replace("[", "[[]"))

    def __str__(self) -> str:
        return f"{self.may} of {self.jobs}"


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated sender of a request.

    Args:
        name: A user's name, a token's account, or ``login link``.
        role: A built-in role, or the name of a custom role.
        csrf: The CSRF token that every form must carry; ``None`` when browsers do not send the credentials by themselves.
        session: The id of the browser session; empty without a session.
        jobs: The only jobs that a token may start and view; ``None`` allows all jobs that the role allows.
        caller: The actor to store; ``None`` builds the actor from the name and the request.
        grants: The grants of a custom role; ``None`` for a built-in role.
        second_factor: Whether a local user has a second factor; ``None`` for other principals.
    """

    name: str
    role: str
    csrf: str | None = field(default=None, repr=False)
    session: str = ""
    jobs: tuple[str, ...] | None = None
    caller: Actor | None = None
    grants: tuple[Grant, ...] | None = None
    second_factor: bool | None = None

    def covers(self, needed: Role, job: str | None = None) -> bool:
        """Return whether the principal has the role ``needed``, for all jobs or for the job ``job``."""
        if self.jobs is not None and job not in self.jobs:
            return False
        if self.grants is None:
            return self.role_covers(needed)
        return job is not None and any(
            grant.may.covers(needed) and grant.fits(job) for grant in self.grants
        )

    def role_covers(self, needed: Role) -> bool:
        """Return whether the built-in role includes ``needed``; ignores the jobs that a token is limited to."""
        return self.role in BUILT_IN and Role(self.role).covers(needed)

    def covers_some(self, needed: Role) -> bool:
        """Return whether the principal has the role ``needed`` for all jobs or, by a grant, for some jobs."""
        if self.grants is None:
            return self.covers(needed)
        return any(grant.may.covers(needed) for grant in self.grants)


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
        own = [one.name for one in await roles(connection)]
        raise AuthError(f"there is no role {name}: there are {', '.join([*Role, *own])}")


async def create(connection: AsyncConnection, name: str, grants: Iterable[Grant] = ()) -> None:
    """Create a custom role.

    Raises:
        AuthError: the name is taken or not valid, or the pattern of a grant is not valid.
    """
    if not _NAME.fullmatch(name):
        raise AuthError(
            f"not a name of a role: {name!r}; small letters, digits, - and _ make one, up to 20"
        )
    if name in BUILT_IN or await model.find_role(connection, name) is not None:
        raise AuthError(f"there is a role {name} already")
    await _keep(connection, name, grants)


async def grant(connection: AsyncConnection, name: str, added: Grant) -> None:
    """Add a grant to a custom role; replace an existing grant with the same pattern.

    Raises:
        AuthError: there is no such role, or the pattern is not valid.
    """
    kept = [one for one in await _existing(connection, name) if one.jobs != added.jobs]
    await _keep(connection, name, [*kept, added])


async def revoke(connection: AsyncConnection, name: str, jobs: str) -> None:
    """Remove the grant with this pattern from a custom role.

    Raises:
        AuthError: there is no such role, or the role has no grant with this pattern.
    """
    grants = await _existing(connection, name)
    kept = [one for one in grants if one.jobs != jobs]
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
        raise AuthError(f"{', '.join(holders)} have the role {name}: give them another one first")
    await model.remove_role(connection, name)


async def assign(connection: AsyncConnection, user: str, role: str) -> None:
    """Change the role of a user; takes effect in open sessions, too.

    Raises:
        AuthError: there is no such role or user.
    """
    await check_role(connection, role)
    if not await model.change_role(connection, user, role):
        raise AuthError(f"there is no user {user}")


async def _existing(connection: AsyncConnection, name: str) -> tuple[Grant, ...]:
    row = await model.find_role(connection, name)
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
    await model.keep_role(connection, name, stored)


def _role(row: model.Row) -> OwnRole:
    return OwnRole(
        row.Name, tuple(Grant(Role(may), jobs) for may, jobs in json.loads(row.GrantsJson))
    )
