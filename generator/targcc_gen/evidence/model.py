"""The evidence about one job: what its history says about its schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """Whether a job's history and its row say the same."""

    AGREES = "agrees"
    CONTRADICTS = "contradicts"
    NONE = "no evidence"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the history that a person should know.

    Attributes:
        kind: A word for programs: ``reading``, ``dead``, ``by hand``, ``too long``, ``keeps failing``, ``month end``, …
        text: What, with counts.
        examples: Moments of the old server's wall clock that show it.
        chosen: What was done about it; empty: nothing, it is for the owner to decide.
    """

    kind: str
    text: str
    examples: tuple[datetime, ...] = ()
    chosen: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding for a program."""
        return {
            "kind": self.kind,
            "text": self.text,
            "examples": [moment.isoformat(" ", "minutes") for moment in self.examples],
            "chosen": self.chosen,
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one job.

    Attributes:
        verdict: Whether history and row agree about when it ran.
        text: Why, in one sentence with counts.
        findings: What to look at.
        typical: The usual length of a run in seconds: half of them took no longer.
        longest: The longest run in seconds.
        reading: The reading of its schedule that the history supports, in words; empty where it tells nothing.
    """

    verdict: Verdict = Verdict.NONE
    text: str = "nothing tells when it ran"
    findings: tuple[Finding, ...] = ()
    typical: int | None = None
    longest: int | None = None
    reading: str = ""


@dataclass(frozen=True, slots=True)
class Weighed:
    """The evidence about every job of an import.

    Attributes:
        jobs: By the job's place, as ``place_of`` gives it.
        alive: When the old server was last seen at work, by its wall clock.
    """

    jobs: Mapping[str, Evidence] = field(default_factory=dict)
    alive: datetime | None = None

    def of(self, place: str) -> Evidence:
        """The evidence about the job of a row."""
        return self.jobs.get(place, Evidence())

    def count(self, verdict: Verdict) -> int:
        """How many jobs have a verdict."""
        return sum(job.verdict is verdict for job in self.jobs.values())


def latest_moments(moments: Sequence[datetime], most: int = 3) -> tuple[datetime, ...]:
    """The latest of some moments, in order."""
    return tuple(moments[-most:])


def moment_text(moment: datetime) -> str:
    """A moment as people read it: ``Mon 5 Jan 2026 02:00``."""
    return f"{moment:%a} {moment.day} {moment:%b %Y %H:%M}"
