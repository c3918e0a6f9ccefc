"""Calls of stored procedures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa


@dataclass(frozen=True)
class ProcedureResult:
    """The results of a stored procedure.

    Args:
        sets: Every result set, in order; a set is a list of rows, a row a mapping by column name.
        affected: How many rows its statements changed, as far as the database says so.
    """

    sets: tuple[list[dict[str, Any]], ...]
    affected: int

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The first result set; empty when there is none."""
        return self.sets[0] if self.sets else []


_PART = r'(?:[^\W\d][\w$#@]*|\[(?:[^\]]|\]\])+\]|"(?:[^"]|"")+")'
_PROCEDURE = re.compile(rf"{_PART}(?:\.\.?{_PART})*")
_BRACKETED = re.compile(r"\[((?:[^\]]|\]\])+)\]")


def procedure_call(dialect: str, procedure: str, arguments: Mapping[str, Any]) -> str:
    """The statement that calls ``procedure``, with a mark for each argument.

    Args:
        dialect: ``mssql`` or ``postgresql``.
        procedure: Its name; parts may stand in brackets or quotes.
        arguments: Its parameters; only the names are used.

    Raises:
        ValueError: the name is not one, or the dialect knows no procedures.
    """
    if not _PROCEDURE.fullmatch(procedure):
        raise ValueError(f"not the name of a stored procedure: {procedure!r}")
    if wrong := [name for name in arguments if not name.isidentifier()]:
        raise ValueError(f"not the name of a parameter: {wrong[0]!r}")
    if dialect == "mssql":
        marks = ", ".join(f"@{name} = ?" for name in arguments)
        return f"EXEC {procedure} {marks}".rstrip()
    if dialect == "postgresql":
        marks = ", ".join(f"{name} => %s" for name in arguments)
        quoted = _BRACKETED.sub(_quoted, procedure).replace("%", "%%")
        return f"CALL {quoted}({marks})"
    raise ValueError(
        f"{dialect} has no stored procedures: set APP_DATABASE_URL to the database that holds {procedure}"
    )


def _quoted(bracketed: re.Match[str]) -> str:
    name = bracketed[1].replace("]]", "]").replace('"', '""')
    return f'"{name}"'


def execute_to_the_end(
    connection: sa.Connection, statement: str, values: list[Any]
) -> ProcedureResult:
    """Execute a call and read every result set: SQL Server runs a procedure only as far as its results are read."""
    # A plain DBAPI cursor: SQL Server reports an error in a later statement only after every result before it was read.
    cursor = connection.connection.cursor()
    sets: list[list[dict[str, Any]]] = []
    affected = 0
    try:
        cursor.execute(statement, values)
        while True:
            if cursor.description:
                names = [column[0] for column in cursor.description]
                sets.append([dict(zip(names, row, strict=True)) for row in cursor.fetchall()])
            else:
                affected += max(cursor.rowcount, 0)
            if not cursor.nextset():
                return ProcedureResult(tuple(sets), affected)
    finally:
        cursor.close()
