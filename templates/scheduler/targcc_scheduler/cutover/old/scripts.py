"""The SQL for the old server's side: rows are switched off, and on again, by statements that check before they change.

One text serves both: a person runs it and hands over what it printed, or the command line runs it. Each change is one guarded
``UPDATE``; what it came to is said by a ``SELECT`` with one line of text a row::

    targcc <token> <outcome> <ID> <next run> <last run>

A row that was switched off carries ``targcc <token> <next run>`` in a column, written by the same statement: the token names the one
change of sides it belongs to, and the time is the first run that the old server did not do. So the switch can be finished
after a crash, whatever the old server has done to the row's times meanwhile. Times are the old server's wall clock.
"""

# ruff: noqa: S608 - the names are constants or checked, and every value is made a literal by `_text`, `_time` or `_key`

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ...core.errors import CutoverError
from .log import TARGCC_4, LogColumns
from .shapes import CLASSIC, Shape

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
