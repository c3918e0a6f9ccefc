"""Which jobs whoever sends a request may see and act on, where that is not all of them.

The web side sets it for the time of a request. What a process does for itself, such as running jobs, sees everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Visibility:
    """The jobs of somebody whose role is about some jobs only.

    Args:
        seen: The names of those that they may look at.
        operated: Of these, those that they may act on.
        administered: Of these, those whose runs they may delete.
        person: Their name, for what is theirs besides jobs.
    """

    seen: frozenset[str]
    operated: frozenset[str]
    administered: frozenset[str]
    person: str


visibility: ContextVar[Visibility | None] = ContextVar("targcc_visibility", default=None)
"""Of the request that is being answered; ``None``: everything may be seen."""


@contextmanager
def everything_visible() -> Iterator[None]:
    """Within it, nothing is hidden; what is set meanwhile ends with it."""
    token = visibility.set(None)
    try:
        yield
    finally:
        visibility.reset(token)
