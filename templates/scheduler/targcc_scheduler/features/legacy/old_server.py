"""The old server: clock, tables, log, SQL scripts."""

from __future__ import annotations

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

# The clock of the old server, whose tables hold wall-clock times without a zone.


class OldClock:
    """Instants as the old server writes them, and back.

    Args:
        zone: The zone of the machine it runs on.
    """

    def __init__(self, zone: str) -> None:
        self.zone = parse_zone(zone)

    @classmethod
    def of(cls, settings: Settings) -> OldClock:
        """The clock that the settings name; else the project's."""
        return cls(settings.legacy_timezone or current().timezone)

    def instant(self, value: Any) -> datetime | None:
        """A time of the table, as any driver gives it; of two that show the same the first."""
        if value is None or value == "":
            return None
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if moment.tzinfo is None:
            moment = resolve(moment, self.zone)
        return moment.astimezone(UTC)

    def wall(self, instant: datetime) -> datetime:
        """What the clock shows at an instant."""
        return wall_clock(instant, self.zone).replace(tzinfo=None, fold=0)


# The two families of old tables, as far as a cut-over reads and writes them.


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of a family of ``c_Job`` by what they mean.

    Args:
        word: What the family is called.
        name: The job's name or code.
        runner: Which process of the old server runs it; empty: there is one.
        active: Whether it runs.
        next_run: When it runs next.
        last_run: When it ran last: the start while it runs, then the end.
        status: What became of its last run.
        running: What ``status`` holds while it runs.
        mark: Where it is noted who switched the row off.
        also: Further conditions for a row that is there.
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
        """The columns that a table has to have."""
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
"""TARGCC 4."""

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
"""A cron text and a procedure in each row. No column is for marks: ``LastResult`` gets one, until the job runs there again."""


def shape_of(columns: Collection[str], table: str) -> Shape:
    """The family of a table, by its columns.

    Raises:
        CutoverError: it is of neither, or a column is missing.
    """
    found = {column.lower() for column in columns}
    shape = CLASSIC if "lkpjob" in found else CRON
    missing = [name for name in shape.needed if name.lower() not in found]
    if missing:
        raise CutoverError(f"{table} has no column {missing[0]}: is it the old table of jobs?")
    return shape


# The old server's log of runs, ``c_LoggedJob``: its columns by what they mean. TARGCC 4's are known; with cron texts each shop has its own.

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


# The SQL for the old server's side: rows are switched off, and on again, by statements that check before they change.
#
# One text serves both: a person runs it and hands over what it printed, or the command line runs it. Each change is one guarded
# ``UPDATE``; what it came to is said by a ``SELECT`` with one line of text a row::
#
#     targcc <token> <outcome> <ID> <next run> <last run>
#
# A row that was switched off carries ``targcc <token> <next run>`` in a column, written by the same statement: the token names the one
# change of sides it belongs to, and the time is the first run that the old server did not do. So the switch can be finished
# after a crash, whatever the old server has done to the row's times meanwhile. Times are the old server's wall clock.

# ruff: noqa: S608 - the names are constants or checked, and every value is made a literal by `_text`, `_time` or `_key`


DIALECTS = ("mssql", "postgresql", "sqlite")

_TOKEN = 6
_SAID = re.compile(r"targcc ([0-9a-f]{6}) (off|on|running|idle|late|left) (\S+) (\S+) (\S+)")
_TABLE = re.compile(r'[\w.\[\]"]+')
_MARK = len("targcc ") + _TOKEN + 2
"""Where the time begins in a mark, counted from 1."""
_MOST_REMARKS = 960


@dataclass(frozen=True, slots=True)
class Said:
    """What a script says of a row.

    Args:
        token: Which change of sides it is about.
        outcome: ``off``, ``on``; or why not: ``running``; ``late``: it is off, and the old server had taken it at the last moment;
            ``idle``: it is on and does not run, so its run has ended since; ``left``: it is off, and not by this script.
        key: The row's ID.
        next_run: The first run that the old server did not do; wall clock.
        last_run: Its last run's start while it runs, else the end; wall clock.
    """

    token: str
    outcome: str
    key: str
    next_run: datetime | None
    last_run: datetime | None


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run that was done here, for the old server's log; start and end are the old server's wall clock."""

    started: datetime
    ended: datetime
    seconds: int
    success: bool
    remarks: str


@dataclass(frozen=True, slots=True)
class Return:
    """A row that is switched on again.

    Args:
        key: Its ID.
        token: The mark's.
        next_run: When it runs next; ``None`` for one without a schedule.
        runs: What ran here meanwhile, oldest first.
    """

    key: str
    token: str
    next_run: datetime | None
    runs: tuple[PastRun, ...] = ()


def heard(text: str) -> dict[str, Said]:
    """What the output of a script says, by the rows' IDs; whatever else stands around the lines."""
    found = {}
    for token, outcome, key, next_run, last_run in _SAID.findall(text):
        found[key] = Said(token, outcome, key, _moment(next_run), _moment(last_run))
    return found


def _moment(text: str) -> datetime | None:
    return None if text == "none" else datetime.fromisoformat(text)


@dataclass(frozen=True, slots=True)
class Script:
    """Statements for one transaction, and then those that say what they came to, one a row.

    Args:
        changes: All of them, or none.
        looks: Say what they came to.
        records: Rows for a log whose columns are only known by their names: if they fail, the changes are done all the same.
    """

    changes: tuple[str, ...]
    looks: tuple[str, ...]
    records: tuple[str, ...] = ()


class Scripts:
    """Writes the statements for one table.

    Args:
        dialect: ``mssql``, ``postgresql`` or ``sqlite``.
        table: The table's name.
        shape: Its columns.
        log: The columns of the log of runs; default: TARGCC 4's for its table, and no log for another.

    Raises:
        CutoverError: there are no scripts for the database, or the table's name is not one.
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
        """Switch rows off that do not run; a row is its ID and its token."""
        return Script(tuple(self._off(key, token) for key, token in rows), self.look(rows).looks)

    def look(self, rows: Sequence[tuple[str, str]]) -> Script:
        """Say how rows stand that were to be switched off."""
        return Script((), tuple(self._say(key, token, on="idle") for key, token in rows))

    def on(self, rows: Sequence[Return], *, in_time: bool = False) -> Script:
        """Switch rows on that carry their mark, with the runs that were done here.

        Args:
            rows: The rows.
            in_time: Only while the next run is still to come by the old database's clock: for a script that somebody runs later.
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
        """Give a row that is off another token: whoever goes by the old one does nothing any more."""
        mark = self.shape.mark
        later = self._concat(self._text(f"targcc {new} "), self._part_of_mark())
        where = f"{self._is(key)} AND {self._marked(token)}"
        change = f"UPDATE {self._table} SET {mark} = {later} WHERE {where}"
        return Script((change,), (self._say(key, new, on="on"),))

    def text(self, script: Script, title: str, *, wait: bool = False) -> str:
        """A script as one file for a person.

        Args:
            script: The statements.
            title: The first line, a comment.
            wait: Look only after two seconds, in which the old server may still begin what it had chosen.
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

    # Their parts.

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
            sets.append(f"{shape.next_run} = {self._time(row.next_run)}")
        if row.runs:
            last = row.runs[-1]
            sets.append(f"{shape.last_run} = {self._time(last.ended)}")
            if shape.status != shape.mark:
                word = "Success" if last.success else "Failure"
                sets.append(f"{shape.status} = {self._text(word)}")
        sets += [f"{shape.mark} = {self._text(f'targcc returned {row.token}')}", *self._stamps()]
        where = [self._is(row.key), f"{shape.active} = '0'", self._marked(row.token)]
        if in_time and row.next_run is not None and self.dialect != "sqlite":
            where.append(f"{self._now()} < {self._time(row.next_run)}")
        return f"UPDATE {self._table} SET {', '.join(sets)} WHERE {' AND '.join(where)}"

    def _log_run(self, row: Return, run: PastRun, log: LogColumns) -> str:
        """A row of the log, if the row was switched on by this and the run is not there yet."""
        word = "Success" if run.success else "Failure"
        remarks = self._text(run.remarks[:_MOST_REMARKS])
        name = f"(SELECT {self.shape.name} FROM {self._table} WHERE {self._is(row.key)})"
        values = {
            log.job: self._key(row.key),
            log.name: name,
            log.started: self._time(run.started),
            log.ended: self._time(run.ended),
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
        there = " AND ".join(f"{column} = {values[column]}" for column in same)
        returned = self._text(f"targcc returned {row.token}")
        return (
            f"INSERT INTO {self._log} ({', '.join(values)}) SELECT {', '.join(values.values())}"
            f" WHERE EXISTS (SELECT 1 FROM {self._table} WHERE {self._is(row.key)} AND {self.shape.mark} = {returned})"
            f" AND NOT EXISTS (SELECT 1 FROM {self._log} WHERE {there})"
        )

    def _say(self, key: str, token: str, *, on: str) -> str:
        """One line about a row; ``on`` is what an active one comes to."""
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

    def _time(self, moment: datetime) -> str:
        separator = " " if self.dialect == "sqlite" else "T"
        return f"'{moment.isoformat(separator, 'seconds')}'"

    def _time_text(self, column: str) -> str:
        """A time as text, to the second; ``none`` where there is none."""
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


# The old server's database, where it can be reached: what its rows say, and the scripts, run from here.

_YES = {"1", "true", "t", "yes", "y"}
_LOG = "c_LoggedJob"
_MINE = "targcc"
"""What ``LastRunBy`` holds in rows of the log that came from here."""


@dataclass(frozen=True, slots=True)
class OldRow:
    """A row of the old table; times are instants.

    Args:
        key: Its ID.
        name: The job's name or code.
        runner: Which process of the old server runs it.
        active: Whether that process does.
        running: Whether it does right now, as far as the table says so.
        mark: What is noted about who switched it off.
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
    """A run of the old server's log; ``ended`` is ``None`` where the log does not say it."""

    started: datetime
    ended: datetime | None


class OldServer:
    """The old server's table of jobs. Its methods block: call them in a thread.

    Args:
        url: Its database.
        table: The table's name.
        clock: Its clock.
    """

    def __init__(self, url: str, table: str, clock: OldClock) -> None:
        self._database = Database(url, threads=1)
        self._table = table
        self.clock = clock
        self._scripts: Scripts | None = None
        self.not_logged = ""
        """Why runs from here are not written into its log; empty: they are, or it has none."""

    @property
    def scripts(self) -> Scripts:
        """Writes the statements for this table.

        Raises:
            CutoverError: there is no such table, or it has other columns.
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
        """The table's columns by what they mean."""
        return self.scripts.shape

    def rows(self) -> dict[str, OldRow]:
        """Every row that is not deleted, by its ID."""
        shape = self.shape
        where = f" WHERE {shape.also}" if shape.also else ""
        query = f"SELECT * FROM {self._table}{where}"
        found = self._read(self._select, query)
        rows = (self._row(record, shape) for record in found)
        return {row.key: row for row in rows}

    def run(self, script: Script) -> dict[str, Said]:
        """Run a script in one transaction; what it says of each row, by ID."""

        def work(connection: sa.Connection) -> str:
            for change in script.changes:
                connection.exec_driver_sql(change)
            self._record(connection, script.records)
            rows = (row for look in script.looks for row in connection.exec_driver_sql(look))
            return "\n".join(str(row[0]) for row in rows)

        return heard(self._read(work))

    def runs(self, since: datetime, until: datetime) -> dict[str, list[OldRun]]:
        """The runs of the old server's log that began in ``[since, until)``, by the row's ID, oldest first.

        Raises:
            CutoverError: there is no log, or it has other columns.
        """
        schema, dot, _ = self._table.rpartition(".")
        log = f"{schema}{dot}{_LOG}"
        names = [str(column["name"]) for column in self._read(self._columns, log)]
        columns = {name.lower(): name for name in names}
        job = next((columns[name] for name in JOB if name in columns), None)
        started = next((columns[name] for name in STARTED if name in columns), None)
        if job is None or started is None:
            raise CutoverError(f"{log} has no column for the job or for the start of a run")
        lowest = self.clock.wall(since).isoformat(" ", "seconds")
        query = f"SELECT * FROM {log} WHERE {started} >= '{lowest}' ORDER BY {started}"
        found: dict[str, list[OldRun]] = {}
        for record in self._read(self._select, query):
            at = self.clock.instant(record[started.lower()])
            mine = str(record.get("lastrunby") or "") == _MINE
            if at is not None and since <= at < until and not mine:
                run = OldRun(at, self._end_of(at, record))
                found.setdefault(str(record[job.lower()]), []).append(run)
        return found

    def _end_of(self, started: datetime, record: Mapping[str, Any]) -> datetime | None:
        """When a run of the log ended, by whichever column says it."""

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
        """The columns of the log of a table with cron texts; ``None``: runs are not written into it."""
        schema, dot, _ = self._table.rpartition(".")
        try:
            return log_columns(self._read(self._columns, f"{schema}{dot}{_LOG}"))
        except CutoverError as error:
            self.not_logged = str(error)
            return None

    def _record(self, connection: sa.Connection, records: Sequence[str]) -> None:
        """Write rows of a log, all or none; why not is kept."""
        if not records:
            return
        try:
            with connection.begin_nested():
                for record in records:
                    connection.exec_driver_sql(record)
        except sa.exc.DBAPIError as error:
            if error.connection_invalidated:
                raise
            self.not_logged = mask(in_short(error))

    def _columns(self, connection: sa.Connection, table: str) -> list[Any]:
        *schemas, name = (part.strip('[]"') for part in table.split("."))
        schema = ".".join(schemas) or None
        inspector = sa.inspect(connection)
        there = next(
            (one for one in inspector.get_table_names(schema) if one.lower() == name.lower()), None
        )
        if there is None:
            raise CutoverError(f"there is no table {table}: TARGCC_LEGACY_TABLE names it")
        return list(inspector.get_columns(there, schema))

    def _select(self, connection: sa.Connection, query: str) -> list[dict[str, Any]]:
        found = connection.exec_driver_sql(query)
        names = [name.lower() for name in found.keys()]  # noqa: SIM118 - no mapping
        return [dict(zip(names, row, strict=True)) for row in found]

    def _read(self, work: Any, *args: Any) -> Any:
        """Do something in one transaction, which may be done once more: its connection may be lost. What a driver says becomes a sentence."""
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
    """Whether TaskManager takes the row at all; a table without the column has only such rows."""
    return "ismanaged" not in record or _is_yes(record["ismanaged"])
