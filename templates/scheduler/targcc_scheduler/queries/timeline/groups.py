"""Jobs put together by their schedule: of ten thousand jobs many have the same, which is then looked at once."""

from __future__ import annotations

from collections.abc import Iterable

from ...jobs.definition import JobDefinition
from ...schedules import Schedule

Groups = dict[tuple[Schedule, str], list[str]]
"""The names of the jobs of each schedule and zone."""


def grouped(jobs: Iterable[JobDefinition]) -> Groups:
    """The jobs that have a schedule, by it."""
    found: Groups = {}
    for job in jobs:
        if job.schedule is not None:
            found.setdefault((job.schedule, job.timezone), []).append(job.name)
    return found
