"""Build and execute calls of stored procedures."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .transaction import note_cursor


@dataclass(frozen=True)
class ProcedureResult:
    """The results of a stored procedure.

    Args:
        sets: The result sets, in order; each set is a list of rows, each row a mapping by column name.
        affected: Number of changed rows, as far as the database reports the number.
    """

    sets: tuple[list[dict[str, Any]], ...]
    affected: int

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The first result set; empty when there is none."""
        return self.sets[0] if self.sets else []

    @property
    def remark(self) -> str:
        """The first value of the first row as text, which TaskManager stored as ``Remarks``; empty for NULL and without a row."""
        if not self.rows:
            return ""
        value = next(iter(self.rows[0].values()), None)
        return "" if value is None else value.hex() if isinstance(value, bytes) else str(value)

    def message(self, procedure: str) -> str:
        """Return the remark, else the numbers of rows."""
        counts = f"{procedure}: {len(self.rows)} rows returned, {self.affected} changed"
        return self.remark or counts


_COUNTS = re.compile(r".+: \d+ rows returned, -?\d+ changed")


def remark_of(message: str) -> str:
    """Return the remark of a message of :meth:`ProcedureResult.message`; empty if the message has the numbers of rows."""
    return "" if _COUNTS.fullmatch(message) else message


_PART = re.compile(
    r'''(?P<plain>[^\W\d][\w$#@]*)|\[(?P<brackets>(?:[^\]\0\r\n]|\]\])+)\]|"(?P<quotes>(?:[^"\0\r\n]|"")+)"'''
)
_MOST_PARTS = {"mssql": 4, "postgresql": 2}
_IN_THE_CATALOGUE = sa.text(
    "SELECT p.oid, p.prokind::text FROM pg_catalog.pg_proc p"
    " JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
    " WHERE p.proname = :name AND (n.nspname = :schema OR"
    " (CAST(:schema AS text) IS NULL AND pg_catalog.pg_function_is_visible(p.oid)))"
    " ORDER BY p.prokind = 'p' DESC, n.nspname LIMIT 1"
)


@dataclass(frozen=True)
class NamePart:
    """A part of a procedure's name, without its brackets or quotes; an empty part is the default schema, as in ``db..name``."""

    text: str
    quoted: bool = False


def parse_procedure(name: str) -> tuple[NamePart, ...]:
    """Split a procedure's name into parts, such as ``dbo.[Close Month]`` into ``dbo`` and ``Close Month``.

    Raises:
        ValueError: the text is not the name of a procedure.
    """
    parts: list[NamePart] = []
    at = 0
    while match := _PART.match(name, at):
        quoted = match.lastgroup != "plain"
        text = match[str(match.lastgroup)]
        if quoted:
            text = text.replace("]]", "]") if match["brackets"] else text.replace('""', '"')
        parts.append(NamePart(text, quoted))
        at = match.end()
        if at == len(name):
            return tuple(parts)
        if name[at] != ".":
            break
        at += 1
        if name.startswith(".", at):
            parts.append(NamePart(""))
            at += 1
    raise ValueError(f"not the name of a stored procedure: {name!r}")


def procedure_call(dialect: str, procedure: str, arguments: Mapping[str, Any]) -> str:
    """Return the statement that calls ``procedure``, with a placeholder for each argument.

    The name is split into parts, and each part is quoted by the rules of the database. So the name cannot inject SQL.

    Args:
        dialect: ``mssql`` or ``postgresql``.
        procedure: The name of the procedure; parts may be in brackets or quotes.
        arguments: The arguments by parameter name; only the names are used.

    Raises:
        ValueError: the name of the procedure or of a parameter is not valid, or the dialect has no procedures.
    """
    parts = parse_procedure(procedure)
    if wrong := [name for name in arguments if not name.isidentifier()]:
        raise ValueError(f"not the name of a parameter: {wrong[0]!r}")
    most = _MOST_PARTS.get(dialect)
    if most is None:
        raise ValueError(
            f"{dialect} has no stored procedures: set APP_DATABASE_URL to the database that holds {procedure}"
        )
    if len(parts) > most or (dialect == "postgresql" and not all(part.text for part in parts)):
        raise ValueError(_too_long(dialect, procedure))
    if dialect == "mssql":
        marks = ", ".join(f"@{name} = ?" for name in arguments)
        return f"EXEC {'.'.join(map(_in_brackets, parts))} {marks}".rstrip()
    marks = ", ".join(f"{_quoted(_folded(name))} => %s" for name in arguments)
    name = ".".join(_quoted(_known_as(part)) for part in parts)
    return f"CALL {name}({marks})"


def look_up(connection: sa.Connection, procedure: str) -> int | None:
    """Return the procedure's oid in PostgreSQL's catalogue. SQL Server itself reports a missing procedure by name: ``None``.

    Raises:
        ValueError: the procedure does not exist, or the name belongs to a function.
    """
    if connection.dialect.name != "postgresql":
        return None
    *schema, name = map(_known_as, parse_procedure(procedure))
    values = {"name": name, "schema": schema[0] if schema else None}
    row = connection.execute(_IN_THE_CATALOGUE, values).one_or_none()
    if row is None:
        raise ValueError(f"the database has no stored procedure {procedure} that this user sees")
    oid, kind = row
    if kind != "p":
        raise ValueError(f"{procedure} is a function: ask for it with SELECT, in Database.run")
    return int(oid)


def _too_long(dialect: str, procedure: str) -> str:
    if dialect == "postgresql":
        return f"PostgreSQL knows a procedure as schema.name, in the database of APP_DATABASE_URL: {procedure}"
    return f"not the name of a stored procedure, which has at most 4 parts: {procedure}"


def _in_brackets(part: NamePart) -> str:
    escaped = part.text.replace("]", "]]")
    return f"[{escaped}]" if part.quoted else part.text


def _quoted(name: str) -> str:
    """Quote a name for PostgreSQL; ``%`` is doubled for the driver, which reads ``%`` as a placeholder."""
    escaped = name.replace('"', '""').replace("%", "%%")
    return f'"{escaped}"'


def _known_as(part: NamePart) -> str:
    return part.text if part.quoted else _folded(part.text)


def _folded(name: str) -> str:
    """Fold an unquoted name as PostgreSQL does: change only ASCII letters to lower case."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def execute_to_the_end(
    connection: sa.Connection, statement: str, values: list[Any] | None = None
) -> ProcedureResult:
    """Execute a call or a batch and read every result set; SQL Server runs a procedure only as far as the client reads the results."""
    # Use a plain DBAPI cursor: SQL Server reports an error in a later statement only after all earlier results were read.
    cursor = connection.connection.cursor()
    note_cursor(connection, cursor)
    sets: list[list[dict[str, Any]]] = []
    affected = 0
    try:
        if values is None:  # a percent sign is no placeholder
            cursor.execute(statement)
        else:
            cursor.execute(statement, values)
        while True:
            if cursor.description:
                names = [column[0] for column in cursor.description]
                sets.append([dict(zip(names, row, strict=True)) for row in cursor.fetchall()])
            else:
                affected += max(cursor.rowcount, 0)
            if not hasattr(cursor, "nextset") or not cursor.nextset():
                return ProcedureResult(tuple(sets), affected)
    except Exception as error:
        if type(error).__name__ in _OF_THE_STATEMENT and hasattr(error, "ddbc_error"):
            _say_what_the_server_said(error, connection)
        raise
    finally:
        cursor.close()


_OF_THE_STATEMENT = {"ProgrammingError", "DataError", "IntegrityError"}
"""Classes of errors about a statement, not about the connection."""
_DRIVER = re.compile(r"\[Microsoft\](\[[^\]]*\])?")
"""The names of the driver and the server in front of the server's message."""


def _say_what_the_server_said(error: Any, connection: sa.Connection) -> None:
    """Reduce the text of an error of SQL Server to the server's message and number.

    The driver begins each text with the meaning of the SQLSTATE, which is "Syntax error or access violation" for every RAISERROR and THROW. The
    number is known only if the failed statement was the last one: procedures may go on after an error.
    """
    message = _DRIVER.sub("", error.ddbc_error, count=1).strip()
    number = 0
    with contextlib.suppress(Exception):  # the connection may be gone
        number = connection.exec_driver_sql("SELECT @@ERROR").scalar() or 0
    error.args = (f"{message} (error {number})" if number else message,)
