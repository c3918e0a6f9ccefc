"""Tables of an old TARGCC database: their two families of columns, their rows, the history."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo

from targcc_gen.readers import rows as reader_rows
from targcc_gen.readers.rows import ColumnKind, KnownTables, Remark, Routine, Row, Unknown
from targcc_gen.sources.model import LeftOut, Past, Warnings

# Tables, and the family of their columns.

JOB = "c_job"
RECIPIENT = "c_jobalertrecipient"
LOGGED_JOB = "c_loggedjob"
USER = "c_user"
DEFAULT = "c_systemdefault"
PROCEDURE = "sys.procedures"


class Shape(StrEnum):
    """A family of ``c_Job`` tables."""

    CRON = "cron"
    """Rows with a cron text and a stored procedure."""
    CLASSIC = "classic"
    """TARGCC 4.x: rows with a kind of schedule, a first time, a count, and a code that names the work."""


# Columns by meaning. Databases use different names; the first name that a row has counts.

JOB_ID = ("c_jobid", "jobid", "job_id")
JOB_NAME = ("jobname", "job_name", "name")
EMAIL = (
    "overrideemailorphone",
    "email",
    "emailaddress",
    "recipientemail",
    "recipient",
    "mail",
    "address",
)
STARTED = (
    "whenstarted",
    "startedat",
    "starttime",
    "startdate",
    "rundate",
    "runtime",
    "rundatetime",
    "executedat",
    "loggedat",
    "lastrun",
)
COMPLETED = ("completedat", "endtime", "enddate", "finishedat", "whenended")
SECONDS = ("executiontimesec", "durationsec", "durationseconds", "duration")
MILLISECONDS = ("durationms", "executiontimems", "elapsedms")
SUCCESS = ("success", "issuccess", "succeeded", "enmrunstatus_jobstatus", "status", "runstatus")
MESSAGE = ("resultmessage", "remarks", "result", "message", "lastresult", "output")
ERROR = ("errormessage", "error", "exception")
SERVER = ("servername", "machinename", "server", "lastrunby", "runby")

# Columns by table.


def _names(text: str) -> list[str]:
    return text.split()


_AUDIT = _names("addedby addedon changedby changedon deletedby deletedon updatingloginid")

_CRON_JOB = _names(
    "id jobname cronexpression storedprocname isactive lastrun nextrun lastresult failurecount"
    " emailonfailure"
)
_CLASSIC_JOB = [
    *_names(
        "tablename_c_job id lkpjob lkpjobrunner description instructions enmjobtype whentorun cycliccount"
        " sendnotificationonsuccess sendalarmonmissed timeoutsec active activatinguser nextruntime"
        " lastruntime enmjobstatus warningmailsent ismanaged lastrunby"
    ),
    *_AUDIT,
]
_CLASSIC_RECIPIENT = [
    *_names(
        "tablename_c_jobalertrecipient id c_jobid c_userid enmjobalerttype overridename"
        " overrideemailorphone"
    ),
    *_AUDIT,
]
_CLASSIC_LOGGED_JOB = [
    *_names(
        "id c_jobid whenstarted activatinguser lastrunby executiontimesec enmrunstatus_jobstatus"
        " remarks c_loggedalertid successcount failurecount"
    ),
    *_AUDIT,
]
_EVERY_COLUMN = frozenset(
    {
        name
        for group in (
            JOB_ID, JOB_NAME, EMAIL, STARTED, COMPLETED, SECONDS, MILLISECONDS, SUCCESS, MESSAGE, ERROR, SERVER,
            _CRON_JOB, _CLASSIC_JOB, _CLASSIC_RECIPIENT, _CLASSIC_LOGGED_JOB,
            ("fullname", "username", "loginname"),
        )
        for name in group
    }
)  # fmt: skip

_SIGNS = {
    JOB: frozenset(
        {"jobname", "cronexpression", "storedprocname", "lkpjob", "enmjobtype", "whentorun"}
    ),
    RECIPIENT: frozenset(
        {
            "enmjobalerttype",
            "overrideemailorphone",
            "email",
            "emailaddress",
            "recipientemail",
        }
    ),
    LOGGED_JOB: frozenset(
        {
            "whenstarted",
            "executiontimesec",
            "rundate",
            "startedat",
            "starttime",
            "durationms",
            "enmrunstatus_jobstatus",
        }
    ),
    USER: frozenset({"fullname", "username", "loginname"}),
    DEFAULT: frozenset(),
}

_INTS = {
    "id", "c_jobid", "jobid", "c_userid", "cycliccount", "timeoutsec", "failurecount", "successcount", "executiontimesec",
    "durationms", "c_loggedalertid", "updatingloginid",
}  # fmt: skip
_BITS = {
    "isactive", "emailonfailure", "active", "sendnotificationonsuccess", "sendalarmonmissed", "warningmailsent", "ismanaged",
    "success", "tablename_c_job", "tablename_c_jobalertrecipient",
}  # fmt: skip
_DATES = {
    "lastrun", "nextrun", "whentorun", "nextruntime", "lastruntime", "whenstarted", "addedon", "changedon", "deletedon",
    "startedat", "completedat", "rundate", "createdat", "starttime", "endtime",
}  # fmt: skip
_LINES = {"storedprocname", "lkpjob", "lkpjobrunner", "enmjobtype", "enmjobstatus", "jobname"}

TABLES = KnownTables(
    names={
        JOB: "c_Job",
        RECIPIENT: "c_JobAlertRecipient",
        LOGGED_JOB: "c_LoggedJob",
        USER: "c_User",
        DEFAULT: "c_SystemDefault",
        PROCEDURE: "sys.procedures",
    },
    main=JOB,
    signs=_SIGNS,
    shapes={
        JOB: (_CRON_JOB, _CLASSIC_JOB),
        RECIPIENT: (_CLASSIC_RECIPIENT,),
        LOGGED_JOB: (_CLASSIC_LOGGED_JOB,),
    },
    columns=_EVERY_COLUMN,
    kinds={
        **dict.fromkeys(_LINES, ColumnKind.LINE),
        **dict.fromkeys(_DATES, ColumnKind.DATE),
        **dict.fromkeys(_BITS, ColumnKind.BIT),
        **dict.fromkeys(_INTS, ColumnKind.INTEGER),
        "cronexpression": ColumnKind.CRON,
    },
    dates=frozenset({*_DATES, *STARTED, *COMPLETED}),
    nested=RECIPIENT,
    link="jobid",
    strangers=frozenset({"scheduledfor"}),
)
"""The tables that the readers look for."""


def deleted_on(row: Row) -> str | None:
    """Return the deletion time of a row, as written; ``None`` if the row is not deleted.

    Raises:
        UnreadableCellError: Only the old server knew whether the row is deleted.
    """
    value = row.values.get("deletedon")
    if isinstance(value, Unknown):
        text = f"is {value.text}, which only the old server knew"
        raise reader_rows.UnreadableCellError("deletedon", text)
    return reader_rows.text(row, "deletedon")


def shape_of(columns: Collection[str]) -> Shape | None:
    """Return the family of a ``c_Job`` row by its columns; None for neither family."""
    if "cronexpression" in columns or "storedprocname" in columns:
        return Shape.CRON
    if "lkpjob" in columns or "enmjobtype" in columns:
        return Shape.CLASSIC
    return None


# ``c_LoggedJob``: past runs, counted while they are read and kept on disk, because there may be millions.

_GOOD = {"success", "warning", "ok", "succeeded", "completed", "1", "true", "yes"}
_BAD = {"failure", "failed", "missed", "error", "0", "false", "no"}
_RUNNING = {"inprocess", "running"}
_DOUBTFUL = "with a date that can be read in several ways (--dates says how)"
_UNREADABLE = "with a date that cannot be read"
_NO_WORD = {"", "ud"}
"""Texts of the old server for an unknown status."""
_MILLISECOND, _SECOND = timedelta(milliseconds=1), timedelta(seconds=1)


class History:
    """Collects rows of ``c_LoggedJob``.

    Args:
        spool: The file that keeps rows until the jobs' new names are known; None: only count.
    """

    def __init__(self, spool: Path | None = None) -> None:
        self.rows = 0
        self.left_out: dict[str, LeftOut] = {}
        self.past: dict[str, Past] = {}
        self.unmeasured = LeftOut()
        """Rows that were kept and whose duration is unreadable."""
        self._spool = spool
        self._stream: IO[str] | None = None

    def add(self, row: Row) -> None:
        """Count a row and keep it."""
        self.rows += 1
        try:
            started = reader_rows.moment(row, *STARTED)
        except reader_rows.UnreadableCellError as unreadable:
            self._leave_out(_DOUBTFUL if unreadable.is_ambiguous else _UNREADABLE, row)
            return
        if started is None:
            self._leave_out("without a date", row)
            return
        link = link_of(row)
        try:
            success = _success(row)
        except reader_rows.UnreadableCellError:
            self._leave_out("with a status that cannot be read", row)
            return
        if success is None:
            self._leave_out("of runs that had not ended", row)
            return
        length = self._length(row, started)
        past = self.past.setdefault(link, Past())
        past.runs += 1
        past.failures += not success
        past.weekdays[started.weekday()] += 1
        past.longest = max(past.longest, length or timedelta(0))
        past.last = max(past.last or started, started)
        error = "" if success else reader_rows.text(row, *ERROR, *MESSAGE) or ""
        by = reader_rows.text(row, "activatinguser") or ""
        seconds = None if length is None else round(length.total_seconds())
        past.log.add(started, seconds, failed=not success, by=by, error=error)
        if self._spool is not None:
            self._write(row, link, started, length, success=success)

    @property
    def is_empty(self) -> bool:
        """Whether the history has no past run."""
        return not self.past

    def _leave_out(self, why: str, row: Row) -> None:
        self.left_out.setdefault(why, LeftOut()).add(row.place)

    def of(self, job_id: str | None, name: str) -> Past | None:
        """Return the past of a job, by its id or its name."""
        return self.past.get(f"id:{job_id}") or self.past.get(f"name:{name.lower()}")

    def close(self) -> None:
        """Close the spool for writing, so that rows can be read back."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def records(
        self, zone: ZoneInfo, named: Mapping[str, tuple[str, str]]
    ) -> Iterator[dict[str, Any]]:
        """Yield every kept row as a row of the new ``c_LoggedJob``; instants become UTC.

        Args:
            zone: The old server's zone. An hour that repeats in autumn means its first pass.
            named: The job's stable name and ``JobType`` by link (``id:7`` or ``name:nightly``).
        """
        self.close()
        if self._spool is None or not self._spool.exists():
            return
        with self._spool.open(encoding="utf-8") as stream:
            for line in stream:
                link, record = json.loads(line)
                name, kind = named.get(link) or (_old_name(link), "Recurring")
                yield {"JobName": name, "JobType": kind, **_in_utc(record, zone)}

    def _length(self, row: Row, started: datetime) -> timedelta | None:
        """Return the duration of a run; ``None`` if unknown. Count a value that cannot be read."""
        try:
            return _length(row, started)
        except (reader_rows.UnreadableCellError, OverflowError):
            self.unmeasured.add(row.place)
            return None

    def _write(
        self, row: Row, link: str, started: datetime, length: timedelta | None, *, success: bool
    ) -> None:
        if self._stream is None:
            assert self._spool is not None
            self._stream = self._spool.open("w", encoding="utf-8")
        record = _record(row, started, length, success=success)
        self._stream.write(json.dumps([link, record], ensure_ascii=True) + "\n")


def link_of(row: Row) -> str:
    """Return the link of a history row to its job: by id, else by name."""
    job_id = reader_rows.key(row, *JOB_ID)
    if job_id is not None:
        return f"id:{job_id}"
    return f"name:{(reader_rows.text(row, *JOB_NAME) or '').lower()}"


def _old_name(link: str) -> str:
    """Return a readable name for runs of a job that is not in the export."""
    kind, _, value = link.partition(":")
    return (f"c_Job {value}" if kind == "id" else value or "c_Job ?")[:100]


def _success(row: Row) -> bool | None:
    """Return whether the run succeeded; None for a run that had not ended.

    Raises:
        UnreadableCellError: The status is no word of the old server, and the row has no error.
    """
    failed = reader_rows.text(row, *ERROR) is not None
    status = reader_rows.cell(row, *SUCCESS)
    word = (reader_rows.key(row, *SUCCESS) or "").lower()
    if isinstance(status, bytes):
        return any(status)
    if word in _RUNNING:
        return None
    if word in _GOOD:
        return True
    if word in _BAD:
        return False
    if not failed and (isinstance(status, Unknown) or word not in _NO_WORD):
        raise reader_rows.UnreadableCellError("status", f'is "{word}", which is no status')
    failures = reader_rows.readable(reader_rows.integer, row, "failurecount")
    return not failed and not (
        failures and not reader_rows.readable(reader_rows.integer, row, "successcount")
    )


def _length(row: Row, started: datetime) -> timedelta | None:
    """Return the duration of a run; ``None`` if the row has no duration.

    Raises:
        UnreadableCellError: The duration cannot be read.
    """
    length = reader_rows.duration(row, _MILLISECOND, *MILLISECONDS)
    if length is None:
        length = reader_rows.duration(row, _SECOND, *SECONDS)
    if length is None:
        completed = reader_rows.moment(row, *COMPLETED)
        length = None if completed is None else completed - started
    return length


def _record(
    row: Row, started: datetime, length: timedelta | None, *, success: bool
) -> dict[str, Any]:
    message = reader_rows.text(row, *MESSAGE)
    return {
        "LegacyId": reader_rows.key(row, "id"),
        "StartedAt": started.isoformat(),
        "DurationMs": None if length is None else round(length / _MILLISECOND),
        "Success": success,
        "ResultMessage": message if success else None,
        "ErrorMessage": None if success else reader_rows.text(row, *ERROR) or message or "failed",
        "ServerName": reader_rows.text(row, *SERVER),
    }


def _in_utc(record: dict[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    started = datetime.fromisoformat(record["StartedAt"]).replace(tzinfo=zone).astimezone(UTC)
    milliseconds = record["DurationMs"]
    completed = None if milliseconds is None else started + timedelta(milliseconds=milliseconds)
    return {
        **record,
        "StartedAt": started.isoformat(),
        "CompletedAt": completed.isoformat() if completed else None,
    }


# Rows as read.


@dataclass(slots=True)
class Exported:
    """The rows of these tables from all files. The history is kept as counts and a spool.

    Attributes:
        defaults: Rows of ``c_SystemDefault`` that concern jobs; ``other_defaults`` counts the rest.
        lost: The number of unreadable rows of the other tables.
        changes: Statements that change rows.
    """

    history: History
    jobs: list[Row] = field(default_factory=list)
    recipients: list[Row] = field(default_factory=list)
    users: list[Row] = field(default_factory=list)
    defaults: list[Row] = field(default_factory=list)
    other_defaults: int = 0
    procedures: list[Row] = field(default_factory=list)
    unreadable: list[Remark] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    changes: list[Remark] = field(default_factory=list)
    routines: list[Routine] = field(default_factory=list)
    warnings: Warnings = field(default_factory=Warnings)
