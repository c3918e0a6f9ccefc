"""Read and write the old server's database: clock, tables, log of runs, SQL scripts."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ...core.errors import CutoverError
from ...core.masking import mask
from ...core.outage import in_short
from ...project import current
from ...schedules.zones import parse_zone, resolve, wall_clock
from ...services.database import Database
from ...settings import Settings
from .write_back import cut, unexpected

# Clock: the old server's tables contain wall-clock times without a zone.


class OldClock:
    """Convert instants to the old server's wall clock, and back.

    Args:
        zone: Time zone of the old server's machine.
    """

    def __init__(self, zone: str) -> None:
        self.zone = parse_zone(zone)

    @classmethod
    def of(cls, settings: Settings) -> OldClock:
        """Return the clock in the zone of ``legacy_timezone``, or in the project's zone if the setting is empty."""
        return cls(settings.legacy_timezone or current().timezone)

    def instant(self, value: Any) -> datetime | None:
        """Convert a time of the table to an instant; ``None`` for NULL and for an empty text.

        A wall-clock time that occurs twice gives the first instant.
        """
        if value is None or value == "":
            return None
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            moment = resolve(moment, self.zone)
        return moment.astimezone(UTC)

    def wall(self, instant: datetime) -> datetime:
        """Return the wall-clock time at an instant."""
        return wall_clock(instant, self.zone).replace(tzinfo=None, fold=0)


def seconds_between(started: datetime, ended: datetime) -> int:
    """Return the seconds between two instants, each cut to the second as old screens show it. Wall-clock times would count a change of the clock too."""
    return int((ended.replace(microsecond=0) - started.replace(microsecond=0)).total_seconds())


# Shapes: the columns of the two families of old tables that a cut-over reads and writes.


@dataclass(frozen=True, slots=True)
class Shape:
    """Map meanings to column names for one family of ``c_Job``.

    Args:
        word: Name of the family.
        name: Column of the job's name or code.
        runner: Column of the old server's process that runs the job; empty: the old server has only one process.
        active: Column that switches the row on and off.
        next_run: Column of the next run.
        last_run: Column of the last run: the start while the job runs, then the end.
        status: Column of the last run's result.
        running: Values of ``status`` while the job runs.
        mark: Column that stores the mark of a cut-over.
        also: Further SQL condition for existing rows.
        stamps: Columns that get the time of a change.
    """

    word: str
    name: str
    runner: str
    active: str
    next_run: str
    last_run: str
    status: str
    running: tuple[str, ...]
    mark: str
    also: str = ""
    stamps: tuple[str, ...] = ()

    @property
    def needed(self) -> tuple[str, ...]:
        """Return the required columns of a table."""
        return ("ID", self.name, self.active, self.next_run, self.last_run, self.status, self.mark)


CLASSIC = Shape(
    word="classic",
    name="lkpJob",
    runner="lkpJobRunner",
    active="Active",
    next_run="NextRunTime",
    last_run="LastRunTime",
    status="enmJobStatus",
    running=("InProcess",),
    mark="ChangedBy",
    also="DeletedOn IS NULL",
    stamps=("ChangedOn",),
)
"""Table of TARGCC 4."""

CRON = Shape(
    word="cron",
    name="JobName",
    runner="",
    active="IsActive",
    next_run="NextRun",
    last_run="LastRun",
    status="LastResult",
    running=("InProcess", "Running"),
    mark="LastResult",
)
"""Table with a cron text and a procedure in each row.

The table has no column for marks. ``LastResult`` stores the mark until the job runs on the old server again.
"""


def shape_of(columns: Collection[str], table: str) -> Shape:
    """Return the shape of a table by its column names.

    Raises:
        CutoverError: a required column is missing.
    """
    names = {column.lower() for column in columns}
    shape = CLASSIC if "lkpjob" in names else CRON
    missing = [name for name in shape.needed if name.lower() not in names]
    if missing:
        raise CutoverError(f"{table} has no column {missing[0]}: is it the old table of jobs?")
    return shape


# Log: the columns of the old server's ``c_LoggedJob``. TARGCC 4 has fixed columns; with cron texts each installation has its own.

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
    """Column names of a log of runs; an empty text means that the log has no such column.

    Args:
        job: Column of the job row's ID.
        started: Column of the start of a run.
        name: Column of the job's name, for logs without a column for the ID.
        status_is_bit: Whether ``status`` contains 1 and 0 instead of ``Success`` and ``Failure``.
        error: Column of the error message; without this column ``remarks`` gets the message.
        by: Column of the machine that ran the job.
        added_by: Column of the writer of the row.
        added_on: Column of the time at which the row was written.
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
    """Recognize the columns of a log by their usual names.

    Args:
        columns: Columns from SQLAlchemy's inspector.

    Raises:
        CutoverError: runs cannot be written into the log; the message contains the reason.
    """
    known = {str(column["name"]).lower(): column for column in columns}

    def first(names: Sequence[str]) -> str:
        return next((str(known[name]["name"]) for name in names if name in known), "")

    status = first(_STATUS)
    log = LogColumns(
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
    if not log.started or not (log.job or log.name):
        raise CutoverError("no column for the job or for the start of a run")
    ours = {value.lower() for value in _texts(log)}
    if missing := [name for name, column in known.items() if name not in ours and _needed(column)]:
        raise CutoverError(f"its column {missing[0]} needs a value that is not known here")
    return log


def named_columns(names: str) -> LogColumns:
    """Recognize the columns of a log that cannot be inspected, from a comma-separated list of column names.

    Raises:
        CutoverError: a name is invalid, or the list has no column for the job or for the start of a run.
    """
    columns = [name.strip() for name in names.split(",") if name.strip()]
    if odd := [name for name in columns if not name.isidentifier()]:
        raise CutoverError(f"{odd[0]!r} is not the name of a column")
    flags = {name: sa.Boolean() for name in columns if name.lower() in _FLAGS}
    text = sa.String()
    return log_columns(
        [{"name": name, "type": flags.get(name, text), "nullable": True} for name in columns]
    )


def _texts(columns: LogColumns) -> list[str]:
    return [
        *(
            columns.job,
            columns.started,
            columns.name,
            columns.ended,
            columns.seconds,
            columns.milliseconds,
        ),
        *(columns.status, columns.remarks, columns.error, columns.by),
    ]


def _needed(column: Mapping[str, Any]) -> bool:
    """Return whether an insert must give a value for the column.

    A column named ``id`` counts as numbered by the database. If the database does not number that column, the insert fails and the failure
    is reported.
    """
    numbered = bool(column.get("autoincrement") is True or column.get("identity"))
    numbered = numbered or str(column["name"]).lower() == "id"
    return not column["nullable"] and column.get("default") is None and not numbered


# SQL scripts for the old server: switch rows off and on again. Each statement checks its conditions before it changes a row.
#
# The same text is run by the command line, or by a person who passes the printed output back. Each change is one guarded
# ``UPDATE``; a ``SELECT`` returns the result as one line of text a row::
#
#     targcc <token> <outcome> <ID> <next run> <last run>
#
# The statement that switches a row off also writes the mark ``targcc <token> <next run>`` into a column of the row. The token identifies
# one cut-over, and the time is the first run that the old server did not do. With the mark the cut-over can be finished after a crash,
# even if the old server has changed the row's times meanwhile. Times are the old server's wall clock.

# ruff: noqa: S608 - the names are constants or checked, and every value is made a literal by `_text`, `_time` or `_key`


DIALECTS = ("mssql", "postgresql", "sqlite")

_TOKEN = 6
_SAID = re.compile(r"targcc ([0-9a-f]{6}) (off|on|running|idle|late|left) (\S+) (\S+) (\S+)")
_TABLE = re.compile(r'[\w.\[\]"]+')
_MARK = len("targcc ") + _TOKEN + 2
"""Position of the time in a mark, counted from 1."""


@dataclass(frozen=True, slots=True)
class Said:
    """Result line of a script for one row.

    Args:
        token: Token of the cut-over.
        outcome: ``off`` or ``on``: the row was switched. ``running``: the job runs, so the row stayed on. ``late``: the row is off, but the
            old server had started the job just before. ``idle``: the row is on and the job does not run, so its run has ended since.
            ``left``: the row is off, but this script did not switch it off.
        key: ID of the row.
        next_run: First run that the old server did not do; wall clock.
        last_run: Start of the last run while it runs, else its end; wall clock.
    """

    token: str
    outcome: str
    key: str
    next_run: datetime | None
    last_run: datetime | None


@dataclass(frozen=True, slots=True)
class PastRun:
    """Run of this scheduler for the old server's log; start and end are the old server's wall clock."""

    started: datetime
    ended: datetime
    seconds: int
    success: bool
    remarks: str


@dataclass(frozen=True, slots=True)
class Return:
    """Row to switch on again.

    Args:
        key: ID of the row.
        token: Token in the row's mark.
        next_run: Next run of the job; ``None`` for a job without a schedule.
        runs: Runs of this scheduler since the job came, oldest first.
    """

    key: str
    token: str
    next_run: datetime | None
    runs: tuple[PastRun, ...] = ()


def heard(text: str) -> dict[str, Said]:
    """Parse the output of a script into result lines by the rows' IDs; ignore all other text."""
    lines = {}
    for token, outcome, key, next_run, last_run in _SAID.findall(text):
        lines[key] = Said(token, outcome, key, _moment(next_run), _moment(last_run))
    return lines


_SERVER_ERRORS = re.compile(
    r"^(?:Msg \d+, Level 1[1-9].*(?:\n.*)?|Sqlcmd: Error:.*|(?:psql:.*)?(?:ERROR|FATAL):.*|(?:Parse |Runtime )?[Ee]rror(?: near line \d+)?:.*)$",
    re.MULTILINE,
)
"""Errors as sqlcmd, psql and sqlite3 print them; sqlcmd's message stands in the next line."""


def server_errors(text: str) -> list[str]:
    """Return the server's errors in the output of a script, each on one line."""
    return [" ".join(match[0].split()) for match in _SERVER_ERRORS.finditer(text)]


def read_output(content: bytes) -> str:
    """Return the output of a script as text: UTF-16 as PowerShell and ``sqlcmd -u`` write it, UTF-8, else one byte a character."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    if content[1:2] == b"\0":
        return content.decode("utf-16-le", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _moment(text: str) -> datetime | None:
    return None if text == "none" else datetime.fromisoformat(text)


@dataclass(frozen=True, slots=True)
class Script:
    """Statements that change rows, and statements that return the results.

    Args:
        changes: Changes, run in one transaction.
        looks: Queries that return the result lines, one query a row.
        records: Inserts into a log whose columns were recognized by name. If an insert fails, the changes remain.
    """

    changes: tuple[str, ...]
    looks: tuple[str, ...]
    records: tuple[str, ...] = ()


class Scripts:
    """Build the statements for one table.

    Args:
        dialect: ``mssql``, ``postgresql`` or ``sqlite``.
        table: Name of the table.
        shape: Columns of the table.
        log: Columns of the log of a table with cron texts; default: no log is written. A table of TARGCC 4 has :data:`TARGCC_4`.

    Raises:
        CutoverError: the dialect is not supported, or the table name is invalid.
    """

    def __init__(
        self, dialect: str, table: str, shape: Shape, log: LogColumns | None = None
    ) -> None:
        if dialect not in DIALECTS:
            raise CutoverError(f"there are no scripts for {dialect}: one of {', '.join(DIALECTS)}")
        if not _TABLE.fullmatch(table):
            raise CutoverError(f"{table!r} is not the name of a table")
        self.dialect = dialect
        self.shape = shape
        self._table = table
        schema, dot, _ = table.rpartition(".")
        self._log = f"{schema}{dot}c_LoggedJob"
        self._columns = TARGCC_4 if shape is CLASSIC else log

    # Statements.

    def off(self, rows: Sequence[tuple[str, str]]) -> Script:
        """Return a script that switches off the rows whose job does not run; each row is given as ID and token."""
        return Script(tuple(self._off(key, token) for key, token in rows), self.look(rows).looks)

    def look(self, rows: Sequence[tuple[str, str]]) -> Script:
        """Return a script that reports the state of rows after :meth:`off`."""
        return Script((), tuple(self._say(key, token, on="idle") for key, token in rows))

    def on(self, rows: Sequence[Return], *, in_time: bool = False) -> Script:
        """Return a script that switches on rows that carry their mark, and logs the runs of this scheduler.

        Args:
            rows: The rows.
            in_time: Switch a row on only if its next run is still in the future by the old database's clock. Meant for a script that a
                person runs later. Has no effect on SQLite.
        """
        changes: list[str] = []
        records: list[str] = []
        for row in rows:
            changes.append(self._on(row, in_time=in_time))
            if self._columns is not None:
                past = [self._log_run(row, run, self._columns) for run in row.runs]
                (changes if self.shape is CLASSIC else records).extend(past)
        looks = tuple(self._say(row.key, row.token, on="on") for row in rows)
        return Script(tuple(changes), looks, tuple(records))

    def remark(self, key: str, token: str, new: str) -> Script:
        """Return a script that replaces the token in a row's mark; scripts with the old token then do nothing."""
        mark = self.shape.mark
        later = self._concat(self._text(f"targcc {new} "), self._part_of_mark())
        where = f"{self._is(key)} AND {self._marked(token)}"
        change = f"UPDATE {self._table} SET {mark} = {later} WHERE {where}"
        return Script((change,), (self._say(key, new, on="on"),))

    def text(self, script: Script, title: str, *, wait: bool = False) -> str:
        """Return a script as the text of one file for a person.

        Args:
            script: The statements.
            title: Comment in the first line.
            wait: Wait two seconds before the result queries, since the old server may still start runs that it had chosen. SQLite does
                not wait.
        """
        begin, commit = {
            "mssql": ("SET XACT_ABORT ON;\nBEGIN TRANSACTION;", "COMMIT TRANSACTION;"),
            "postgresql": ("BEGIN;", "COMMIT;"),
            "sqlite": ("BEGIN IMMEDIATE;", "COMMIT;"),
        }[self.dialect]
        pause = {"mssql": "WAITFOR DELAY '00:00:02';", "postgresql": "SELECT pg_sleep(2);"}
        lines = [f"-- {title}", begin, *(f"{change};" for change in script.changes), commit]
        if wait and self.dialect in pause:
            lines.append(pause[self.dialect])
        lines += [f"{look};" for look in script.looks]
        if script.records:
            lines.append(
                "-- The runs that were done meanwhile. If the log refuses one, the rows above are on all the same."
            )
        return "\n".join([*lines, *(f"{record};" for record in script.records), ""])

    def time(self, moment: datetime) -> str:
        """Return a time as a literal; SQL Server reads the form with a ``T`` alike in every language of a login."""
        separator = " " if self.dialect == "sqlite" else "T"
        return f"'{moment.isoformat(separator, 'seconds')}'"

    # Parts of statements.

    def _off(self, key: str, token: str) -> str:
        shape = self.shape
        mark = self._concat(self._text(f"targcc {token} "), self._time_text(shape.next_run))
        sets = [f"{shape.active} = '0'", f"{shape.mark} = {mark}", *self._stamps()]
        where = [self._is(key), f"{shape.active} = '1'", f"NOT {self._runs()}"]
        where += [shape.also] if shape.also else []
        return f"UPDATE {self._table} SET {', '.join(sets)} WHERE {' AND '.join(where)}"

    def _on(self, row: Return, *, in_time: bool) -> str:
        shape = self.shape
        sets = [f"{shape.active} = '1'"]
        if row.next_run is not None:
            sets.append(f"{shape.next_run} = {self.time(row.next_run)}")
        if row.runs:
            last = row.runs[-1]
            sets.append(f"{shape.last_run} = {self.time(last.ended)}")
            if shape.status != shape.mark:
                word = "Success" if last.success else "Failure"
                sets.append(f"{shape.status} = {self._text(word)}")
        sets += [f"{shape.mark} = {self._text(f'targcc returned {row.token}')}", *self._stamps()]
        where = [self._is(row.key), f"{shape.active} = '0'", self._marked(row.token)]
        if in_time and row.next_run is not None and self.dialect != "sqlite":
            where.append(f"{self._now()} < {self.time(row.next_run)}")
        return f"UPDATE {self._table} SET {', '.join(sets)} WHERE {' AND '.join(where)}"

    def _log_run(self, row: Return, run: PastRun, log: LogColumns) -> str:
        """Return the insert of a run into the log; the insert does nothing if the row was not switched on or the log has the run."""
        word = "Success" if run.success else "Failure"
        is_fault = self.shape is CLASSIC and not run.success
        remarks = self._text(cut(unexpected(run.remarks) if is_fault else run.remarks))
        name = f"(SELECT {self.shape.name} FROM {self._table} WHERE {self._is(row.key)})"
        values = {
            log.job: self._key(row.key),
            log.name: name,
            log.started: self.time(run.started),
            log.ended: self.time(run.ended),
            log.by: self._text("targcc"),
            log.seconds: str(run.seconds),
            log.milliseconds: str(run.seconds * 1000),
            log.status: f"'{int(run.success)}'" if log.status_is_bit else self._text(word),
            log.error if log.error and not run.success else log.remarks: remarks,
            log.added_by: self._text("targcc"),
            log.added_on: self._now(),
        }
        values.pop("", None)
        same = [log.job or log.name, log.started, *([log.by] if log.by else [])]
        condition = " AND ".join(f"{column} = {values[column]}" for column in same)
        returned = self._text(f"targcc returned {row.token}")
        return (
            f"INSERT INTO {self._log} ({', '.join(values)}) SELECT {', '.join(values.values())}"
            f" WHERE EXISTS (SELECT 1 FROM {self._table} WHERE {self._is(row.key)} AND {self.shape.mark} = {returned})"
            f" AND NOT EXISTS (SELECT 1 FROM {self._log} WHERE {condition})"
        )

    def _say(self, key: str, token: str, *, on: str) -> str:
        """Return the query for a row's result line; ``on`` is the outcome of an active row."""
        shape = self.shape
        active = (
            f"'{on}'" if on == "on" else f"CASE WHEN {self._runs()} THEN 'running' ELSE '{on}' END"
        )
        outcome = (
            f"CASE WHEN {shape.active} = '1' THEN {active}"
            f" WHEN {self._marked(token)} AND {self._runs()} THEN 'late'"
            f" WHEN {self._marked(token)} THEN 'off' ELSE 'left' END"
        )
        times = f"CASE WHEN {self._marked(token)} THEN {self._part_of_mark()} ELSE 'none' END"
        line = self._concat(
            self._text(f"targcc {token} "),
            outcome,
            self._text(f" {key} "),
            times,
            "' '",
            self._time_text(shape.last_run),
        )
        return f"SELECT {line} AS said FROM {self._table} WHERE {self._is(key)}"

    def _stamps(self) -> list[str]:
        return [f"{column} = {self._now()}" for column in self.shape.stamps]

    def _is(self, key: str) -> str:
        return f"ID = {self._key(key)}"

    def _key(self, key: str) -> str:
        return key if key.isascii() and key.isdigit() else self._text(key)

    def _runs(self) -> str:
        words = ", ".join(self._text(word) for word in self.shape.running)
        return f"(COALESCE({self.shape.status}, '') IN ({words}))"

    def _marked(self, token: str) -> str:
        return f"{self.shape.mark} LIKE {self._text(f'targcc {token} %')}"

    def _part_of_mark(self) -> str:
        function = "substr" if self.dialect == "sqlite" else "SUBSTRING"
        return f"{function}({self.shape.mark}, {_MARK}, 19)"

    def _text(self, text: str) -> str:
        plain = "".join(c if c.isprintable() else " " for c in text).replace("'", "''")
        return f"N'{plain}'" if self.dialect == "mssql" else f"'{plain}'"

    def _concat(self, *parts: str) -> str:
        return (" + " if self.dialect == "mssql" else " || ").join(
            part if part.startswith(("'", "N'")) else f"({part})" for part in parts
        )

    def _time_text(self, column: str) -> str:
        """Return SQL that formats a time column as text to the second; ``none`` for NULL."""
        text = {
            "mssql": f"CONVERT(varchar(19), {column}, 126)",
            "postgresql": f"to_char({column}, 'YYYY-MM-DD\"T\"HH24:MI:SS')",
            "sqlite": f"replace(substr({column}, 1, 19), ' ', 'T')",
        }[self.dialect]
        return f"COALESCE({text}, 'none')"

    def _now(self) -> str:
        return {
            "mssql": "GETDATE()",
            "postgresql": "LOCALTIMESTAMP",
            "sqlite": "datetime('now', 'localtime')",
        }[self.dialect]


# Connection to the old server's database: read the rows and run the scripts.

_YES = {"1", "true", "t", "yes", "y"}
_LOG = "c_LoggedJob"
_MINE = "targcc"
"""``LastRunBy`` of log rows that a cut-over has written."""


@dataclass(frozen=True, slots=True)
class OldRow:
    """Row of the old table; times are instants.

    Args:
        key: ID of the row.
        name: Name or code of the job.
        runner: Process of the old server that runs the job.
        active: Whether the old server runs the job.
        running: Whether the job runs now, by the row's status.
        next_run: Next run on the old server.
        last_run: Start of the last run while it runs, else its end.
        mark: Content of the mark column.
    """

    key: str
    name: str
    runner: str
    active: bool
    running: bool
    next_run: datetime | None
    last_run: datetime | None
    mark: str


@dataclass(frozen=True, slots=True)
class OldRun:
    """Run in the old server's log; ``ended`` is ``None`` if the log has no end."""

    started: datetime
    ended: datetime | None


class OldServer:
    """The old server's job table and log. The methods block: call them in a thread.

    Args:
        url: URL of the old server's database.
        table: Name of the job table.
        clock: Clock of the old server.
    """

    def __init__(self, url: str, table: str, clock: OldClock) -> None:
        self._database = Database(url, threads=1)
        self._table = table
        self.clock = clock
        self._scripts: Scripts | None = None
        self.not_logged = ""
        """Reason why runs of this scheduler are not written into the old log; empty if none is known."""

    @property
    def scripts(self) -> Scripts:
        """Return the statement builder for this table.

        Raises:
            CutoverError: the table does not exist or lacks a required column, the database cannot be used, or its dialect is not supported.
        """
        if self._scripts is None:
            columns = self._read(self._columns, self._table)
            shape = shape_of([column["name"] for column in columns], self._table)
            log = self._log_columns() if shape is not CLASSIC else None
            dialect = self._database.engine.dialect.name
            self._scripts = Scripts(dialect, self._table, shape, log)
        return self._scripts

    @property
    def shape(self) -> Shape:
        """Return the shape of the table."""
        return self.scripts.shape

    def rows(self) -> dict[str, OldRow]:
        """Return all rows that are not deleted, by ID."""
        shape = self.shape
        where = f" WHERE {shape.also}" if shape.also else ""
        query = f"SELECT * FROM {self._table}{where}"
        records = self._read(self._select, query)
        rows = (self._row(record, shape) for record in records)
        return {row.key: row for row in rows}

    def run(self, script: Script) -> dict[str, Said]:
        """Run a script in one transaction; return the result lines by row ID."""

        def work(connection: sa.Connection) -> str:
            for change in script.changes:
                connection.exec_driver_sql(change)
            self._record(connection, script.records)
            rows = (row for look in script.looks for row in connection.exec_driver_sql(look))
            return "\n".join(str(row[0]) for row in rows)

        return heard(self._read(work))

    def runs(self, since: datetime, until: datetime) -> dict[str, list[OldRun]]:
        """Return the old server's runs in the log that began in ``[since, until)``, by row ID, oldest first.

        Runs that a cut-over has written into the log are left out.

        Raises:
            CutoverError: the log does not exist, or lacks a column for the job or the start.
        """
        schema, dot, _ = self._table.rpartition(".")
        log = f"{schema}{dot}{_LOG}"
        names = [str(column["name"]) for column in self._read(self._columns, log)]
        columns = {name.lower(): name for name in names}
        job = next((columns[name] for name in JOB if name in columns), None)
        started = next((columns[name] for name in STARTED if name in columns), None)
        if job is None or started is None:
            raise CutoverError(f"{log} has no column for the job or for the start of a run")
        lowest = self.scripts.time(self.clock.wall(since))
        query = f"SELECT * FROM {log} WHERE {started} >= {lowest} ORDER BY {started}"
        runs: dict[str, list[OldRun]] = {}
        for record in self._read(self._select, query):
            at = self.clock.instant(record[started.lower()])
            is_ours = str(record.get("lastrunby") or "") == _MINE
            if at is not None and since <= at < until and not is_ours:
                run = OldRun(at, self._end_of(at, record))
                runs.setdefault(str(record[job.lower()]), []).append(run)
        return runs

    def _end_of(self, started: datetime, record: Mapping[str, Any]) -> datetime | None:
        """Return the end of a run in the log, from the first filled column of seconds, milliseconds or end time."""

        def first(names: Sequence[str]) -> Any:
            return next((record[name] for name in names if record.get(name) is not None), None)

        if (seconds := first(SECONDS)) is not None:
            return started + timedelta(seconds=float(seconds))
        if (milliseconds := first(MILLISECONDS)) is not None:
            return started + timedelta(milliseconds=float(milliseconds))
        return self.clock.instant(first(ENDED))

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def _row(self, record: Mapping[str, Any], shape: Shape) -> OldRow:
        def value(column: str) -> Any:
            return record.get(column.lower())

        return OldRow(
            key=str(value("ID")),
            name=str(value(shape.name) or ""),
            runner=str(value(shape.runner) or "") if shape.runner else "",
            active=_is_yes(value(shape.active)) and (shape is not CLASSIC or _managed(record)),
            running=str(value(shape.status) or "") in shape.running,
            next_run=self.clock.instant(value(shape.next_run)),
            last_run=self.clock.instant(value(shape.last_run)),
            mark=str(value(shape.mark) or ""),
        )

    def _log_columns(self) -> LogColumns | None:
        """Return the log columns of a table with cron texts; ``None`` if runs cannot be written into the log."""
        schema, dot, _ = self._table.rpartition(".")
        try:
            return log_columns(self._read(self._columns, f"{schema}{dot}{_LOG}"))
        except CutoverError as error:
            self.not_logged = str(error)
            return None

    def _record(self, connection: sa.Connection, records: Sequence[str]) -> None:
        """Insert all rows into the log or none; on failure store the reason in ``not_logged``.

        Raises:
            sqlalchemy.exc.DBAPIError: the server has ended the connection or the transaction, as with a deadlock.
        """
        if not records:
            return
        savepoint = connection.begin_nested()
        try:
            for record in records:
                connection.exec_driver_sql(record)
        except sa.exc.DBAPIError as error:
            if error.connection_invalidated:
                raise
            try:
                savepoint.rollback()
            except sa.exc.DBAPIError:
                raise error from None
            self.not_logged = mask(in_short(error))
        else:
            savepoint.commit()

    def _columns(self, connection: sa.Connection, table: str) -> list[Any]:
        *schemas, name = (part.strip('[]"') for part in table.split("."))
        schema = ".".join(schemas) or None
        inspector = sa.inspect(connection)
        table_name = next(
            (
                candidate
                for candidate in inspector.get_table_names(schema)
                if candidate.lower() == name.lower()
            ),
            None,
        )
        if table_name is None:
            raise CutoverError(f"there is no table {table}: TARGCC_LEGACY_TABLE names it")
        return list(inspector.get_columns(table_name, schema))

    def _select(self, connection: sa.Connection, query: str) -> list[dict[str, Any]]:
        result = connection.exec_driver_sql(query)
        names = [name.lower() for name in result.keys()]  # noqa: SIM118 - no mapping
        return [dict(zip(names, row, strict=True)) for row in result]

    def _read(self, work: Any, *args: Any) -> Any:
        """Run ``work`` in one transaction; retry once after a lost connection.

        Raises:
            CutoverError: the database cannot be used; the message contains the driver's error with secrets masked.
        """
        engine = self._database.engine.execution_options(no_parameters=True)

        def once() -> Any:
            with engine.begin() as connection:
                return work(connection, *args)

        try:
            try:
                return once()
            except sa.exc.DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                return once()
        except CutoverError:
            raise
        except Exception as error:  # a driver may raise anything
            raise CutoverError(
                f"the old server's database cannot be used: {mask(in_short(error))}"
            ) from error


def _is_yes(value: object) -> bool:
    return any(value) if isinstance(value, bytes) else str(value).strip().lower() in _YES


def _managed(record: Mapping[str, Any]) -> bool:
    """Return whether TaskManager runs the row; all rows count if the table has no column ``IsManaged``."""
    return "ismanaged" not in record or _is_yes(record["ismanaged"])
