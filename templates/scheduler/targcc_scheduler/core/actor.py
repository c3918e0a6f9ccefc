"""Actors, the origins of an action, and the jobs that the current actor may see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

# Actors: the origin of an action, such as the scheduler itself, a dashboard user, an API client or a CLI user.


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


# The jobs that the current request may see and act on, where access is limited to some jobs.
#
# The web layer sets the scope for the time of a request. Work of the process itself, such as running jobs, sees everything.


@dataclass(frozen=True, slots=True)
class Visibility:
    """The jobs that a user with a role for some jobs may see and act on.

    Args:
        seen: The names of the jobs that the user may view.
        operated: The subset of ``seen`` that the user may act on.
        administered: The subset of ``operated`` whose runs the user may delete.
        person: The name of the user, to find the user's own objects besides jobs.
    """

    seen: frozenset[str]
    operated: frozenset[str]
    administered: frozenset[str]
    person: str


visibility: ContextVar[Visibility | None] = ContextVar("targcc_visibility", default=None)
"""The scope of the current request; ``None``: everything is visible."""


@contextmanager
def everything_visible() -> Iterator[None]:
    """Make everything visible within the context, then restore the scope from before."""
    token = visibility.set(None)
    try:
        yield
    finally:
        visibility.reset(token)
