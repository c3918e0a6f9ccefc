"""Who does something: the scheduler itself, somebody at the dashboard, a program at the API, somebody at the command line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ActorKind(StrEnum):
    """How somebody reached the scheduler; the first word of ``TriggeredBy``."""

    SYSTEM = "System"
    MANUAL = "Manual"
    API = "API"
    CLI = "CLI"
    LEGACY = "Legacy"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something.

    Args:
        kind: How they reached the scheduler.
        name: Which user or token, if known.
        remote: The address they came from, for the audit.
    """

    kind: ActorKind | str
    name: str | None = None
    remote: str | None = None

    def __str__(self) -> str:
        """Such as ``Manual (dana)``, at most 100 characters."""
        kind = str(self.kind)
        return kind if not self.name else f"{kind} ({self.name[: 97 - len(kind)]})"


SYSTEM = Actor(ActorKind.SYSTEM)
"""The scheduler itself."""
