"""Reading rows of TARGCC 4's ``c_Job``: which run here, under which name, what they call, who is mailed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ...core.errors import LegacyError
from ..c_job_rows import addresses_in, is_yes, table_beside
from .schedules import Rules, moment, schedule_of

Record = Mapping[str, Any]

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
"""``enmJobStatus`` of a row that runs."""
_PROCEDURE = "mntm_"
_CALLED = {
    "BackupDB": "c__BackupDatabase",
    "ReorganizeIndexes": "c__ReorganizeIndexes",
    "DeleteOldLogs": "c__CleanLogs",
}
"""Built-in codes whose work is a stored procedure, of ``DeleteOldLogs`` a part; upper and lower case differ."""
_DROPPED = {"ScanJobs", "MoveAudits"}
_ALIVE = "imalive"
"""Codes that nobody misses: the scheduler looks for due jobs by itself, and says that it is alive."""


@dataclass(frozen=True)
class ClassicRow:
    """What of a row makes the job; equal rows are the same job."""

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
    """What the settings say about the rows.

    Args:
        rules: For their schedules.
        runners: Whose rows run here, in lower case; empty: everybody's.
        procedures: The stored procedure of a code, in lower case, that is none of TaskManager's.
    """

    rules: Rules
    runners: frozenset[str] = frozenset()
    procedures: Mapping[str, str] = field(default_factory=dict)


def is_classic(columns: Iterable[str]) -> bool:
    """Whether these columns, in lower case, are those of TARGCC 4's ``c_Job``."""
    return not _SIGNS.isdisjoint(columns)


def check_classic(table: str, columns: Iterable[str]) -> None:
    """Look whether every column is there that says whether and when a row runs.

    Raises:
        LegacyError: one is missing.
    """
    known = set(columns)
    if missing := [column for column in _NEEDED if column not in known]:
        raise LegacyError(f"{table} is of TARGCC 4 and has no column {missing[0]}")


def code_of(record: Record) -> str:
    """What names the work."""
    return str(record.get("lkpjob") or "").strip()


def names_of(records: Iterable[Record]) -> dict[int, str]:
    """The job's name of each row, by id: its code, with the runner where several have the code."""
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
    """Whether TaskManager would run a row, and the settings say that it is ours."""
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
    """A row that runs here, checked.

    Raises:
        LegacyError: it cannot run; the message says why, and what to do.
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
    """Who is mailed, by the job's id: ``OverrideEmailOrPhone`` where ``OverrideName`` is set, else the address of ``c_User``."""
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
