"""Read and check rows of TARGCC 4's ``c_Job``: names, schedules, procedures, recipients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from ...core.errors import LegacyError
from ...schedules.classic import ClassicSchedule, ClassicTimes, Weekly, classic_schedule
from ...schedules.zones import resolve
from .c_job_rows import addresses_in, is_yes, table_beside

# Schedules: convert columns of a row into options of :func:`~...kernel.jobs.declaration.define`.

Record = Mapping[str, Any]

_ORIGIN = date(2001, 1, 1).toordinal()
_EPOCH = datetime(2001, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_ONE_OFF = "oneoff"


@dataclass(frozen=True)
class Rules:
    """Schedule rules that a row does not contain.

    Args:
        zone: Time zone of the old server.
        weekly: Reading of the Weekly kind; see the setting ``legacy_weekly``.
    """

    zone: ZoneInfo
    weekly: Weekly = "every-day"


def schedule_of(row: Record, rules: Rules, now: datetime) -> dict[str, Any]:
    """Return the options ``schedule``, ``every``, ``anchor``, ``after`` and ``at`` of a row.

    The options stay the same when a run changes the row's times.

    Args:
        row: Columns by name in lower case; times are the old server's wall clock.
        rules: Schedule rules that the row does not contain.
        now: Current time on the old server's wall clock.

    Raises:
        ValueError: the row has no schedule that could run; the message contains the reason and the remedy.
    """
    times = ClassicTimes(
        kind=str(row.get("enmjobtype") or ""),
        when=moment(row, "whentorun"),
        count=None if row.get("cycliccount") is None else int(row["cycliccount"]),
        next_run=moment(row, "nextruntime"),
        last_run=moment(row, "lastruntime"),
    )
    if times.kind.strip().lower() == _ONE_OFF and times.next_run is None:
        raise LegacyError(
            "OneOff without NextRunTime: TaskManager would run it today at WhenToRun's time; set NextRunTime, or Active = 0"
        )
    schedule = classic_schedule(times, now=now.replace(microsecond=0), weekly=rules.weekly)
    options = _steady(schedule, rules.zone).options()
    return {"schedule" if name == "cron" else name: value for name, value in options.items()}


def _steady(schedule: ClassicSchedule, zone: ZoneInfo) -> ClassicSchedule:
    """Replace the anchor by the earliest anchor of the cycle; the schedule then stays equal when a run advances ``NextRunTime``."""
    anchor, every = schedule.anchor, schedule.every
    if anchor is None or every is None:
        return schedule
    if every % _DAY:
        first = resolve(anchor, zone).astimezone(UTC)
        return replace(schedule, anchor=_EPOCH + (first - _EPOCH) % every)
    day = date.fromordinal(_ORIGIN + (anchor.toordinal() - _ORIGIN) % every.days)
    return replace(schedule, anchor=datetime.combine(day, anchor.time()))


def moment(row: Record, name: str) -> datetime | None:
    """Return a time of a row without zone; ``None`` for NULL and for the year 1. SQLite stores times as texts.

    Raises:
        LegacyError: the value is not a date.
    """
    value = row.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(value.strip())
    except (ValueError, AttributeError):
        raise LegacyError(f"{name} is {str(value)[:60]!r}, which is no date") from None
    if instant.year == 1:  # the old runner's language stores "no time" as the year 1
        return None
    return instant.replace(tzinfo=None, microsecond=0)


# Rows: selection, job names, stored procedures and mail recipients.

_SIGNS = frozenset({"lkpjob", "enmjobtype"})
_NEEDED = (
    *(
        "id",
        "lkpjob",
        "lkpjobrunner",
        "enmjobtype",
        "whentorun",
        "cycliccount",
        "active",
        "ismanaged",
    ),
    *("nextruntime", "lastruntime", "enmjobstatus", "lastrunby"),
)
IN_PROCESS = "InProcess"
"""``enmJobStatus`` of a running row."""
_PROCEDURE = "mntm_"
_CALLED = {
    "BackupDB": "c__BackupDatabase",
    "ReorganizeIndexes": "c__ReorganizeIndexes",
    "DeleteOldLogs": "c__CleanLogs",
}
"""Stored procedures of built-in codes; for ``DeleteOldLogs`` the procedure does a part of the work. Codes are case-sensitive."""
_DROPPED = {"ScanJobs", "MoveAudits"}
_ALIVE = "imalive"
"""Code of the old heartbeat. Neither this code nor ``_DROPPED`` is needed: this scheduler finds due jobs and has its own heartbeat."""


@dataclass(frozen=True)
class ClassicRow:
    """Columns of a row that define the job; equal rows define the same job."""

    id: int
    name: str
    code: str
    runner: str
    procedure: str
    schedule: tuple[tuple[str, Any], ...]
    emails: tuple[str, ...]
    tells_success: bool
    next_run: datetime | None = field(default=None, compare=False)
    last_run: datetime | None = field(default=None, compare=False)
    last_run_by: str = field(default="", compare=False)
    is_running: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Choice:
    """Settings that select and read the rows.

    Args:
        rules: Schedule rules.
        runners: Runners whose rows run here, in lower case; empty: all runners.
        procedures: Stored procedures of application codes; the keys are codes in lower case.
    """

    rules: Rules
    runners: frozenset[str] = frozenset()
    procedures: Mapping[str, str] = field(default_factory=dict)


def is_classic(columns: Iterable[str]) -> bool:
    """Return whether the columns, in lower case, belong to TARGCC 4's ``c_Job``."""
    return not _SIGNS.isdisjoint(columns)


def check_classic(table: str, columns: Iterable[str]) -> None:
    """Check that the table has all columns that decide whether and when a row runs.

    Raises:
        LegacyError: a column is missing.
    """
    known = set(columns)
    if missing := [column for column in _NEEDED if column not in known]:
        raise LegacyError(f"{table} is of TARGCC 4 and has no column {missing[0]}")


def code_of(record: Record) -> str:
    """Return the code of a row (``lkpJob``), which names the work."""
    return str(record.get("lkpjob") or "").strip()


def names_of(records: Iterable[Record]) -> dict[int, str]:
    """Map each row's id to its job name: the code, followed by the runner if several rows have the same code."""
    rows = [record for record in records if record.get("deletedon") is None]
    counts = Counter(code_of(record).lower() for record in rows)
    return {
        int(record["id"]): (
            f"{code_of(record)} ({record['lkpjobrunner']})"
            if counts[code_of(record).lower()] > 1 and record.get("lkpjobrunner")
            else code_of(record)
        )
        for record in rows
    }


def runs_here(record: Record, choice: Choice) -> bool:
    """Return whether TaskManager would run a row and the settings select the row's runner."""
    runner = str(record.get("lkpjobrunner") or "").strip().lower()
    return (
        record.get("deletedon") is None
        and is_yes(record.get("active"))
        and is_yes(record.get("ismanaged"))
        and code_of(record) not in _DROPPED
        and code_of(record).lower() != _ALIVE
        and (not choice.runners or runner in choice.runners)
    )


def row_of(
    record: Record, name: str, choice: Choice, people: Mapping[str, list[str]], now: datetime
) -> ClassicRow:
    """Check a selected row and return its columns.

    Raises:
        LegacyError: the row cannot run; the message contains the reason and the remedy.
    """
    return ClassicRow(
        id=int(record["id"]),
        name=name,
        code=code_of(record),
        runner=str(record.get("lkpjobrunner") or "").strip(),
        procedure=_procedure(code_of(record), choice),
        schedule=tuple(schedule_of(record, choice.rules, now).items()),
        emails=tuple(dict.fromkeys(people.get(str(record["id"]), ()))),
        tells_success=is_yes(record.get("sendnotificationonsuccess")),
        next_run=moment(record, "nextruntime"),
        last_run=moment(record, "lastruntime"),
        last_run_by=str(record.get("lastrunby") or ""),
        is_running=record.get("enmjobstatus") == IN_PROCESS,
    )


def _procedure(code: str, choice: Choice) -> str:
    if not code:
        raise LegacyError("it has no lkpJob")
    known = choice.procedures.get(code.lower()) or _CALLED.get(code)
    if known:
        return known
    if code.lower().startswith(_PROCEDURE):  # the name is the whole code
        return code if code.isidentifier() else f"[{code.replace(']', ']]')}]"
    raise LegacyError(
        f"{code} is code of TaskManager or of the application: name its procedure in TARGCC_LEGACY_PROCEDURES, or move the row into the code"
    )


def recipients_of(connection: sa.Connection, table: str) -> dict[str, list[str]]:
    """Map each job's id to its mail addresses.

    A recipient's address is ``OverrideEmailOrPhone`` if ``OverrideName`` is set, else the address in ``c_User``.
    """
    users = {
        str(user.get("id")): str(user.get("email") or "")
        for user in table_beside(connection, table, "c_User")
    }
    people: dict[str, list[str]] = {}
    for row in table_beside(connection, table, "c_JobAlertRecipient"):
        kind = str(row.get("enmjobalerttype") or "").lower()
        if row.get("deletedon") is not None or kind != "email":
            continue
        own = str(row.get("overrideemailorphone") or "") if row.get("overridename") else ""
        text = own or users.get(str(row.get("c_userid")), "")
        people.setdefault(str(row.get("c_jobid")), []).extend(addresses_in(text))
    return people
