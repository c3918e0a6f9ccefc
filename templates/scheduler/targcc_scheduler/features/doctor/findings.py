"""Findings: the results of checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import QueryTimeout
from ...core.masking import mask

Level = Literal["fail", "warn", "ok"]
_ORDER: tuple[Level, ...] = ("fail", "warn", "ok")


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Args:
        level: ``fail``: something does not work, or runs or rows may be lost; ``warn``: something is slow or needs a look; ``ok``.
        check: Subject of the check in a word or two: ``database``, ``nodes``, …
        what: The result.
        advice: The remedy; empty for ``ok``.
    """

    level: Level
    check: str
    what: str
    advice: str = ""


Check = Callable[[AsyncConnection], Awaitable[list[Finding]]]
"""A check of a database."""


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings by level, ``fail`` first. Findings with the same level keep their order."""
    return sorted(findings, key=lambda one: _ORDER.index(one.level))


def reason_of(error: Exception) -> str:
    """Return the first line of an error's message, with passwords masked."""
    if isinstance(error, TimeoutError) and not isinstance(error, QueryTimeout):
        return "no answer in time"
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig else error
    lines = str(cause).strip().splitlines()
    return mask(lines[0] if lines else type(cause).__name__)
