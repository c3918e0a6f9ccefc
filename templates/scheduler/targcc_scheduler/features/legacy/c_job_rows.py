"""Read and check rows of ``c_Job``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ...core.errors import LegacyError
from ...kernel.jobs.definition import JobDefinition

_NEEDED = {
    "jobname": "JobName",
    "cronexpression": "CronExpression",
    "storedprocname": "StoredProcName",
}
_COLUMNS = (*_NEEDED, "isactive")
_RECIPIENTS = "c_JobAlertRecipient"
_JOB_ID = ("c_jobid", "jobid")
_ADDRESS = ("overrideemailorphone", "email", "emailaddress", "recipientemail")
_EXEC = re.compile(r"\s*EXEC(?:UTE)?\s+", re.IGNORECASE)
_MORE_THAN_A_NAME = re.compile(r"[@='();,\"\[\]\r\n]")
_SPLIT = re.compile(r"[;,\s]+")
Record = Mapping[str, Any]


@dataclass(frozen=True)
class LegacyRow:
    """Columns of an active row that define the job; equal rows define the same job."""

    id: str
    name: str
    cron: str
    procedure: str
    emails: tuple[str, ...] | None
    """Recipients of failure alerts; ``None``: no alerts."""
    last_run: object = field(default=None, compare=False)


@dataclass(frozen=True)
class OldTable:
    """Content of an old table.

    Args:
        columns: Column names in lower case.
        records: Rows as mappings from these column names to values.
    """

    columns: tuple[str, ...]
    records: list[Record]


def read_table(connection: sa.Connection, table: str) -> OldTable:
    """Read all rows of the job table.

    Raises:
        LegacyError: the table or view does not exist.
    """
    table_clause = find_table(connection, table)
    if table_clause is None:
        raise LegacyError(f"there is no table or view {table}: TARGCC_LEGACY_TABLE names it")
    return _rows(connection, table_clause)


def check_columns(table: str, columns: Iterable[str]) -> None:
    """Check that a ``c_Job`` with cron texts has its required columns; names are in lower case.

    Raises:
        LegacyError: a column is missing.
    """
    known = set(columns)
    if missing := [column for column in _COLUMNS if column not in known]:
        raise LegacyError(f"{table} has no column {missing[0]}")


def find_table(connection: sa.Connection, table: str) -> sa.TableClause | None:
    """Find a table or view by name; ``None`` if there is no match.

    The comparison ignores case, since databases fold names differently.
    """
    *schemas, name = (part.strip('[]"') for part in table.split("."))
    schema = ".".join(schemas) or None
    inspector = sa.inspect(connection)
    names = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
    table_name = next((candidate for candidate in names if candidate.lower() == name.lower()), None)
    return None if table_name is None else sa.table(table_name, schema=schema)


def columns_of(connection: sa.Connection, table: sa.TableClause) -> list[sa.Column[Any]]:
    """Return the columns of a table with their types."""
    columns = sa.inspect(connection).get_columns(table.name, table.schema)
    types = {column["name"]: column["type"] for column in columns}  # Babelfish repeats columns
    return [sa.Column(name, column_type) for name, column_type in types.items()]


def table_beside(connection: sa.Connection, table: str, name: str) -> list[Record]:
    """Return the rows of table ``name`` in the schema of ``table``; column names are in lower case.

    Returns an empty list if the table does not exist.
    """
    schema, dot, _ = table.rpartition(".")
    table_clause = find_table(connection, f"{schema}{dot}{name}")
    return [] if table_clause is None else _rows(connection, table_clause).records


def _rows(connection: sa.Connection, table: sa.TableClause) -> OldTable:
    result = connection.execute(sa.select(sa.text("*")).select_from(table))
    columns = tuple(column.lower() for column in result.keys())  # noqa: SIM118 - no mapping
    return OldTable(columns, [dict(zip(columns, row, strict=True)) for row in result])


def recipients_of(connection: sa.Connection, table: str) -> dict[str, list[str]]:
    """Map each job's id to its addresses in ``c_JobAlertRecipient``, which is in the schema of ``table``.

    Returns an empty mapping if the database has no ``c_JobAlertRecipient``.
    """
    people: dict[str, list[str]] = {}
    for record in table_beside(connection, table, _RECIPIENTS):
        job_id = next((record[column] for column in _JOB_ID if record.get(column)), None)
        texts = [str(record[column]) for column in _ADDRESS if record.get(column)]
        if texts and record.get("deletedon") is None:
            people.setdefault(str(job_id), []).extend(addresses_in(texts[0]))
    return people


def addresses_in(text: str) -> list[str]:
    """Return the mail addresses in a text."""
    return [word for word in _SPLIT.split(text) if "@" in word]


def row_of(record: Record, people: Mapping[str, list[str]]) -> LegacyRow:
    """Check a row of ``c_Job`` and return its columns.

    Raises:
        LegacyError: the name, the cron text or the procedure is empty.
    """
    for column, name in _NEEDED.items():
        if not str(record[column] or "").strip():
            raise LegacyError(f"it has no {name}")
    job_id = str(record.get("id") or "?")
    wanted = is_yes(record.get("emailonfailure"))
    return LegacyRow(
        id=job_id,
        name=name_of(record),
        cron=str(record["cronexpression"]).strip(),
        procedure=str(record["storedprocname"]),
        emails=tuple(people.get(job_id, ())) if wanted else None,
        last_run=record.get("lastrun"),
    )


def procedure_of(text: str) -> str:
    """Return the procedure name in ``StoredProcName`` without ``EXEC``; put brackets around parts with blanks or dashes."""
    name = _EXEC.sub("", text, count=1).strip("; \t\r\n")
    if _MORE_THAN_A_NAME.search(name):
        return name
    return ".".join(part if part.isidentifier() else f"[{part}]" for part in name.split("."))


def name_of(record: Record) -> str:
    """Return the job name of a row; replace each sequence of white space by one blank."""
    return " ".join(str(record["jobname"] or "").split())


def is_yes(value: object) -> bool:
    """Return whether a bit is set; accepts bytes, numbers, booleans and texts, since drivers differ."""
    if isinstance(value, bytes):
        return any(value)
    return str(value).strip().lower() in {"1", "true", "t", "yes", "y"}


def take(definitions: dict[str, JobDefinition], definition: JobDefinition) -> None:
    """Add a definition.

    Raises:
        LegacyError: another definition has the same name, ignoring case.
    """
    if any(name.casefold() == definition.name.casefold() for name in definitions):
        raise LegacyError(f"another active row is called {definition.name!r}: rename one")
    definitions[definition.name] = definition


def place_of(row: str, name: str) -> str:
    """Return the text that names a row in messages."""
    return f'c_Job row {row} "{name}"'
