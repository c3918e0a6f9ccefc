"""What a database holds of the tables that are looked for: where they are, their rows, and its stored procedures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, cast
from zoneinfo import ZoneInfo

from targcc_gen.errors import InputError
from targcc_gen.readers.database.address import Address
from targcc_gen.readers.database.session import Session
from targcc_gen.readers.dates import EVERY_ORDER
from targcc_gen.readers.rows import Remark, RemarkKind, Row, Value
from targcc_gen.readers.tables import KnownTables

BATCH = 500
_TABLES = {
    "sqlite": "SELECT '', name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name",
    "postgresql": "SELECT table_schema, table_name FROM information_schema.tables ORDER BY table_schema, table_name",
    "mssql": "SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.TABLES ORDER BY TABLE_SCHEMA, TABLE_NAME",
}
_OWN_SCHEMA = {"postgresql": "SELECT current_schema()", "mssql": "SELECT SCHEMA_NAME()"}
_PROCEDURES = {
    "postgresql": "SELECT n.nspname, p.proname, pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
    " WHERE p.prokind = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY n.nspname, p.proname",
    "mssql": "SELECT s.name, p.name, m.definition FROM sys.procedures AS p JOIN sys.schemas AS s ON s.schema_id = p.schema_id"
    " LEFT JOIN sys.sql_modules AS m ON m.object_id = p.object_id WHERE p.is_ms_shipped = 0 ORDER BY s.name, p.name",
}
_PROCEDURE_COLUMNS = ("schema", "name", "definition")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for in a database.

    Attributes:
        tables: The tables.
        zone: What instants are told in: the old server's wall clock.
        schema: Where the tables are; ``None``: where the main one is.
        procedures: The table as whose rows the stored procedures are given; ``None``: they are not.
        orders: The orders that texts of dates may have.
    """

    tables: KnownTables
    zone: ZoneInfo
    schema: str | None = None
    procedures: str | None = None
    orders: frozenset[str] = EVERY_ORDER


@dataclass(frozen=True, slots=True)
class Place:
    """A table of the database.

    Attributes:
        table: What it is among those looked for.
        shown: Its schema and name, for people.
        sql: The same for a statement.
    """

    table: str
    shown: str
    sql: str


class Contents:
    """The tables of one session.

    Args:
        session: Where they are.
        address: Of the database.
        wanted: What is looked for.
    """

    def __init__(self, session: Session, address: Address, wanted: Wanted) -> None:
        self._connection = session.connection
        self._address = address
        self._tables = wanted.tables
        self._zone = wanted.zone
        self._orders = wanted.orders
        self._schema = wanted.schema
        self.remarks: list[Remark] = []

    def places(self) -> list[Place]:
        """The tables that are there, the main one first.

        Raises:
            InputError: The main one is not there, or in several schemas none of which is the log-in's own.
        """
        found = [(schema, name) for schema, name in self._query(_TABLES[self._address.kind])]
        schema = self._chosen([one for one, name in found if name.lower() == self._tables.main])
        ours = [
            self._place(one, name)
            for one, name in found
            if one == schema and name.lower() in self._tables
        ]
        return sorted(ours, key=lambda place: place.table != self._tables.main)

    def count(self, place: Place) -> int:
        """How many rows a table has."""
        ((count,),) = self._query(f"SELECT COUNT(*) FROM {place.sql}")  # noqa: S608 - a quoted name
        return int(count)

    def columns(self, place: Place) -> list[str]:
        """A table's columns, in lower case."""
        nothing = f"SELECT * FROM {place.sql} WHERE 1 = 0"  # noqa: S608 - a quoted name
        result = self._connection.exec_driver_sql(nothing)
        return [name.lower() for name in result.keys()]  # noqa: SIM118 - no mapping

    def rows(self, place: Place, columns: list[str]) -> Iterator[list[Row]]:
        """A table's rows, some at a time, by their id where they have one; that is also a row's line."""
        order = f" ORDER BY {self._quoted('id', columns)}" if "id" in columns else ""
        statement = f"SELECT * FROM {place.sql}{order}"  # noqa: S608 - quoted names
        streamed = {"stream_results": True, "max_row_buffer": BATCH}
        result = self._connection.exec_driver_sql(statement, execution_options=streamed)
        number = 0
        with contextlib.closing(result):
            for part in result.partitions(BATCH):
                rows = []
                for cells in part:
                    number += 1
                    found = [_value(cell, self._zone) for cell in cells]
                    values = dict(zip(columns, found, strict=True))
                    rows.append(
                        Row(
                            place.table,
                            values,
                            self.name_of(place),
                            _line(values, number),
                            self._orders,
                        )
                    )
                yield rows

    def procedures(self, table: str) -> tuple[str, list[Row]]:
        """The stored procedures as rows of a table ``schema, name, definition``; a text that may not be read is NULL."""
        statement = _PROCEDURES.get(self._address.kind)
        name = f"{self._address.label}/{self._tables.names[table]}"
        if statement is None:
            return name, []
        found = self._query(statement)
        return name, [
            Row(table, dict(zip(_PROCEDURE_COLUMNS, cells, strict=True)), name, number)
            for number, cells in enumerate(found, 1)
        ]

    def name_of(self, place: Place) -> str:
        """What reports call a table's place."""
        return f"{self._address.label}/{place.shown}"

    def _chosen(self, schemas: list[str]) -> str:
        if self._schema is not None:
            same = [one for one in schemas if one.lower() == self._schema.lower()]
            if same:
                return same[0]
        elif len(schemas) == 1:
            return schemas[0]
        elif schemas:
            ((own,),) = self._query(_OWN_SCHEMA[self._address.kind])
            if own in schemas:
                others = ", ".join(one for one in schemas if one != own)
                text = f"{self._tables.main_shown} is in {own}, which was read, and in {others}: --schema chooses"
                self.remarks.append(Remark(RemarkKind.WARNING, self._address.label, 0, text))
                return str(own)
        raise self._none(schemas)

    def _none(self, schemas: list[str]) -> InputError:
        name, label = self._tables.main_shown, self._address.label
        if schemas and self._schema is None:
            where = " and ".join(schemas)
            return InputError(f"{label} has {name} in {where}", hint="Choose one with --schema.")
        inside = f" in the schema {self._schema}" if self._schema else ""
        hint = "Is it the right database, and may this log-in see the table?"
        return InputError(f"{label} has no table {name}{inside}", hint=hint)

    def _place(self, schema: str, name: str) -> Place:
        quote = self._connection.dialect.identifier_preparer.quote_identifier
        sql = f"{quote(schema)}.{quote(name)}" if schema else quote(name)
        shown = f"{schema}.{name}" if schema else name
        return Place(name.lower(), shown, sql)

    def _quoted(self, column: str, columns: list[str]) -> str:
        """A column by its position, as its case is not known."""
        return str(columns.index(column) + 1)

    def _query(self, statement: str) -> list[Any]:
        return list(self._connection.exec_driver_sql(statement).all())


def _line(values: Mapping[str, Value], number: int) -> int:
    found = values.get("id")
    return found if isinstance(found, int) and found > 0 else number


def _value(cell: object, zone: ZoneInfo) -> Value:
    """A cell as the readers give it; an instant becomes the old server's wall time."""
    value = cell
    if isinstance(cell, bool):
        value = int(cell)
    elif isinstance(cell, datetime):
        value = cell if cell.tzinfo is None else cell.astimezone(zone).replace(tzinfo=None)
    elif isinstance(cell, date):
        value = datetime.combine(cell, time())
    elif isinstance(cell, Decimal):
        value = int(cell) if cell == cell.to_integral_value() else str(cell)
    elif isinstance(cell, memoryview | bytearray):
        value = bytes(cell)
    known = value is None or isinstance(value, str | int | float | bytes | datetime)
    return cast("Value", value) if known else str(cell)
