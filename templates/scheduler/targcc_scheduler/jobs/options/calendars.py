"""The calendars that a job respects: its own and those of its queue, as its project has them."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from ...core.errors import JobError
from ...project import Project
from ...schedules import OnHoliday, WorkingCalendar, calendar_of, respecting
from ..definition import JobDefinition


def calendar_names(
    key: str, calendar: str | tuple[str, ...] | None, on_holiday: str | None
) -> tuple[str, ...]:
    """The names that ``calendar=`` gives.

    Raises:
        JobError: there is no such way to handle a slot on a day off.
    """
    if on_holiday is not None and on_holiday not in get_args(OnHoliday):
        raise JobError(f"{key}: on_holiday is skip, next or previous, not {on_holiday!r}")
    return (calendar,) if isinstance(calendar, str) else tuple(calendar or ())


def with_calendars(job: JobDefinition, project: Project) -> JobDefinition:
    """The job with a schedule that respects its calendars and those of its queue.

    Raises:
        CronError: there is no calendar of that name, or it cannot be read.
    """
    queue = project.queue_calendars.get(job.queue, {})
    names = dict.fromkeys([*job.calendars, *queue.get("calendar", ())])
    calendars = [project_calendar(project, name) for name in names]
    on_holiday = job.on_holiday or queue.get("on_holiday", "skip")
    return replace(job, schedule=respecting(job.schedule, calendars, on_holiday))


def project_calendar(project: Project, name: str) -> WorkingCalendar:
    """A calendar of a project. Its file is read once in the life of a process, so that all its jobs go by the same days.

    Raises:
        CronError: there is none of that name, or it cannot be read.
    """
    return _calendar(name, json.dumps(_plain(project.calendars)), project.package)


@functools.lru_cache(maxsize=256)
def _calendar(name: str, said: str, package: str) -> WorkingCalendar:
    return calendar_of(name, json.loads(said), _folder(package))


def _folder(package: str) -> Path:
    """The folder of the project's package, where the files are that calendars name."""
    try:
        found = find_spec(package)
    except (ImportError, ValueError):
        found = None
    places = found.submodule_search_locations if found is not None else None
    return Path(next(iter(places))) if places else Path.cwd()


def _plain(said: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: dict(calendar) for name, calendar in said.items()}
