"""How much runs in each hour of the day: before, by the history; after, by the new schedules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from targcc_gen.evidence.model import Weighed
from targcc_gen.parity.compare import schedule_of
from targcc_gen.report.verdicts import evidence_of
from targcc_gen.sources.model import Import, ImportedJob

_BEFORE = timedelta(days=28)
_AFTER = timedelta(days=14)
_HOURS = 24
_MOST = 30_000
_DAY = timedelta(days=1)


@dataclass(slots=True)
class Hour:
    """One hour of the day: runs that begin in it and minutes that they take, both of a usual day."""

    runs: float = 0.0
    minutes: float = 0.0

    def add(self, seconds: float | None, share: float) -> None:
        """Count a run, or a part of one."""
        self.runs += share
        self.minutes += share * (seconds or 0) / 60

    def to_json(self) -> dict[str, float]:
        """The hour for a program."""
        return {"runs": round(self.runs, 2), "minutes": round(self.minutes, 2)}


def load_by_hour(result: Import, weighed: Weighed) -> dict[str, Any]:
    """The load before and after, hour by hour.

    Returns:
        ``hours``: for each of 24 its ``before`` and ``after``; ``days``: how many days of history were counted, 0 for none.
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
        if runs:  # a job that is new has had fewer days
            days = max(1, -((runs[0].started - alive) // _DAY))
            longest = max(longest, days)
            for run in runs:
                hours[run.started.hour].add(run.seconds, 1 / days)
    return hours, longest


def _after(result: Import, weighed: Weighed) -> list[Hour]:
    hours = _hours()
    share = _DAY / _AFTER
    for job in [*result.jobs, *(one for one in result.second if not one.spec.paused)]:
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
    schedule = schedule_of(job.spec, options.zone)
    if schedule is None:
        return
    start = options.now
    moments = schedule.between(start, start + _AFTER, options.zone)
    for moment, _ in zip(moments, range(_MOST), strict=False):
        yield moment.astimezone(options.zone)
