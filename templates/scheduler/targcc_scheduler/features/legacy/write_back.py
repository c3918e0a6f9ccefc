"""Write results back to the old server's tables.

The statements change these columns and no others. The old ``Update`` of a screen, which clears ``NextRunTime``, is not used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ...core.clock import Clock
from ...core.errors import LegacyError
from ...db.dialects.counting import changed_by
from .c_job_rows import columns_of, find_table
from .classic import IN_PROCESS

# What old screens see of the runs here: ``LastRunTime``, ``NextRunTime``, ``enmJobStatus`` and rows of ``c_LoggedJob``, as TaskManager wrote them.

MARK = "targcc "
"""What ``LastRunBy`` begins with when a run was here; the blank tells it from a machine that is called so."""
_TOKENS = f"{MARK}run %"
SUCCESS, FAILURE = "Success", "Failure"

_LONGEST_REMARKS, _KEPT_REMARKS = 1000, 960
"""TaskManager cut remarks of more characters to fewer."""
_LONGEST_BY = 50
_EARLIER = timedelta(hours=2)
"""By how much a wall clock that went back shows an earlier time."""


@dataclass(frozen=True)
class RunReport:
    """One run, in the old form; times are the old server's wall clock."""

    job_id: int
    started: datetime
    ended: datetime
    status: str
    remarks: str
    by: str
    token: str
    """What names this run in the old log, as the user who has activated it."""
    next_run: datetime | None
    """``None``: it does not run again, and the row is switched off."""


class WriteBack:
    """The statements for one old table.

    Args:
        connection: Where it is.
        table: Its name, as the settings say it.

    Raises:
        LegacyError: the table is not there, or the ``c_LoggedJob`` beside it is the new scheduler's.
    """

    def __init__(self, connection: sa.Connection, table: str) -> None:
        schema, dot, _ = table.rpartition(".")
        found = find_table(connection, table)
        if found is None:
            raise LegacyError(f"there is no table or view {table}: TARGCC_LEGACY_TABLE names it")
        self._jobs = _Old(connection, found)
        history = find_table(connection, f"{schema}{dot}c_LoggedJob")
        self._history = None if history is None else _Old(connection, history)
        if self._history is not None and "scheduledfor" in self._history:
            raise LegacyError(
                "the c_LoggedJob beside it is the new scheduler's: keep the scheduler's tables in another database or schema"
            )

    @property
    def has_history(self) -> bool:
        """Whether there is an old ``c_LoggedJob``."""
        return self._history is not None

    def begin(self, connection: sa.Connection, job_id: int, started: datetime, by: str) -> bool:
        """Mark a row as running; ``False``: TaskManager runs it now."""
        jobs = self._jobs
        free = sa.or_(
            jobs["enmjobstatus"].is_(None),
            jobs["enmjobstatus"] != IN_PROCESS,
            jobs["lastrunby"].like(
                f"{MARK}%"
            ),  # of a process here that came to an end in the middle
        )
        values = {"enmjobstatus": IN_PROCESS, "lastruntime": started, "lastrunby": by[:_LONGEST_BY]}
        return changed_by(connection, self._update(values).where(jobs["id"] == job_id, free)) != 0

    def end(self, connection: sa.Connection, run: RunReport) -> None:
        """Write a run that has ended: into the row, and as one of the history."""
        connection.execute(self._ended(run))
        self._log(connection, run)

    def end_late(self, connection: sa.Connection, runs: Sequence[RunReport]) -> None:
        """Write those of some runs, oldest first, that are not in the history yet; a row that has run since stays as it is.

        Two processes may do it at once: the rows of the jobs are locked first.
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
        """Which runs the history has not; none where it has no column that names a run."""
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
        """Say when a row runs next, where a screen has cleared it; TaskManager's ``ScanJobs`` did that."""
        jobs = self._jobs
        where = (jobs["id"] == job_id, jobs["nextruntime"].is_(None))
        connection.execute(self._update({"nextruntime": next_run}).where(*where))

    def _update(self, values: Mapping[str, Any]) -> sa.Update:
        return sa.update(self._jobs.table).values(self._jobs.having(values))


class _Old(dict[str, sa.Column[Any]]):
    """A table's columns by their names in lower case."""

    def __init__(self, connection: sa.Connection, found: sa.TableClause) -> None:
        columns = columns_of(connection, found)
        self.table = sa.Table(found.name, sa.MetaData(), *columns, schema=found.schema)
        super().__init__((column.name.lower(), column) for column in self.table.columns)

    def having(self, values: Mapping[str, Any]) -> dict[sa.Column[Any], Any]:
        """The values of columns that the table has."""
        return {self[name]: value for name, value in values.items() if name in self}


def _is_boolean(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, sa.Boolean)


def _logged(run: RunReport) -> dict[str, Any]:
    remarks = run.remarks
    if len(remarks) > _LONGEST_REMARKS:
        remarks = remarks[:_KEPT_REMARKS]
    by = run.by[:_LONGEST_BY]
    return {
        "c_jobid": run.job_id,
        "whenstarted": run.started,
        "activatinguser": run.token,
        "lastrunby": by,
        "executiontimesec": round((run.ended - run.started).total_seconds()),
        "enmrunstatus_jobstatus": run.status,
        "remarks": remarks,
        "addedby": by,
        "addedon": run.ended,
    }


# Runs that have ended here and of which the old tables may not know: the old database was away, or this process ended before it wrote.
#
# What is missing is found by comparison: our ``c_LoggedJob`` has each attempt, and the old one has the token of each that was written.

LOOK_BACK = timedelta(days=7)
"""How far a process looks back at its start, for runs that one before it has not written."""
_MARGIN = timedelta(minutes=5)
"""A job begins its work a little after its attempt has begun."""


class PendingWriteBack:
    """The runs that this process knows or suspects to be missing there.

    Args:
        clock: Tells the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked_back = False
        self._missing: dict[str, datetime] = {}

    @property
    def since(self) -> datetime | None:
        """From when on our history is to be compared; ``None``: nothing is missing."""
        now = self._clock.now()
        if not self._looked_back:
            return now - LOOK_BACK
        recent = [at for at in self._missing.values() if at > now - LOOK_BACK]
        return min(recent) - _MARGIN if recent else None

    def add(self, token: str, started: datetime) -> None:
        """A run that could not be written."""
        self._missing[token] = started

    def compared(self, written: Collection[str]) -> None:
        """Our history has been compared, and these are there now; a run that is not in our history yet stays."""
        self._looked_back = True
        for token in written:
            self._missing.pop(token, None)
