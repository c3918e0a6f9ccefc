"""Roles, and the principal of a request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

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


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request, once they are known.

    Args:
        name: A user's name, a token's name, or ``login link``.
        role: What they may do.
        csrf: The CSRF token that every form must carry; ``None`` where no browser sends the credentials by itself.
        session: The id of the browser's session; empty for others.
        jobs: All that a token may do is start these jobs and look at their runs; ``None``: whatever the role allows.
        caller: The actor to store; ``None``: it is made of the name and how the request came.
    """

    name: str
    role: Role
    csrf: str | None = field(default=None, repr=False)
    session: str = ""
    jobs: tuple[str, ...] | None = None
    caller: Actor | None = None

    def covers(self, needed: Role, job: str | None = None) -> bool:
        """Whether they may do what needs a role; what is about one job, if it is named."""
        if self.jobs is not None and job not in self.jobs:
            return False
        return self.role.covers(needed)
