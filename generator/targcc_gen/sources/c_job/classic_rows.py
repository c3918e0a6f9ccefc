"""Rows of the ``classic`` shape, TARGCC 4.x: a kind of schedule, a first time, a count, and a code that names the work.

How the old runner computed the next run is told beside each kind; ``w`` is ``WhenToRun``, ``n`` is ``CyclicCount``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from targcc_gen.readers import cells
from targcc_gen.readers.rows import Row
from targcc_gen.sources.c_job.history import History
from targcc_gen.sources.c_job.model import Draft, Refused
from targcc_gen.sources.c_job.recipients import Recipients
from targcc_gen.sources.model import OldJob, OldSchedule, Past

_BUILT_IN = {
    "scanjobs": "the new scheduler looks for due jobs by itself",
    "moveaudits": "there is no audit table to move",
    "imalive": "/health/live and the nodes' heartbeats say it",
}
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: tuple[str, ...] = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN")
_MONTHS += ("JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_SHORTEST_MONTH = 28
_HOURS = 24
_FEW_RUNS = 7


@dataclass(frozen=True, slots=True)
class Context:
    """What rows are read against.

    Attributes:
        recipients: Who is told.
        history: What the old server logged.
        procedures: A stored procedure for each code, in lower case.
        fallback: Addresses for jobs without recipients (the old server wrote to its administrator).
        now: The old server's wall clock now, to tell whether a one-off is still to come.
        shared: Codes that more than one runner has, in lower case.
    """

    recipients: Recipients
    history: History
    procedures: Mapping[str, str]
    fallback: tuple[str, ...]
    now: datetime
    shared: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Reading:
    """A row while it is read."""

    row: Row
    context: Context
    code: str
    name: str
    warnings: list[str] = field(default_factory=list)
    old: OldSchedule = OldSchedule.NONE

    @property
    def id(self) -> str | None:
        return cells.key(self.row, "id")

    @property
    def last_run(self) -> datetime | None:
        return cells.moment(self.row, "lastruntime")

    def when(self) -> datetime:
        """``WhenToRun``; refused without one."""
        when = cells.moment(self.row, "whentorun")
        if when is None:
            expression = cells.unknowns(self.row).get("whentorun")
            known = f": {expression} is known to the old server only" if expression else ""
            raise Refused("it has no WhenToRun" + known)
        return when

    def count(self) -> int:
        """``CyclicCount``; refused unless positive, as the old runner logged an error and never ran it."""
        count = cells.integer(self.row, "cycliccount")
        if count is None or count <= 0:
            shown = "NULL" if count is None else count
            raise Refused(
                f"CyclicCount is {shown}: the old runner logged an error and never ran it"
            )
        return count


def code_of(row: Row) -> str | None:
    """The code that names the work, ``lkpJob``."""
    return cells.text(row, "lkpjob")


def draft(row: Row, context: Context) -> Draft:
    """What a row says.

    Raises:
        Refused: It is deleted, built in, or has no schedule that could run.
    """
    code = code_of(row)
    if code is None:
        raise Refused("it has no lkpJob")
    if deleted := cells.text(row, "deletedon"):
        raise Refused(f"it was deleted on {deleted[:10]}")
    if code.lower() in _BUILT_IN:
        raise Refused(f"{code} is built into TaskManager: {_BUILT_IN[code.lower()]}")
    reading = _Reading(row, context, code, _name(row, code, context.shared))
    schedule = _schedule(reading)
    values = {**schedule, **_work(reading), "retries": 0}
    if (timeout := cells.integer(row, "timeoutsec") or 0) > 0:
        values["timeout"] = timedelta(seconds=timeout)
    if alerts := _alerts(reading, scheduled="type" not in schedule):
        values["alerts"] = alerts
    return Draft(
        row, reading.name, values, _active(reading), _old(reading), tuple(reading.warnings)
    )


def _name(row: Row, code: str, shared: frozenset[str]) -> str:
    runner = cells.text(row, "lkpjobrunner")
    return f"{code} ({runner})" if code.lower() in shared and runner else code


def _active(reading: _Reading) -> bool:
    active = cells.flag(reading.row, "active")
    if active is None and "active" not in reading.row.values:
        reading.warnings.append("Active is not in the export: taken as active")
        return True
    return bool(active)


# --- Schedules --------------------------------------------------------------------------------------------------------


def _schedule(reading: _Reading) -> dict[str, Any]:
    if cells.flag(reading.row, "ismanaged") is False:
        reading.warnings.append(
            "IsManaged is 0: an outside program ran it; let that program call POST /api/jobs/…/trigger"
        )
        return {"type": "manual"}
    kind = cells.text(reading.row, "enmjobtype") or "NULL"
    read = _KINDS.get(kind.lower())
    if read is None:
        raise Refused(f'enmJobType "{kind}" is no kind of schedule')
    return read(reading)


def _clock(when: datetime) -> str:
    return f"{when.minute} {when.hour}"


def _daily(reading: _Reading) -> dict[str, Any]:
    """Today at w's time, else tomorrow."""
    reading.old = OldSchedule.DAILY
    return {"cron": f"{_clock(reading.when())} * * *"}


def _weekly(reading: _Reading) -> dict[str, Any]:
    """Meant: w's weekday. The old runner computed the weekday and dropped it, so it ran every day."""
    reading.old = OldSchedule.DAILY
    when = reading.when()
    day = _DAYS[when.weekday()]
    past = reading.context.history.of(reading.id, reading.name)
    reading.warnings.append(
        f"Weekly: the old runner had a fault and ran it every day at {when:%H:%M}, not only on {day}."
        f" It is created for {day}, as it was meant{_what_history_says(past, when)}"
    )
    return {"cron": f"{_clock(when)} * * {_WEEKDAYS[when.weekday()]}"}


def _what_history_says(past: Past | None, when: datetime) -> str:
    if past is None or past.runs < _FEW_RUNS:
        return "; the history has too few runs to tell what people were used to"
    meant = past.weekdays[when.weekday()]
    return f"; of {past.runs} logged runs, {past.runs - meant} were on other days"


def _monthly(reading: _Reading) -> dict[str, Any]:
    """This month on w's day, else a month later by adding a month, which clips to the month's end and stays clipped."""
    reading.old = OldSchedule.MONTHLY
    when = reading.when()
    if when.day > _SHORTEST_MONTH:
        reading.warnings.append(
            f"Monthly on day {when.day}: the old runner moved to the end of a shorter month and stayed on that day;"
            f" the cron leaves those months out (L would be each month's last day)"
        )
    return {"cron": f"{_clock(when)} {when.day} * *"}


def _annually(reading: _Reading) -> dict[str, Any]:
    """W's month and day each year; 29 February became 28 February in common years."""
    reading.old = OldSchedule.ANNUALLY
    when = reading.when()
    if (when.month, when.day) == (2, 29):
        reading.warnings.append(
            "Annually on 29 February: the old runner used the 28th in common years; the cron runs in leap years only"
        )
    return {"cron": f"{_clock(when)} {when.day} {_MONTHS[when.month - 1]} *"}


def _cyclic_day(reading: _Reading) -> dict[str, Any]:
    """The last run's date at w's time, plus n days until it is in the future."""
    when, count = reading.when(), reading.count()
    if count == 1:
        return _daily(reading)
    anchor = reading.last_run or when
    at = when.time().replace(second=0, microsecond=0)
    return {"every": timedelta(days=count), "anchor": datetime.combine(anchor.date(), at)}


def _cyclic_hour(reading: _Reading) -> dict[str, Any]:
    """The last run's hour at w's minute, plus n hours until in the future."""
    when, count = reading.when(), reading.count()
    anchor = (reading.last_run or when).replace(minute=when.minute, second=0, microsecond=0)
    if _HOURS % count:
        return {"every": timedelta(hours=count), "anchor": anchor}
    phase = anchor.hour % count
    hours = "*" if count == 1 else f"*/{count}" if phase == 0 else f"{phase}-23/{count}"
    hours = str(phase) if count == _HOURS else hours
    reading.old = OldSchedule.CRON
    return {"cron": f"{when.minute} {hours} * * *"}


def _after_completion(**unit: int) -> Callable[[_Reading], dict[str, Any]]:
    def read(reading: _Reading) -> dict[str, Any]:
        """The last completion plus n minutes or seconds, or now if that has passed."""
        return {"every": timedelta(**unit) * reading.count(), "after": "completion"}

    return read


def _one_off(reading: _Reading) -> dict[str, Any]:
    """Once, at w; then the row is set inactive."""
    when = reading.when()
    if reading.last_run is not None:
        reading.warnings.append(
            f"OneOff: it ran on {reading.last_run:%Y-%m-%d}; it is a manual job now"
        )
        return {"type": "manual"}
    if when <= reading.context.now:
        reading.warnings.append(
            f"OneOff: its time, {when:%Y-%m-%d %H:%M}, has passed and it never ran; it is a manual job now"
        )
        return {"type": "manual"}
    return {"at": when}


_KINDS: dict[str, Callable[[_Reading], dict[str, Any]]] = {
    "daily": _daily,
    "weekly": _weekly,
    "monthly": _monthly,
    "annually": _annually,
    "cyclicday": _cyclic_day,
    "cyclichour": _cyclic_hour,
    "cyclicmin": _after_completion(minutes=1),
    "cyclicsec": _after_completion(seconds=1),
    "oneoff": _one_off,
}


# --- Work and alerts --------------------------------------------------------------------------------------------------


def _work(reading: _Reading) -> dict[str, Any]:
    description = cells.text(reading.row, "description")
    instructions = cells.text(reading.row, "instructions")
    procedure = reading.context.procedures.get(reading.code.lower())
    parts = [description or "", f"Instructions: {instructions}" if instructions else ""]
    values: dict[str, Any] = {"blueprint": "stored-procedure", "procedure": procedure}
    if procedure is None:
        values = {"blueprint": "not-ported"}
        runner = cells.text(reading.row, "lkpjobrunner")
        parts.append(
            f"TaskManager's code: {reading.code}" + (f" (runner {runner})" if runner else "")
        )
    if text := "\n\n".join(part for part in parts if part):
        values["description"] = text
    return values


def _alerts(reading: _Reading, *, scheduled: bool) -> dict[str, Any] | None:
    row = reading.row
    events = ["failure"]
    if cells.flag(row, "sendnotificationonsuccess"):
        events.append("success")
        reading.warnings.append(
            "SendNotificationOnSuccess: the old server mailed once a day or when the remarks changed; now each success"
        )
    if cells.flag(row, "sendalarmonmissed") and scheduled:
        events.append("missed")
    addresses = reading.context.recipients.of(reading.id, reading.name) or reading.context.fallback
    if not addresses:
        reading.warnings.append(
            "no recipient: the old server wrote to its administrator; give --alert-email"
        )
        return None
    return {"on": tuple(events), "email": addresses}


def _old(reading: _Reading) -> OldJob:
    row = reading.row
    kind = cells.text(row, "enmjobtype") or ""
    count = cells.integer(row, "cycliccount")
    return OldJob(
        name=reading.name,
        id=reading.id,
        schedule=reading.old,
        schedule_text=f"{kind} {count}" if kind.lower().startswith("cyclic") else kind,
        when=cells.moment(row, "whentorun"),
        last_run=reading.last_run,
        next_run=cells.moment(row, "nextruntime"),
        last_result=cells.text(row, "enmjobstatus"),
    )
