"""How each job stands: theory and evidence in one word, and what its owner is asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from targcc_gen.evidence.model import Evidence, Verdict, Weighed
from targcc_gen.evidence.weigh import place_of
from targcc_gen.parity.compare import Difference
from targcc_gen.sources.model import SECOND, Import, ImportedJob

_EITHER_DAY = "day and weekday"
_READINGS = {_EITHER_DAY, "calendar"}
"""Differences that come from how a row is read, and not from what clocks do."""


class Standing(StrEnum):
    """How a job comes over."""

    SAME = "exactly as before"
    """By its schedule and by its history."""
    UNSEEN = "no evidence"
    """By its schedule alone; nothing tells when it ran."""
    DIFFERS = "differs"
    """The new scheduler runs it at another time somewhere."""
    FOLLOWED = "follows its history"
    """Its history says otherwise than its row, and was followed."""
    CONTRADICTED = "history says otherwise"
    """Its history says otherwise than its row, and the owner has to decide."""
    LOOSE = "not compared"
    """It has no times of its own: manual, once, or counted from its own runs."""


@dataclass(frozen=True, slots=True)
class Standings:
    """The standing of every job, by its key.

    Attributes:
        by_key: The standings.
        differences: Where old and new part, by key.
        second: The keys of second schedules, which are no jobs of their own.
    """

    by_key: Mapping[str, Standing]
    differences: Mapping[str, Difference]
    second: Collection[str] = ()

    def count(self, standing: Standing) -> int:
        """How many jobs stand so."""
        return sum(one is standing for key, one in self.by_key.items() if key not in self.second)

    @property
    def compared(self) -> int:
        """How many jobs have times that can be compared."""
        return len(self.by_key) - len(self.second) - self.count(Standing.LOOSE)


def unsettled(found: Sequence[Difference], weighed: Weighed) -> list[Difference]:
    """The differences that no history has settled: where it shows day AND weekday, that is how the old server read it."""
    return [one for one in found if not _settled(one, evidence_of(one.job, weighed))]


def _settled(one: Difference, evidence: Evidence) -> bool:
    """Whether the history says how the old server read a schedule, where the difference is one of reading."""
    if any(found.kind == "reading" and found.chosen for found in evidence.findings):
        return one.kind in _READINGS
    return one.kind == _EITHER_DAY and evidence.verdict is Verdict.AGREES


def evidence_of(job: ImportedJob, weighed: Weighed) -> Evidence:
    """The evidence about a job; a second schedule has its first one's."""
    found = weighed.of(place_of(job))
    if job.old.id and job.old.id.endswith(SECOND):
        place = f"{job.row.place}#{job.old.id.removesuffix(SECOND)}#{job.old.name}"
        found = weighed.of(place)
    return found


def standings(result: Import, found: Sequence[Difference], weighed: Weighed) -> Standings:
    """How every job stands.

    Args:
        result: The end of every row.
        found: Where old and new part.
        weighed: The evidence.
    """
    differences = {one.job.key: one for one in reversed(found)}  # of each the first
    by_key = {
        job.key: _standing(job, evidence_of(job, weighed), differs=job.key in differences)
        for job in result.all_jobs
    }
    return Standings(by_key, differences, {job.key for job in result.second})


def _standing(job: ImportedJob, evidence: Evidence, *, differs: bool) -> Standing:
    if evidence.verdict is Verdict.CONTRADICTS:
        followed = any(one.chosen for one in evidence.findings if one.kind in {"reading", "dead"})
        return Standing.FOLLOWED if followed else Standing.CONTRADICTED
    if differs:
        return Standing.DIFFERS
    if not _has_times(job):
        return Standing.LOOSE
    return Standing.SAME if evidence.verdict is Verdict.AGREES else Standing.UNSEEN


def _has_times(job: ImportedJob) -> bool:
    """Whether a job's schedule names times, which can be compared."""
    return job.spec.cron is not None or (job.spec.every is not None and job.spec.after is None)


def asked(standing: Standing, evidence: Evidence, difference: Difference | None) -> list[str]:
    """What the owner of a job is asked before it is switched over."""
    texts = [
        f"{one.text}{f': {one.chosen}' if one.chosen else ''}. Right?" for one in evidence.findings
    ]
    if difference is not None:
        texts.append(f"Old: {difference.old}; new: {difference.new}. Right?")
    if standing is Standing.UNSEEN:
        texts.append("Nothing tells when it ran. Does its schedule say what you expect?")
    return texts
