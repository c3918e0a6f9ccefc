"""The evidence about a job: the facts of its history about its schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """The result of comparing a job's history with its row."""

    AGREES = "agrees"
    CONTRADICTS = "contradicts"
    NONE = "no evidence"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact of the history that a person should know.

    Attributes:
        kind: A word for programs: ``reading``, ``dead``, ``by hand``, ``too long``, ``keeps failing``, ``month end``, …
        text: The fact, with counts.
        examples: Moments of the old server's wall clock that show the fact.
        chosen: The consequence for the new job; empty: the owner decides.
    """

    kind: str
    text: str
    examples: tuple[datetime, ...] = ()
    chosen: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        return {
            "kind": self.kind,
            "text": self.text,
            "examples": [moment.isoformat(" ", "minutes") for moment in self.examples],
            "chosen": self.chosen,
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence about a job.

    Attributes:
        verdict: Whether history and row agree about the job's run times.
        text: The reason in a sentence with counts.
        findings: Findings for the owner.
        typical: The median duration of a run in seconds.
        longest: The longest run in seconds.
        reading: The reading of its schedule that the history supports, in words; empty without evidence.
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
        jobs: The evidence by the job's place, as from ``place_of``.
        alive: The last known activity of the old server, by its wall clock.
    """

    jobs: Mapping[str, Evidence] = field(default_factory=dict)
    alive: datetime | None = None

    def of(self, place: str) -> Evidence:
        """Return the evidence about the job of a row."""
        return self.jobs.get(place, Evidence())

    def count(self, verdict: Verdict) -> int:
        """Count the jobs with a verdict."""
        return sum(job.verdict is verdict for job in self.jobs.values())


def latest_moments(moments: Sequence[datetime], most: int = 3) -> tuple[datetime, ...]:
    """Return the last ``most`` moments, in order."""
    return tuple(moments[-most:])


def moment_text(moment: datetime) -> str:
    """Format a moment: ``Mon 5 Jan 2026 02:00``."""
    return f"{moment:%a} {moment.day} {moment:%b %Y %H:%M}"
