"""Roles, and who has been let in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

ACCOUNT_NAME = re.compile(r"[\w][\w.@+-]{0,63}")


class Role(StrEnum):
    """How far somebody may go; each role may do all that the one before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what needs ``needed``."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who has been let in.

    Args:
        name: A user's name, a token's name, or ``login link``.
        role: How far they may go.
        csrf: What every form must carry; ``None`` for a token, which no browser sends by itself.
    """

    name: str
    role: Role
    csrf: str | None = field(default=None, repr=False)
