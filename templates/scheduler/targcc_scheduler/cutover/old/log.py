"""The old server's log of runs, ``c_LoggedJob``: its columns by what they mean. TARGCC 4's are known; with cron texts each shop has its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ...core.errors import CutoverError

JOB = ("c_jobid", "jobid", "job_id")
STARTED = ("whenstarted", "startedat", "starttime", "startdate", "rundate", "executedat")
ENDED = ("completedat", "endtime", "enddate", "finishedat", "whenended")
_NAME = ("jobname", "job_name")
SECONDS = ("executiontimesec", "durationsec", "durationseconds")
MILLISECONDS = ("durationms", "executiontimems", "elapsedms")
_FLAGS = ("success", "issuccess", "succeeded")
_STATUS = (*_FLAGS, "enmrunstatus_jobstatus", "status", "runstatus")
_MESSAGE = ("resultmessage", "remarks", "result", "message", "output")
_ERROR = ("errormessage", "error")
_BY = ("lastrunby", "runby", "servername", "machinename")


@dataclass(frozen=True, slots=True)
class LogColumns:
    """The columns of a log; empty: it has none.

    Args:
        job: The row's ID.
        started: When a run began.
        name: The job's name, where there is no column for the ID.
        status_is_bit: Whether ``status`` holds 1 and 0, else ``Success`` and ``Failure``.
        error: What went wrong; where there is none ``remarks`` says it.
        by: Which machine ran it.
        added_by: Who wrote the row.
        added_on: When.
    """

    job: str
    started: str
    name: str = ""
    ended: str = ""
    seconds: str = ""
    milliseconds: str = ""
    status: str = ""
    status_is_bit: bool = False
    remarks: str = ""
    error: str = ""
    by: str = ""
    added_by: str = ""
    added_on: str = ""


TARGCC_4 = LogColumns(
    job="c_JobID",
    started="WhenStarted",
    seconds="ExecutionTimeSec",
    status="enmRunStatus_JobStatus",
    remarks="Remarks",
    by="LastRunBy",
    added_by="AddedBy",
    added_on="AddedOn",
)


def log_columns(columns: Sequence[Mapping[str, Any]]) -> LogColumns:
    """Which columns of a log mean what, by their usual names.

    Args:
        columns: As SQLAlchemy's inspector has them.

    Raises:
        CutoverError: runs cannot be written into it; the message says why.
    """
    known = {str(column["name"]).lower(): column for column in columns}

    def first(names: Sequence[str]) -> str:
        return next((str(known[name]["name"]) for name in names if name in known), "")

    status = first(_STATUS)
    found = LogColumns(
        job=first(JOB),
        started=first(STARTED),
        name=first(_NAME),
        ended=first(ENDED),
        seconds=first(SECONDS),
        milliseconds=first(MILLISECONDS),
        status=status,
        status_is_bit=bool(status)
        and isinstance(known[status.lower()]["type"], (sa.Boolean, sa.Integer, sa.Numeric)),
        remarks=first(_MESSAGE),
        error=first(_ERROR),
        by=first(_BY),
    )
    if not found.started or not (found.job or found.name):
        raise CutoverError("no column for the job or for the start of a run")
    ours = {value.lower() for value in _texts(found)}
    if missing := [name for name, column in known.items() if name not in ours and _needed(column)]:
        raise CutoverError(f"its column {missing[0]} needs a value that is not known here")
    return found


def named_columns(names: str) -> LogColumns:
    """Which columns of a log mean what, by a list of their names, separated by commas, where the log cannot be looked at.

    Raises:
        CutoverError: there is none for the job or for the start of a run, or one is no name.
    """
    columns = [name.strip() for name in names.split(",") if name.strip()]
    if odd := [name for name in columns if not name.isidentifier()]:
        raise CutoverError(f"{odd[0]!r} is not the name of a column")
    flags = {name: sa.Boolean() for name in columns if name.lower() in _FLAGS}
    text = sa.String()
    return log_columns(
        [{"name": name, "type": flags.get(name, text), "nullable": True} for name in columns]
    )


def _texts(found: LogColumns) -> list[str]:
    return [
        *(found.job, found.started, found.name, found.ended, found.seconds, found.milliseconds),
        *(found.status, found.remarks, found.error, found.by),
    ]


def _needed(column: Mapping[str, Any]) -> bool:
    """Whether a row needs a value of it; a database numbers its key, or the row is refused and told of."""
    numbered = bool(column.get("autoincrement") is True or column.get("identity"))
    numbered = numbered or str(column["name"]).lower() == "id"
    return not column["nullable"] and column.get("default") is None and not numbered
