"""Rows of the ``classic`` shape, TARGCC 4: schedules, built-in codes, a queue for each runner."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from targcc_scheduler.schedules.classic import (
    ClassicSchedule,
    ClassicScheduleError,
    ClassicTimes,
    Weekly,
    classic_schedule,
)

from targcc_gen.readers import rows as reader_rows
from targcc_gen.readers.rows import Row
from targcc_gen.sources.c_job import tables
from targcc_gen.sources.c_job.companions import Recipients, procedure_name
from targcc_gen.sources.c_job.tables import History
from targcc_gen.sources.drafts import Draft, Refused
from targcc_gen.sources.model import OldJob, Past

# Codes built into TaskManager. Some codes need no job; others need a new home for their work. Codes are case-sensitive.

DROPPED = {
    "ScanJobs": "the new scheduler looks for due jobs by itself, and alerts on missed slots replace its mails",
    "MoveAudits": "there is no audit table to move",
    "ImAlive": "/health/live and the nodes' heartbeats say it",
}
"""Codes without remaining work, each with the reason."""

PROCEDURE_PREFIX = "mntm_"
"""The prefix, in any case, of codes that are stored procedures. The code is the procedure's exact name; the call has no arguments."""


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a built-in code on the database. The work stops with TaskManager.

    Attributes:
        procedure: The stored procedure that did the work, if any.
        note: Facts for the owner.
    """

    procedure: str | None
    note: str


WORK = {
    "BackupDB": Work(
        "c__BackupDatabase",
        "built into TaskManager, which called c__BackupDatabase and stopped it after 120 s; here nothing stops it unless timeout: says so",
    ),
    "ReorganizeIndexes": Work(
        "c__ReorganizeIndexes",
        "built into TaskManager, which called c__ReorganizeIndexes and stopped it after 120 s; here nothing stops it unless timeout: says"
        " so",
    ),
    "DeleteOldLogs": Work(
        "c__CleanLogs",
        "built into TaskManager: c__CleanLogs was one part of it, and files of old logs on its machine were another; that part needs a new"
        " home",
    ),
    "UnlockUsers": Work(
        None,
        "built into TaskManager, with no procedure of its own: it stops with TaskManager, so write it in the job's file or name a procedure"
        " with --procedure-map",
    ),
}
"""Built-in codes that are real work."""


def dropped(code: str) -> str | None:
    """Return the reason that a code needs no job; None if the code needs a job.

    ``ImAlive`` matches in any case, because the runner looks it up in the table.
    """
    return DROPPED["ImAlive"] if code.lower() == "imalive" else DROPPED.get(code)


def near_miss(code: str) -> str | None:
    """Return the built-in code that a code differs from by case only. TaskManager did not match such a code."""
    known = {name.lower(): name for name in (*DROPPED, *WORK)}
    name = known.get(code.lower())
    return name if name != code else None


# A queue for each old runner: TARGCC 4 ran one job at a time for each ``lkpJobRunner``.

_OTHERS = re.compile(r"[^a-z0-9]+")
_LONGEST = 50


def queue_names(runners: Iterable[str], taken: Collection[str] = ()) -> dict[str, str]:
    """Return a queue name for each runner: ``SRV01\\tasks`` is ``srv01-tasks``. Equal names get a number.

    Args:
        runners: Names of runners, in any order.
        taken: Names already in use.
    """
    names: dict[str, str] = {}
    used = {*taken, "default"}
    for runner in sorted(set(runners)):
        base = _OTHERS.sub("-", runner.lower()).strip("-")
        if not base[:1].isalpha():
            base = f"runner-{base}".rstrip("-")
        name, number = base[:_LONGEST], 1
        while name in used:
            number += 1
            name = f"{base[: _LONGEST - len(str(number)) - 1]}-{number}"
        used.add(name)
        names[runner] = name
    return names


# The schedule of a row as fields of a job, with notes to its owner.
# ``targcc_scheduler.schedules.classic`` defines the kinds of schedules; hybrid mode runs the same rows by that module.

T = TypeVar("T")

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SHORTEST_MONTH, _LONGEST_MONTH = 28, 31
_FEW_RUNS = 7


@dataclass(slots=True)
class Timing:
    """The times of a row during conversion.

    Attributes:
        row: The row.
        now: The old server's current wall clock, to tell whether a one-off lies in the future.
        active: Whether the row is switched on.
        weekly: The reading of Weekly.
        past: The past runs of the row.
        notes: Notes to the owner, in order of appearance.
    """

    row: Row
    now: datetime
    active: bool
    weekly: Weekly = "every-day"
    past: Past | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def next_run(self) -> datetime | None:
        """``NextRunTime``."""
        return _time(self.row, "nextruntime")

    @property
    def last_run(self) -> datetime | None:
        """``LastRunTime``: the end of the last run."""
        return _time(self.row, "lastruntime")

    def times(self, kind: str) -> ClassicTimes:
        """Return the columns that define the schedule.

        Raises:
            Refused: A column that the kind needs cannot be read.
        """
        word = kind.lower()
        if word in _NEEDS_WHEN and "whentorun" not in self.row.values:
            raise Refused("WhenToRun is not in the export")
        when = _needed(reader_rows.moment, self.row, "whentorun", needed=word in _NEEDS_WHEN)
        count = _needed(
            reader_rows.integer, self.row, "cycliccount", needed=word.startswith("cyclic")
        )
        is_counted = word in _COUNTED and count != 1
        _needed(reader_rows.moment, self.row, "nextruntime", needed=is_counted or word == "oneoff")
        if self.next_run is None:
            _needed(reader_rows.moment, self.row, "lastruntime", needed=is_counted)
        return ClassicTimes(kind, when, count, self.next_run, self.last_run)


def _needed(read: Callable[..., T | None], row: Row, column: str, *, needed: bool) -> T | None:
    """Read a cell. A cell that is not ``needed`` and cannot be read gives ``None``.

    Raises:
        Refused: A needed cell cannot be read, or the cell can be read in several ways.
    """
    try:
        return read(row, column)
    except reader_rows.UnreadableCellError as error:
        if needed or error.is_ambiguous:
            raise Refused(str(error)) from None
        return None


def _time(row: Row, column: str) -> datetime | None:
    """Return a time. The first day of the calendar means none: the old runner's language writes it so.

    Raises:
        Refused: The time can be read in several ways.
    """
    moment = _needed(reader_rows.moment, row, column, needed=False)
    return None if moment is None or moment.year == 1 else moment


def schedule(kind: str, timing: Timing) -> dict[str, Any]:
    """Return the ``JobSpec`` fields of a kind, ``enmJobType``.

    Raises:
        Refused: The kind is unknown, or the schedule cannot run.
    """
    times = timing.times(kind)
    try:
        result = classic_schedule(times, now=timing.now, weekly=timing.weekly)
    except ClassicScheduleError as error:
        raise Refused(str(error)) from None
    if tell := _NOTES.get(kind.lower()):
        tell(timing, times)
    _note_start(timing, result, times)
    if kind.lower() == "oneoff" and (result.at is None or result.at <= timing.now):
        timing.notes.append(f"OneOff: {_why_manual(timing, times)}; it is a manual job now")
        return {"type": "manual"}
    return result.options()


def _weekly(timing: Timing, times: ClassicTimes) -> None:
    """Note that the old runner computes the weekday and drops it."""
    when = times.first
    day = _DAYS[when.weekday()]
    ran = f"Weekly: the old runner drops the weekday and runs it every day at {when:%H:%M}, not only on {day}"
    if timing.weekly == "every-day":
        timing.notes.append(
            f"{ran}; so does the new job{_what_history_says(timing.past, when)}."
            f" Decide: --weekly as-meant makes it {day}; --weekly repaired says that your runner was mended to keep the weekday"
        )
    elif timing.weekly == "as-meant":
        text = f"{ran}; the new job runs on {day}, as it was meant{_what_history_says(timing.past, when)}"
        timing.notes.append(text)


def _what_history_says(past: Past | None, when: datetime) -> str:
    if past is None or past.runs < _FEW_RUNS:
        return "; the history has too few runs to tell what people were used to"
    meant = past.weekdays[when.weekday()]
    return f"; of {past.runs} logged runs, {past.runs - meant} were on other days"


def _monthly(timing: Timing, times: ClassicTimes) -> None:
    """Note that the old runner could not compute the next run in a month without the row's day."""
    day = times.first.day
    if day > _SHORTEST_MONTH:
        last = day == _LONGEST_MONTH
        ours = "on each month's last day, too" if last else "only in months that have the day"
        timing.notes.append(
            f"Monthly on day {day}: in a shorter month the old runner ran it on the last day, could not store its end, and did nothing"
            f" else until the month was over; the new job runs {ours}, and nothing hangs"
        )


def _annually(timing: Timing, times: ClassicTimes) -> None:
    if (times.first.month, times.first.day) == (2, 29):
        timing.notes.append(
            "Annually on 29 February: in a common year the old runner ran it on the 28th, could not store its end, and hung; the new job"
            " runs in leap years only. Choose 28 FEB or L FEB if it should run each year"
        )


def _note_start(timing: Timing, result: ClassicSchedule, times: ClassicTimes) -> None:
    match result.counted_from:
        case "LastRunTime":
            timing.notes.append(
                f"NextRunTime is NULL: counted from LastRunTime, {times.last_run:%Y-%m-%d %H:%M}, which is when a run ended, as ScanJobs would"
            )
        case "WhenToRun" | "now":
            when = times.when or timing.now
            timing.notes.append(
                f"it has neither NextRunTime nor LastRunTime: counted from {when:%Y-%m-%d %H:%M}; the old runner would have begun with its"
                " next scan"
            )


def _why_manual(timing: Timing, times: ClassicTimes) -> str:
    at = times.next_run
    if at is not None and at > timing.now:
        return (
            f"NextRunTime, {at:%Y-%m-%d}, is the end of the calendar: it was not to run by itself"
        )
    if at is not None:
        return f"NextRunTime, {at:%Y-%m-%d %H:%M}, has passed and it did not run; the old runner would run it at once"
    if not timing.active:
        ran = f"it ran on {times.last_run:%Y-%m-%d} and " if times.last_run else "it "
        return f"{ran}is switched off; a program or person started it with run now"
    return (
        f"NextRunTime is NULL: the next scan would set it to {times.first:%Y-%m} on the day of that scan. When is it to run?"
        " Give the job at: in targcc.yaml"
    )


_NOTES: dict[str, Callable[[Timing, ClassicTimes], None]] = {
    "weekly": _weekly,
    "monthly": _monthly,
    "annually": _annually,
}
_NEEDS_WHEN = {"daily", "weekly", "monthly", "annually", "cyclicday", "cyclichour"}
_COUNTED = {"cyclicday", "cyclichour"}
"""Kinds that count from another run if their count is not 1."""


# Rows: a kind of schedule, a first time, a count, and a code that names the work.


@dataclass(frozen=True, slots=True)
class Context:
    """The context for reading rows.

    Attributes:
        recipients: The recipients of alerts.
        history: The past runs.
        procedures: The stored procedure of each code; codes in lower case.
        fallback: Addresses for jobs without recipients; the old server wrote to its administrator.
        now: The old server's current wall clock, to tell whether a one-off lies in the future.
        weekly: The reading of Weekly.
        shared: Codes that more than one runner has, in lower case.
    """

    recipients: Recipients
    history: History
    procedures: Mapping[str, str]
    fallback: tuple[str, ...]
    now: datetime
    weekly: Weekly = "every-day"
    shared: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Reading:
    """A row during conversion."""

    row: Row
    context: Context
    code: str
    name: str
    timing: Timing
    managed: bool

    @property
    def id(self) -> str | None:
        return reader_rows.key(self.row, "id")

    def note(self, text: str) -> None:
        self.timing.notes.append(text)


def code_of(row: Row) -> str | None:
    """Return the code that names the work, ``lkpJob``."""
    return reader_rows.text(row, "lkpjob")


def draft(row: Row, context: Context) -> Draft:
    """Convert a row to a draft.

    Raises:
        Refused: The row is deleted, is a built-in code without remaining work, or has no schedule that can run.
    """
    code = code_of(row)
    if code is None:
        raise Refused("it has no lkpJob")
    if deleted := tables.deleted_on(row):
        raise Refused(f"it was deleted on {deleted[:10]}")
    if reason := dropped(code):
        raise Refused(f"{code} is built into TaskManager: {reason}")
    reading = _reading(row, context, code)
    result = _schedule(reading)
    values = {**result, **_work(reading), **_as_before(reading, result)}
    if alerts := _alerts(reading, scheduled="type" not in result):
        values["alerts"] = alerts
    return Draft(
        row,
        reading.name,
        values,
        reading.timing.active,
        _old(reading),
        tuple(reading.timing.notes),
    )


def _reading(row: Row, context: Context, code: str) -> _Reading:
    runner = reader_rows.text(row, "lkpjobrunner")
    name = f"{code} ({runner})" if code.lower() in context.shared and runner else code
    notes: list[str] = []
    active = _bit(row, "active", "taken as active", notes)
    managed = _bit(
        row,
        "ismanaged",
        "taken as run by TaskManager; of rows with 0 or NULL that is wrong",
        notes,
    )
    past = context.history.of(reader_rows.key(row, "id"), name)
    timing = Timing(row, context.now, active, context.weekly, past, notes)
    if not {"active", "ismanaged"} <= row.values.keys() and not _ran(timing):
        notes.append("nothing shows that TaskManager ever ran it: created paused")
        timing.active = False
    return _Reading(row, context, code, name, timing, managed)


def _ran(timing: Timing) -> bool:
    """Return whether the export shows a run of the row. A run does not show whether the row is switched on."""
    past = timing.past
    return not timing.row.is_sparse and (timing.last_run is not None or past is not None)


def _bit(row: Row, column: str, otherwise: str, notes: list[str]) -> bool:
    """Return a bit as the old runner reads it: NULL is 0. A column missing in the export counts as 1.

    Raises:
        UnreadableCellError: The cell is neither 0 nor 1 nor NULL.
    """
    if column in row.values:
        return bool(reader_rows.flag(row, column))
    name = {"active": "Active", "ismanaged": "IsManaged"}[column]
    if row.is_sparse:
        notes.append(
            f"{name} is in no row of the export, and its format leaves NULL out: if it is NULL in all, TaskManager ran none of them"
        )
    else:
        notes.append(f"{name} is not in the export: {otherwise}")
    return True


def _schedule(reading: _Reading) -> dict[str, Any]:
    if not reading.managed:
        shown = "0" if reader_rows.flag(reading.row, "ismanaged") is False else "NULL"
        reading.note(
            f"IsManaged is {shown}: TaskManager did not run it, an outside program asked for it, and got it at most once a slot"
            f" ({reader_rows.text(reading.row, 'enmjobtype') or 'no kind'}); let that program call POST /api/jobs/…/trigger"
        )
        return {"type": "manual"}
    return schedule(reader_rows.text(reading.row, "enmjobtype") or "", reading.timing)


def _as_before(reading: _Reading, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that keep the old server's behavior: no retries, no timeout, and one run however late."""
    if (seconds := reader_rows.readable(reader_rows.integer, reading.row, "timeoutsec") or 0) > 0:
        reading.note(
            f"TimeOutSec {seconds} stopped nothing on the old server, so the job has no timeout; give it timeout: {seconds}s if you want one"
        )
    has_slots = "type" not in values and "after" not in values
    return {"retries": 0} | ({"misfire": {"grace": "none"}} if has_slots else {})


# Work and alerts.


def _work(reading: _Reading) -> dict[str, Any]:
    description = reader_rows.text(reading.row, "description")
    instructions = reader_rows.text(reading.row, "instructions")
    procedure = reading.context.procedures.get(reading.code.lower()) or _known(reading)
    parts = [description or "", f"Instructions: {instructions}" if instructions else ""]
    values: dict[str, Any] = {"blueprint": "stored-procedure", "procedure": procedure}
    if procedure is None:
        values = {"blueprint": "not-ported"}
        runner = reader_rows.text(reading.row, "lkpjobrunner")
        parts.append(
            f"TaskManager's code: {reading.code}" + (f" (runner {runner})" if runner else "")
        )
    if text := "\n\n".join(part for part in parts if part):
        values["description"] = text
    return values


def _known(reading: _Reading) -> str | None:
    """Return the procedure that TaskManager itself called for a code."""
    code = reading.code
    if code.lower().startswith(PROCEDURE_PREFIX):
        reading.note(
            "TaskManager gave its procedure 30 s: one that takes longer failed there each time; here nothing stops it unless timeout: says so"
        )
        return procedure_name(code) or f"[{code.replace(']', ']]')}]"
    if code in WORK:
        reading.note(WORK[code].note)
        return WORK[code].procedure
    if name := near_miss(code):
        reading.note(
            f"TaskManager has {name} built in, but not in this spelling: unless your application knew {code}, each run failed (fault 128)"
        )
    return None


def _alerts(reading: _Reading, *, scheduled: bool) -> dict[str, Any] | None:
    events = ["failure"]
    if _wants_mail(reading, "sendnotificationonsuccess"):
        events.append("success")
        reading.note(
            "SendNotificationOnSuccess: the old server mailed once a day or when the remarks changed; now each success"
        )
    if scheduled and _wants_mail(reading, "sendalarmonmissed"):
        events.append("missed")
    addresses = reading.context.recipients.of(reading.id, reading.name) or reading.context.fallback
    if not addresses:
        reading.note("no recipient: the old server wrote to its administrator; give --alert-email")
        return None
    return {"on": tuple(events), "email": addresses}


def _wants_mail(reading: _Reading, column: str) -> bool:
    """Return whether the row asks for a kind of mail. An unreadable cell counts as yes, because an extra mail is noticed."""
    try:
        return bool(reader_rows.flag(reading.row, column))
    except reader_rows.UnreadableCellError as error:
        reading.note(f"{error}: taken as 1")
        return True


def _old(reading: _Reading) -> OldJob:
    row = reading.row
    kind = reader_rows.text(row, "enmjobtype") or ""
    count = reader_rows.readable(reader_rows.integer, row, "cycliccount")
    return OldJob(
        name=reading.name,
        id=reading.id,
        schedule_text=f"{kind} {count}" if kind.lower().startswith("cyclic") else kind,
        runner=reader_rows.text(row, "lkpjobrunner") or "",
        managed=reading.managed,
        last_run=reading.timing.last_run,
        next_run=reading.timing.next_run,
        last_result=reader_rows.text(row, "enmjobstatus"),
    )
