"""What a check finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["fail", "warn", "ok"]
_ORDER: tuple[Level, ...] = ("fail", "warn", "ok")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        level: ``fail``: something does not work, or work or rows may be lost; ``warn``: it will be slow, or is worth a look; ``ok``.
        check: What was looked at, in a word or two: ``database``, ``nodes``, …
        what: What was found.
        advice: What to do about it; empty when all is well.
    """

    level: Level
    check: str
    what: str
    advice: str = ""


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that matter most first; of equal ones in the order of the checks."""
    return sorted(findings, key=lambda one: _ORDER.index(one.level))


def mib(size: float) -> str:
    """A size in bytes, for people."""
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"
