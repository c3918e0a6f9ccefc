"""The jobs that the current request may see and act on, where access is limited to some jobs.

The web layer sets the scope for the time of a request. Work of the process itself, such as running jobs, sees everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


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
