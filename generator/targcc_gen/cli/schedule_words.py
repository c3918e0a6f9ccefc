"""Describe a job's schedule: its meaning, the next runs, the effect of clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from targcc_gen.visible import visible

if TYPE_CHECKING:
    from targcc_scheduler.schedules.base import Schedule

    from targcc_gen.spec import JobSpec, Spec

_RUNS = 2
_NOTES = 3
_YEAR = timedelta(days=366)


def job_words(spec: Spec, key: str, *, now: datetime | None = None) -> dict[str, Any]:
    """Describe a job's schedule as a dict, for `show_job` and for `--json`.

    Args:
        spec: A spec that contains the job.
        key: The job's key.
        now: The aware time from which the next runs count; by default the present.
    """
    from targcc_scheduler.schedules.dst import notes_on
    from targcc_scheduler.schedules.zones import parse_zone

    from targcc_gen.parity.compare import schedule_of
    from targcc_gen.render.jobs import schedule_words

    job, zone = spec.jobs[key], spec.job_zone(key)
    schedule = schedule_of(job)
    start = now or datetime.now(UTC)
    runs: list[datetime] = []
    notes: list[str] = []
    if schedule is not None:
        held, calendars = _held(spec, job, schedule)
        runs = list(islice(held.iter(start, parse_zone(zone)), _RUNS))
        notes = [*calendars, *notes_on(schedule, zone, start, _YEAR)]
    return {
        "name": key,
        "schedule": schedule_words(job),
        "timezone": zone if schedule is not None else None,
        "next": [
            {"local": run.isoformat(), "utc": run.astimezone(UTC).isoformat()} for run in runs
        ],
        "notes": notes[:_NOTES],
    }


def _held(spec: Spec, job: JobSpec, schedule: Schedule) -> tuple[Schedule, list[str]]:
    """Return the schedule with the calendars of the job and its queue applied, and notes on the calendars."""
    from targcc_scheduler.schedules.calendars import WorkingSchedule, calendar_of, respecting

    queue = spec.queues.get(job.queue or spec.defaults.queue)
    named = [*(job.calendar or ()), *(queue.calendar or () if queue else ())]
    calendar_values = {
        name: calendar_spec.model_dump(exclude_none=True)
        for name, calendar_spec in spec.calendars.items()
    }
    # A calendar of an extended file is not in `spec`.
    calendars = [
        calendar_of(name, calendar_values, None)
        for name in dict.fromkeys(named)
        if name in calendar_values
    ]
    on_holiday = job.on_holiday or (queue.on_holiday if queue else None) or "skip"
    held = respecting(schedule, calendars, on_holiday)
    if not isinstance(held, WorkingSchedule):
        return schedule, []
    family = {calendar_spec.name for calendar in calendars for calendar_spec in calendar.family()}
    files = [spec.calendars[name].ics for name in sorted(family) if spec.calendars[name].ics]
    notes = [held.describe().removeprefix(f"{schedule.describe()}, ")]
    return held, [*notes, *(f"the days in {file} are not counted here" for file in files)]


def show_job(words: dict[str, Any]) -> None:
    """Print the result of `job_words`."""
    zone = f" ({words['timezone']})" if words["timezone"] else ""
    click.echo(visible(f"{words['name']} runs {words['schedule']}{zone}"))
    for number, run in enumerate(words["next"]):
        click.echo(f"  {'next' if number == 0 else '':<6}  {_run_words(run)}")
    for note in words["notes"]:
        click.echo(f"  note    {note}")
    past = not words["next"] and not words["schedule"].startswith("never")
    if words["timezone"] and past:  # the description of a cron without a date says so already
        click.echo("  note    it is in the past: it will not run")


def _run_words(run: dict[str, str]) -> str:
    """Write `Wed 25 Nov 02:00 +02  (Wed 00:00 UTC)`."""
    local, utc = datetime.fromisoformat(run["local"]), datetime.fromisoformat(run["utc"])
    clock = "%H:%M:%S" if local.second else "%H:%M"
    year = " %Y" if local.year != datetime.now(UTC).year else ""
    offset = f"{local:%z}"
    offset = offset[:3] if offset[3:] == "00" else f"{offset[:3]}:{offset[3:5]}"
    return f"{local:%a %d %b{year} {clock}} {offset}  ({utc:%a {clock}} UTC)"
