"""Actors: the origin of an action, such as the scheduler itself, a dashboard user, an API client or a CLI user."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ActorKind(StrEnum):
    """The channel of an action; the first word of ``TriggeredBy``."""

    SYSTEM = "System"
    MANUAL = "Manual"
    API = "API"
    CLI = "CLI"
    LEGACY = "Legacy"


@dataclass(frozen=True, slots=True)
class Actor:
    """The origin of an action.

    Args:
        kind: The channel.
        name: The user or the token, if known.
        remote: The remote address, for the audit.
    """

    kind: ActorKind | str
    name: str | None = None
    remote: str | None = None

    def __str__(self) -> str:
        """Return a text such as ``Manual (dana)``, at most 100 characters long."""
        kind = str(self.kind)
        return kind if not self.name else f"{kind} ({self.name[: 97 - len(kind)]})"


SYSTEM = Actor(ActorKind.SYSTEM)
"""The scheduler itself."""
