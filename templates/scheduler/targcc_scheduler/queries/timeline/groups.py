"""Jobs put together by their schedule: of ten thousand jobs many have the same, which is then looked at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from ...jobs.definition import JobDefinition
from ...schedules import CronSchedule, Schedule


@dataclass(frozen=True, slots=True)
class Group:
    """The names of the jobs of one schedule and zone."""

    schedule: Schedule
    zone: str
    names: list[str]


Groups = Sequence[Group]


def grouped(jobs: Iterable[JobDefinition]) -> Groups:
    """The jobs that have a schedule, by it."""
    found: dict[Hashable, Group] = {}
    for job in jobs:
        if job.schedule is None:
            continue
        # The same text is the same expression, and Python keeps the hash of a text.
        schedule = job.schedule
        key = (schedule.text if type(schedule) is CronSchedule else schedule, job.timezone)
        group = found.get(key)
        if group is None:
            group = found[key] = Group(job.schedule, job.timezone, [])
        group.names.append(job.name)
    return tuple(found.values())
