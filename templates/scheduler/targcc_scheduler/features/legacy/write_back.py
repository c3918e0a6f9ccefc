"""Write results back to the old server's tables, as TaskManager did, for the old screens.

In ``c_Job`` the statements change ``LastRunTime``, ``NextRunTime``, ``enmJobStatus``, ``LastRunBy`` and ``Active``, and no other columns.
In ``c_LoggedJob`` the statements insert rows. The old screens' ``Update``, which clears ``NextRunTime``, is not used.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ...core.clock import Clock
from ...core.errors import LegacyError
from ...db.dialects.frequent import changed_by
from .c_job_rows import columns_of, find_table
from .classic import IN_PROCESS

# Statements for the old tables.

MARK = "targcc "
"""Prefix of ``LastRunBy`` for runs of this scheduler. The blank distinguishes the prefix from a machine named ``targcc``."""
_TOKENS = f"{MARK}run %"
SUCCESS, FAILURE = "Success", "Failure"

_LONGEST_REMARKS, _KEPT_REMARKS = 1000, 960
"""TaskManager cut remarks of more than 1000 characters to 960."""
_LONGEST_BY = 50
_EARLIER = timedelta(hours=2)
"""Margin for a wall clock that was set back, such as at the end of summer time."""


_CLASS = re.compile(
    r"\A(?:(?:\w+\.)+[A-Z]\w*|[A-Z]\w*(?:Error|Exception)): (?:\((?:\w+\.)+\w+\) )?"
)
"""Class of an exception in front of its text, and of the driver's own exception."""


def unexpected(error: str) -> str:
    """Return the remarks of a failed run, as TaskManager wrote them: the text of the fault, without its class."""
    return f"Unexpected failure: {_CLASS.sub('', error)}"


def cut(remarks: str) -> str:
    """Return remarks at the length that TaskManager stored."""
    return remarks[:_KEPT_REMARKS] if len(remarks) > _LONGEST_REMARKS else remarks


@dataclass(frozen=True)
class RunReport:
    """One run in the old format; times are the old server's wall clock."""

    job_id: int
    started: datetime
    ended: datetime
    seconds: int
    """Duration; see :func:`.old_server.seconds_between`."""
    status: str
    remarks: str
    by: str
    token: str
    """Identifies the run in the old log; stored in the column of the activating user."""
    next_run: datetime | None
    """Next run of the job; ``None``: the job does not run again, and the row is switched off."""


class WriteBack:
    """Statements that write one old table and the ``c_LoggedJob`` in its schema.

    Args:
        connection: Connection to the old database.
        table: Table name from the settings.

    Raises:
        LegacyError: the table does not exist, or the ``c_LoggedJob`` in its schema belongs to this scheduler.
    """

    def __init__(self, connection: sa.Connection, table: str) -> None:
        schema, dot, _ = table.rpartition(".")
        job_table = find_table(connection, table)
        if job_table is None:
            raise LegacyError(f"there is no table or view {table}: TARGCC_LEGACY_TABLE names it")
        self._jobs = _Old(connection, job_table)
        history = find_table(connection, f"{schema}{dot}c_LoggedJob")
        self._history = None if history is None else _Old(connection, history)
        if self._history is not None and "scheduledfor" in self._history:
            raise LegacyError(
                "the c_LoggedJob beside it is the new scheduler's: keep the scheduler's tables in another database or schema"
            )

    @property
    def has_history(self) -> bool:
        """Return whether the old database has a ``c_LoggedJob``."""
        return self._history is not None

    def begin(self, connection: sa.Connection, job_id: int, started: datetime, by: str) -> bool:
        """Mark a row as running; return ``False`` if TaskManager runs the row now."""
        jobs = self._jobs
        free = sa.or_(
            jobs["enmjobstatus"].is_(None),
            jobs["enmjobstatus"] != IN_PROCESS,
            jobs["lastrunby"].like(
                f"{MARK}%"
            ),  # left by a process of this scheduler that died during the run
        )
        values = {"enmjobstatus": IN_PROCESS, "lastruntime": started, "lastrunby": by[:_LONGEST_BY]}
        return changed_by(connection, self._update(values).where(jobs["id"] == job_id, free)) != 0

    def end(self, connection: sa.Connection, run: RunReport) -> None:
        """Write an ended run into its row of ``c_Job`` and into the history."""
        connection.execute(self._ended(run))
        self._log(connection, run)

    def end_late(self, connection: sa.Connection, runs: Sequence[RunReport]) -> None:
        """Write the runs that are missing in the history, oldest first; keep a row of ``c_Job`` that has run since.

        The rows of the jobs are locked first, since two processes may call this at the same time.
        """
        if not self._missing(connection, runs):
            return
        jobs = self._jobs
        for job_id in sorted({run.job_id for run in runs}):
            touch = self._update({"lastrunby": jobs["lastrunby"]})
            connection.execute(touch.where(jobs["id"] == job_id))
        for run in self._missing(connection, runs):
            not_since = sa.or_(jobs["lastruntime"].is_(None), jobs["lastruntime"] <= run.ended)
            connection.execute(self._ended(run).where(not_since))
            self._log(connection, run)

    def _missing(self, connection: sa.Connection, runs: Sequence[RunReport]) -> list[RunReport]:
        """Return the runs that are missing in the history; an empty list if the history has no column for the token or the start."""
        token = self._history.get("activatinguser") if self._history is not None else None
        started = self._history.get("whenstarted") if self._history is not None else None
        if token is None or started is None or not runs:
            return []
        since = min(run.started for run in runs) - _EARLIER
        query = sa.select(token).where(started >= since, token.like(_TOKENS))
        known = set(connection.scalars(query))
        return [run for run in runs if run.token not in known]

    def _ended(self, run: RunReport) -> sa.Update:
        values = {"enmjobstatus": run.status, "lastruntime": run.ended, "nextruntime": run.next_run}
        if run.next_run is None:
            values["active"] = sa.false() if _is_boolean(self._jobs["active"]) else 0
        return self._update(values).where(self._jobs["id"] == run.job_id)

    def _log(self, connection: sa.Connection, run: RunReport) -> None:
        if self._history is not None:
            known = self._history.having(_logged(run))
            connection.execute(sa.insert(self._history.table).values(known))

    def fill_next_run(self, connection: sa.Connection, job_id: int, next_run: datetime) -> None:
        """Set ``NextRunTime`` of a row whose value an old screen has cleared, as TaskManager's ``ScanJobs`` did."""
        jobs = self._jobs
        where = (jobs["id"] == job_id, jobs["nextruntime"].is_(None))
        connection.execute(self._update({"nextruntime": next_run}).where(*where))

    def _update(self, values: Mapping[str, Any]) -> sa.Update:
        return sa.update(self._jobs.table).values(self._jobs.having(values))


class _Old(dict[str, sa.Column[Any]]):
    """Columns of a table by name in lower case."""

    def __init__(self, connection: sa.Connection, table: sa.TableClause) -> None:
        columns = columns_of(connection, table)
        self.table = sa.Table(table.name, sa.MetaData(), *columns, schema=table.schema)
        super().__init__((column.name.lower(), column) for column in self.table.columns)

    def having(self, values: Mapping[str, Any]) -> dict[sa.Column[Any], Any]:
        """Return the values whose columns exist in the table, by column."""
        return {self[name]: value for name, value in values.items() if name in self}


def _is_boolean(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, sa.Boolean)


def _logged(run: RunReport) -> dict[str, Any]:
    by = run.by[:_LONGEST_BY]
    return {
        "c_jobid": run.job_id,
        "whenstarted": run.started,
        "activatinguser": run.token,
        "lastrunby": by,
        "executiontimesec": run.seconds,
        "enmrunstatus_jobstatus": run.status,
        "remarks": cut(run.remarks),
        "addedby": by,
        "addedon": run.ended,
    }


# Ended runs that may be missing in the old tables: the old database was unavailable, or the process died before writing.
#
# A comparison finds missing runs: this scheduler's ``c_LoggedJob`` contains each attempt, and the old ``c_LoggedJob`` contains the token
# of each written attempt.

LOOK_BACK = timedelta(days=7)
"""Period before the start of a process in which the process looks for runs that an earlier process has not written."""
_MARGIN = timedelta(minutes=5)
"""Margin between the start of an attempt and the start of the job's work."""


class PendingWriteBack:
    """Runs that may be missing in the old tables.

    Args:
        clock: Clock of the scheduler.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked_back = False
        self._missing: dict[str, datetime] = {}

    @property
    def since(self) -> datetime | None:
        """Return the instant from which to compare this scheduler's history; ``None`` if no run is missing."""
        now = self._clock.now()
        if not self._looked_back:
            return now - LOOK_BACK
        recent = [at for at in self._missing.values() if at > now - LOOK_BACK]
        return min(recent) - _MARGIN if recent else None

    def add(self, token: str, started: datetime) -> None:
        """Remember a run that could not be written."""
        self._missing[token] = started

    def compared(self, written: Collection[str]) -> None:
        """Forget runs that the comparison has written; keep runs that are not in this scheduler's history yet."""
        self._looked_back = True
        for token in written:
            self._missing.pop(token, None)
