"""Rows of the ``classic`` shape, TARGCC 4.x: a kind of schedule, a first time, a count, and a code that names the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from targcc_scheduler.schedules.classic import Weekly

from targcc_gen.readers import cells
from targcc_gen.readers.rows import Row
from targcc_gen.sources.c_job import tables
from targcc_gen.sources.c_job.classic import built_ins
from targcc_gen.sources.c_job.classic.schedules import Timing, schedule
from targcc_gen.sources.c_job.history import History
from targcc_gen.sources.c_job.model import Draft, Refused
from targcc_gen.sources.c_job.procedures import procedure_name
from targcc_gen.sources.c_job.recipients import Recipients
from targcc_gen.sources.model import OldJob


@dataclass(frozen=True, slots=True)
class Context:
    """What rows are read against.

    Attributes:
        recipients: Who is told.
        history: What the old server logged.
        procedures: A stored procedure for each code, in lower case.
        fallback: Addresses for jobs without recipients (the old server wrote to its administrator).
        now: The old server's wall clock now, to tell whether a one-off is still to come.
        weekly: How Weekly is read.
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
    """A row while it is read."""

    row: Row
    context: Context
    code: str
    name: str
    timing: Timing
    managed: bool

    @property
    def id(self) -> str | None:
        return cells.key(self.row, "id")

    def note(self, text: str) -> None:
        self.timing.notes.append(text)


def code_of(row: Row) -> str | None:
    """The code that names the work, ``lkpJob``."""
    return cells.text(row, "lkpjob")


def draft(row: Row, context: Context) -> Draft:
    """What a row says.

    Raises:
        Refused: It is deleted, built in with nothing left to do, or has no schedule that could run.
    """
    code = code_of(row)
    if code is None:
        raise Refused("it has no lkpJob")
    if deleted := tables.deleted_on(row):
        raise Refused(f"it was deleted on {deleted[:10]}")
    if reason := built_ins.dropped(code):
        raise Refused(f"{code} is built into TaskManager: {reason}")
    reading = _reading(row, context, code)
    found = _schedule(reading)
    values = {**found, **_work(reading), **_as_before(reading, found)}
    if alerts := _alerts(reading, scheduled="type" not in found):
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
    runner = cells.text(row, "lkpjobrunner")
    name = f"{code} ({runner})" if code.lower() in context.shared and runner else code
    notes: list[str] = []
    active = _bit(row, "active", "taken as active", notes)
    managed = _bit(
        row,
        "ismanaged",
        "taken as run by TaskManager; of rows with 0 or NULL that is wrong",
        notes,
    )
    past = context.history.of(cells.key(row, "id"), name)
    timing = Timing(row, context.now, active, context.weekly, past, notes)
    if not {"active", "ismanaged"} <= row.values.keys() and not _ran(timing):
        notes.append("nothing shows that TaskManager ever ran it: created paused")
        timing.active = False
    return _Reading(row, context, code, name, timing, managed)


def _ran(timing: Timing) -> bool:
    """Whether the export shows that a row ran, though not whether it is switched on."""
    past = timing.past
    return not timing.row.is_sparse and (timing.last_run is not None or past is not None)


def _bit(row: Row, column: str, otherwise: str, notes: list[str]) -> bool:
    """A bit as the old runner reads it: NULL is 0. A column that the export lacks is taken as 1.

    Raises:
        UnreadableCellError: It is neither 0 nor 1 nor NULL.
    """
    if column in row.values:
        return bool(cells.flag(row, column))
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
        shown = "0" if cells.flag(reading.row, "ismanaged") is False else "NULL"
        reading.note(
            f"IsManaged is {shown}: TaskManager did not run it, an outside program asked for it, and got it at most once a slot"
            f" ({cells.text(reading.row, 'enmjobtype') or 'no kind'}); let that program call POST /api/jobs/…/trigger"
        )
        return {"type": "manual"}
    return schedule(cells.text(reading.row, "enmjobtype") or "", reading.timing)


def _as_before(reading: _Reading, found: Mapping[str, Any]) -> dict[str, Any]:
    """What the old server did about failures and missed slots: no retries, no timeout, and one run however late."""
    if (seconds := cells.readable(cells.integer, reading.row, "timeoutsec") or 0) > 0:
        reading.note(
            f"TimeOutSec {seconds} stopped nothing on the old server, so the job has no timeout; give it timeout: {seconds}s if you want one"
        )
    has_slots = "type" not in found and "after" not in found
    return {"retries": 0} | ({"misfire": {"grace": "none"}} if has_slots else {})


# --- Work and alerts --------------------------------------------------------------------------------------------------


def _work(reading: _Reading) -> dict[str, Any]:
    description = cells.text(reading.row, "description")
    instructions = cells.text(reading.row, "instructions")
    procedure = reading.context.procedures.get(reading.code.lower()) or _known(reading)
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


def _known(reading: _Reading) -> str | None:
    """The procedure that TaskManager itself called for a code."""
    code = reading.code
    if code.lower().startswith(built_ins.PROCEDURE_PREFIX):
        reading.note(
            "TaskManager gave its procedure 30 s: one that takes longer failed there each time; here nothing stops it unless timeout: says so"
        )
        return procedure_name(code) or f"[{code.replace(']', ']]')}]"
    if code in built_ins.WORK:
        reading.note(built_ins.WORK[code].note)
        return built_ins.WORK[code].procedure
    if name := built_ins.near_miss(code):
        reading.note(
            f"TaskManager has {name} built in, but not in this spelling: unless your application knew {code}, each run failed (fault 128)"
        )
    return None


def _alerts(reading: _Reading, *, scheduled: bool) -> dict[str, Any] | None:
    events = ["failure"]
    if _wanted(reading, "sendnotificationonsuccess"):
        events.append("success")
        reading.note(
            "SendNotificationOnSuccess: the old server mailed once a day or when the remarks changed; now each success"
        )
    if scheduled and _wanted(reading, "sendalarmonmissed"):
        events.append("missed")
    addresses = reading.context.recipients.of(reading.id, reading.name) or reading.context.fallback
    if not addresses:
        reading.note("no recipient: the old server wrote to its administrator; give --alert-email")
        return None
    return {"on": tuple(events), "email": addresses}


def _wanted(reading: _Reading, column: str) -> bool:
    """Whether a kind of mail was wanted; one that cannot be read is sent, as a mail too many is noticed."""
    try:
        return bool(cells.flag(reading.row, column))
    except cells.UnreadableCellError as error:
        reading.note(f"{error}: taken as 1")
        return True


def _old(reading: _Reading) -> OldJob:
    row = reading.row
    kind = cells.text(row, "enmjobtype") or ""
    count = cells.readable(cells.integer, row, "cycliccount")
    return OldJob(
        name=reading.name,
        id=reading.id,
        schedule_text=f"{kind} {count}" if kind.lower().startswith("cyclic") else kind,
        runner=cells.text(row, "lkpjobrunner") or "",
        managed=reading.managed,
        last_run=reading.timing.last_run,
        next_run=reading.timing.next_run,
        last_result=cells.text(row, "enmjobstatus"),
    )
