"""Verdicts: the standing of each job from parity and evidence, and the load by the hour."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from targcc_gen.evidence.model import Evidence, Verdict, Weighed
from targcc_gen.evidence.weigh import place_of
from targcc_gen.parity.compare import schedule_of, zone_of
from targcc_gen.parity.shapes import Difference
from targcc_gen.sources.model import SECOND, Import, ImportedJob

# Verdicts.

_EITHER_DAY = "day and weekday"
_READINGS = {_EITHER_DAY, "calendar"}
"""Differences that come from the reading of a row, not from clock changes."""


class Standing(StrEnum):
    """The result of a job's import."""

    SAME = "exactly as before"
    """Same times by its schedule and by its history."""
    UNSEEN = "no evidence"
    """Same times by its schedule; the history has no evidence."""
    DIFFERS = "differs"
    """The new scheduler runs the job at another time somewhere."""
    FOLLOWED = "follows its history"
    """The history contradicts the row, and the new schedule follows the history."""
    CONTRADICTED = "history says otherwise"
    """The history contradicts the row; the owner has to decide."""
    LOOSE = "not compared"
    """No times of its own: manual, once, or counted from the last run."""


@dataclass(frozen=True, slots=True)
class Standings:
    """The standing of every job, by key.

    Attributes:
        by_key: The standings.
        differences: The first difference between old and new schedule, by key.
        second: The keys of second schedules; these count as no jobs.
    """

    by_key: Mapping[str, Standing]
    differences: Mapping[str, Difference]
    second: Collection[str] = ()

    def count(self, standing: Standing) -> int:
        """Count the jobs with a standing."""
        return sum(each is standing for key, each in self.by_key.items() if key not in self.second)

    @property
    def compared(self) -> int:
        """The number of jobs with comparable times."""
        return len(self.by_key) - len(self.second) - self.count(Standing.LOOSE)


def unsettled(differences: Sequence[Difference], weighed: Weighed) -> list[Difference]:
    """Return the differences that no history has settled. A history that shows day AND weekday settles the reading of the old server."""
    return [
        difference
        for difference in differences
        if not _settled(difference, evidence_of(difference.job, weighed))
    ]


def _settled(difference: Difference, evidence: Evidence) -> bool:
    """Return whether a difference is about the reading of a schedule and the history shows the old server's reading."""
    if any(finding.kind == "reading" and finding.chosen for finding in evidence.findings):
        return difference.kind in _READINGS
    return difference.kind == _EITHER_DAY and evidence.verdict is Verdict.AGREES


def evidence_of(job: ImportedJob, weighed: Weighed) -> Evidence:
    """Return the evidence about a job; a second schedule has the evidence of its first schedule."""
    evidence = weighed.of(place_of(job))
    if job.old.id and job.old.id.endswith(SECOND):
        place = f"{job.row.place}#{job.old.id.removesuffix(SECOND)}#{job.old.name}"
        evidence = weighed.of(place)
    return evidence


def standings(result: Import, all_differences: Sequence[Difference], weighed: Weighed) -> Standings:
    """Return the standing of every job.

    Args:
        result: The outcome of every row.
        all_differences: The differences between old and new schedules.
        weighed: The evidence of the history.
    """
    differences = {
        difference.job.key: difference for difference in reversed(all_differences)
    }  # the first difference of each job
    by_key = {
        job.key: _standing(job, evidence_of(job, weighed), differs=job.key in differences)
        for job in result.all_jobs
    }
    return Standings(by_key, differences, {job.key for job in result.second})


def _standing(job: ImportedJob, evidence: Evidence, *, differs: bool) -> Standing:
    if evidence.verdict is Verdict.CONTRADICTS:
        followed = any(
            finding.chosen for finding in evidence.findings if finding.kind in {"reading", "dead"}
        )
        return Standing.FOLLOWED if followed else Standing.CONTRADICTED
    if differs:
        return Standing.DIFFERS
    if not _has_times(job):
        return Standing.LOOSE
    return Standing.SAME if evidence.verdict is Verdict.AGREES else Standing.UNSEEN


def _has_times(job: ImportedJob) -> bool:
    """Return whether a job's schedule has times of its own."""
    return job.spec.cron is not None or (job.spec.every is not None and job.spec.after is None)


def owner_questions(
    standing: Standing, evidence: Evidence, difference: Difference | None
) -> list[str]:
    """Return the questions to a job's owner before the switch."""
    texts = [
        f"{finding.text}{f': {finding.chosen}' if finding.chosen else ''}. Right?"
        for finding in evidence.findings
    ]
    if difference is not None:
        texts.append(f"Old: {difference.old}; new: {difference.new}. Right?")
    if standing is Standing.UNSEEN:
        texts.append("Nothing tells when it ran. Does its schedule say what you expect?")
    return texts


# Load of each hour of the day: before by the history, after by the new schedules.

_BEFORE = timedelta(days=28)
_AFTER = timedelta(days=14)
_HOURS = 24
_MOST = 30_000
_DAY = timedelta(days=1)


@dataclass(slots=True)
class Hour:
    """An hour of a usual day: the number of runs that begin in the hour, and the minutes that these runs take."""

    runs: float = 0.0
    minutes: float = 0.0

    def add(self, seconds: float | None, share: float) -> None:
        """Count a run, or a share of a run."""
        self.runs += share
        self.minutes += share * (seconds or 0) / 60

    def to_json(self) -> dict[str, float]:
        """Return the hour's rounded numbers, for JSON."""
        return {"runs": round(self.runs, 2), "minutes": round(self.minutes, 2)}


def load_by_hour(result: Import, weighed: Weighed) -> dict[str, Any]:
    """Return the load before and after, hour by hour.

    Returns:
        ``hours``: ``before`` and ``after`` of each of the 24 hours; ``days``: the number of days of history counted, 0 without history.
    """
    before, days = _before(result, weighed)
    after = _after(result, weighed)
    return {
        "days": days,
        "hours": [
            {"hour": hour, "before": before[hour].to_json(), "after": after[hour].to_json()}
            for hour in range(_HOURS)
        ],
    }


def _hours() -> list[Hour]:
    return [Hour() for _ in range(_HOURS)]


def _before(result: Import, weighed: Weighed) -> tuple[list[Hour], int]:
    hours, alive = _hours(), weighed.alive
    if alive is None:
        return hours, 0
    longest = 0
    for job in [*result.jobs, *result.inactive]:
        past = result.history.of(job.old.id, job.old.name)
        runs = past.log.last(_MOST) if past else []
        runs = [run for run in runs if alive - _BEFORE < run.started <= alive]
        if runs:  # a new job has a shorter history
            days = max(1, -((runs[0].started - alive) // _DAY))
            longest = max(longest, days)
            for run in runs:
                hours[run.started.hour].add(run.seconds, 1 / days)
    return hours, longest


def _after(result: Import, weighed: Weighed) -> list[Hour]:
    hours = _hours()
    share = _DAY / _AFTER
    for job in result.running:
        seconds = evidence_of(job, weighed).typical
        if job.spec.every is not None and (job.spec.after is not None or job.spec.anchor is None):
            for hour in hours:
                hour.add(seconds, timedelta(hours=1) / job.spec.every)
            continue
        for moment in _next(result, job):
            hours[moment.hour].add(seconds, share)
    return hours


def _next(result: Import, job: ImportedJob) -> Iterator[datetime]:
    options = result.options
    schedule = schedule_of(job.spec)
    if schedule is None:
        return
    start = options.now
    moments = schedule.between(start, start + _AFTER, zone_of(job.spec, options.zone))
    for moment, _ in zip(moments, range(_MOST), strict=False):
        yield moment.astimezone(options.zone)
