"""Check the schema: compare tables, columns, keys and indexes with this release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateIndex

from ...core.errors import SchemaError
from ...core.humanize import listed
from ...core.version import __version__
from ...db.columns import metadata
from ...db.dialects import known
from ...db.migrations.upgrade import current_revision, head_revision, known_revisions, refuse_newer
from .findings import Finding

# Check of the schema's revision.


def schema(connection: sa.Connection, *, migrates: bool) -> Finding:
    """Compare the revision of the tables with this release.

    Args:
        connection: The database.
        migrates: Whether a process migrates the tables on start.
    """
    revision, head = current_revision(connection), head_revision()
    if revision == head:
        return Finding("ok", "tables", f"the tables are at revision {head}")
    if revision is None or revision in known_revisions():
        state = f"at revision {revision}, older than" if revision else "not there yet, for"
        message = f"the tables are {state} this release, {__version__} ({head})"
        if migrates:
            advice = "the next process that starts brings them there, or: targcc migrate"
            return Finding("warn", "tables", message, advice)
        return Finding("fail", "tables", message, "bring them there: targcc migrate")
    try:
        refuse_newer(connection)
    except SchemaError as error:
        return Finding("fail", "tables", str(error))
    message = f"the tables are at revision {revision}, of a newer release; this one, {__version__}, works with them"
    return Finding("warn", "tables", message, "finish the deployment of the newer release")


# Check that every table, column, key and index of this release exists.

_PROCRASTINATE = ("procrastinate_jobs", "procrastinate_events", "procrastinate_workers", "procrastinate_periodic_defers")  # fmt: skip
"""Tables of Procrastinate 3, which the PostgreSQL engine needs."""
_RESTORE = (
    "restore a backup; migrations/scheduler.<database>.sql of the project has the whole schema"
)


async def catalogue(connection: AsyncConnection) -> list[Finding]:
    """Compare the database catalogue with the schema of this release, table by table."""
    findings = await connection.run_sync(lambda db: list(_differences(db)))
    return findings or [Finding("ok", "schema", "every table, column, key and index is there")]


def _differences(connection: sa.Connection) -> Iterator[Finding]:
    inspector = sa.inspect(connection)
    names = {name.casefold() for name in inspector.get_table_names()}
    tables = [table for table in metadata.sorted_tables if table.name.casefold() in names]
    missing = sorted({table.name for table in metadata.sorted_tables if table not in tables})
    dialect = known.of(connection)
    if dialect.has_queue:
        missing += [name for name in _PROCRASTINATE if name not in names]
    if missing:
        message = f"{_are('table', missing)} missing: {listed(missing, len(missing))}"
        yield Finding("fail", "schema", message, _RESTORE)
    indexes = {name.casefold() for name in connection.scalars(dialect.index_names)}
    for table in tables:
        own = str(table.name)
        name = own.casefold() if own not in inspector.get_table_names() else own
        yield from _columns(inspector, table, name)
        yield from _indexes(connection, table, indexes)


def _columns(inspector: sa.Inspector, table: sa.Table, name: str) -> Iterator[Finding]:
    columns = {column["name"].casefold() for column in inspector.get_columns(name)}
    if missing := [
        str(table_column.name)
        for table_column in table.columns
        if table_column.name.casefold() not in columns
    ]:
        message = (
            f"{_are('column', missing)} missing in {table.name}: {listed(missing, len(missing))}"
        )
        yield Finding("fail", "schema", message, _RESTORE)
    key = {column.casefold() for column in inspector.get_pk_constraint(name)["constrained_columns"]}
    if (
        not missing
        and not {table_column.name.casefold() for table_column in table.primary_key} <= key
    ):
        columns_of_key = ", ".join(str(table_column.name) for table_column in table.primary_key)
        message = f"the primary key of {table.name} ({columns_of_key}) is missing"
        advice = f"ALTER TABLE {table.name} ADD PRIMARY KEY ({columns_of_key})"
        yield Finding("fail", "schema", message, advice)


def _indexes(connection: sa.Connection, table: sa.Table, indexes: set[str]) -> Iterator[Finding]:
    wanted: Mapping[str, str] = {
        str(index.name): str(CreateIndex(index).compile(connection)).replace("\n", " ")
        for index in table.indexes
    }
    if known.of(connection).names_constraints:
        wanted = dict(wanted) | {
            str(
                constraint.name
            ): f"ALTER TABLE {table.name} ADD CONSTRAINT {constraint.name} UNIQUE ({', '.join(str(column.name) for column in constraint.columns)})"
            for constraint in table.constraints
            if isinstance(constraint, sa.UniqueConstraint) and constraint.name is not None
        }
    for name, statement in sorted(wanted.items()):
        if name.casefold() not in indexes:
            message = f"the index {name} of {table.name} is missing"
            yield Finding("fail", "schema", message, f"make it: {statement}")


def _are(what: str, names: list[str]) -> str:
    return f"a {what} is" if len(names) == 1 else f"{len(names)} {what}s are"
