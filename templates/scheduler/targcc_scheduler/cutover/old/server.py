"""The old server's database, where it can be reached: what its rows say, and the scripts, run from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ...core.errors import CutoverError
from ...core.outage import in_short
from ...core.secrets import mask
from ...services.database import Database
from .clock import OldClock
from .log import ENDED, JOB, MILLISECONDS, SECONDS, STARTED, LogColumns, log_columns
from .scripts import Said, Script, Scripts, heard
from .shapes import CLASSIC, Shape, shape_of

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
        query = f"SELECT * FROM {self._table}{where}"  # noqa: S608 - the name was checked
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
        query = f"SELECT * FROM {log} WHERE {started} >= '{lowest}' ORDER BY {started}"  # noqa: S608 - names that were found, and a time
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
