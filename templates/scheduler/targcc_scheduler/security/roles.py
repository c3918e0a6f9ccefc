"""Roles, and the principal of a request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from ..core.actor import Actor

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
