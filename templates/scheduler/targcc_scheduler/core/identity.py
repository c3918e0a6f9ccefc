"""Roles, the principal of a request, and the protocol of identity providers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from .actor import Actor
from .errors import AuthError

if TYPE_CHECKING:
    from starlette.requests import Request

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


# Identity providers.


def page_cookie(package: str) -> str:
    """Return the name of the cookie of a browser that has exchanged a token of a project's host for a session."""
    return f"targcc_page_{package}"


class IdentityProvider(Protocol):
    """Authenticate requests in one way. Providers are asked in order; the first principal counts."""

    async def authenticate(self, request: Request) -> Principal | None:
        """Return the principal of the request.

        Without credentials of this provider's kind, return ``None``; the next provider is asked.

        Raises:
            CredentialsRefused: the request carries wrong credentials of this provider's kind; no other provider is asked.
        """


# The name and role of a person, from another system: an OpenID provider or a proxy.

_LONGEST = 80


def known_name(claim: object, where: str) -> str:
    """Check a name from a provider or proxy and return the name without surrounding blanks.

    Args:
        claim: The value from the provider or proxy.
        where: The claim or header of the value, for the error.

    Raises:
        AuthError: the value is no text of 1 to 80 characters, or has characters that cannot be printed.
    """
    if not isinstance(claim, str) or not claim.strip() or len(claim) > _LONGEST:
        raise AuthError(f"there is no name in {where}")
    if not claim.isprintable():
        raise AuthError(f"the name in {where} has characters that are no text")
    return claim.strip()


def role_of(claim: object, roles: Mapping[str, str], default: str) -> str | None:
    """Return the role for the groups in a claim; ``None`` when no group matches and there is no default.

    The highest built-in role wins. Without a built-in role, the first custom role in the order of ``roles`` wins.

    Args:
        claim: The claim's value: one group as text, or a list of groups.
        roles: Map each group to its role.
        default: The role when no group matches; empty for no role.
    """
    groups = [claim] if isinstance(claim, str) else claim
    known = (
        {name for name in groups if isinstance(name, str)} if isinstance(groups, Iterable) else ()
    )
    given = [role for group, role in roles.items() if group in known]
    built_in = [role for role in Role if role in given]
    return built_in[-1] if built_in else next(iter(given), default or None)
