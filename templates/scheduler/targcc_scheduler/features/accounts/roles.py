"""Built-in roles, own roles, and the principal of a request."""

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

# Roles, and the principal of a request.

ACCOUNT_NAME = re.compile(r"[\w][\w.@+-]{0,63}")


class Role(StrEnum):
    """What somebody may do; each role includes the ones before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what needs ``needed``."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


BUILT_IN = frozenset(map(str, Role))
"""The names of the roles that are about all jobs."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a role of one's own allows with some jobs.

    Args:
        may: As much as this built-in role, with them.
        jobs: A pattern of their names, such as ``finance:*``; ``*`` is any text, ``?`` one character, case says nothing.
    """

    may: Role
    jobs: str

    def fits(self, job: str) -> bool:
        """Whether it is about this job."""
        return fnmatchcase(job.casefold(), self.jobs.casefold().replace("[", "[[]"))

    def __str__(self) -> str:
        return f"{self.may} of {self.jobs}"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request, once they are known.

    Args:
        name: A user's name, a token's name, or ``login link``.
        role: What they may do: a built-in role, or the name of one's own.
        csrf: The CSRF token that every form must carry; ``None`` where no browser sends the credentials by itself.
        session: The id of the browser's session; empty for others.
        jobs: All that a token may do is start these jobs and look at their runs; ``None``: whatever the role allows.
        caller: The actor to store; ``None``: it is made of the name and how the request came.
        grants: What a role of one's own allows; ``None`` for a built-in role.
        second_factor: Whether a user who signed in by password has one; ``None`` of all others.
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
        """Whether they may do what needs a role; what is about one job, if it is named."""
        if self.jobs is not None and job not in self.jobs:
            return False
        if self.grants is None:
            return self.role_covers(needed)
        return job is not None and any(
            grant.may.covers(needed) and grant.fits(job) for grant in self.grants
        )

    def role_covers(self, needed: Role) -> bool:
        """Whether their built-in role includes another; what a token is limited to is not asked."""
        return self.role in BUILT_IN and Role(self.role).covers(needed)

    def covers_some(self, needed: Role) -> bool:
        """Whether there are jobs with which they may do what needs a role."""
        if self.grants is None:
            return self.covers(needed)
        return any(grant.may.covers(needed) for grant in self.grants)


# Roles of one's own: each allows something with some jobs, such as to operate those whose names begin with ``finance:``.

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
    return tuple(_role(row) for row in await model.roles(connection))


async def grants_of(connection: AsyncConnection, name: str) -> tuple[Grant, ...]:
    """What a role allows; one that is not there allows nothing."""
    row = await model.find_role(connection, name)
    return _role(row).grants if row is not None else ()


async def check_role(connection: AsyncConnection, name: str) -> None:
    """Check that somebody can have a role.

    Raises:
        AuthError: there is none of this name.
    """
    if name not in BUILT_IN and await model.find_role(connection, name) is None:
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
    if name in BUILT_IN or await model.find_role(connection, name) is not None:
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
    if holders := await model.holders(connection, name):
        raise AuthError(f"{', '.join(holders)} have the role {name}: give them another one first")
    await model.remove_role(connection, name)


async def assign(connection: AsyncConnection, user: str, role: str) -> None:
    """Give a user another role, at once.

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
