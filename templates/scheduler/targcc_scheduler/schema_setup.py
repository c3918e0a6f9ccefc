"""Upgrade the tables of the scheduler and its engine before anything starts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from .core.database_url import STORES, url_of
from .core.extras import require_extra
from .db.engines import SchemaStep
from .db.migrations import upgrade as migrations
from .db.migrations.upgrade import require_current, upgrade
from .kernel.engine.factory import schema_steps
from .kernel.feature import OwnedTable, load
from .settings import Settings


def migrate(url: Any = None) -> str:
    """Upgrade the scheduler's tables and return their new revision.

    Args:
        url: The database: a URL, an SQLAlchemy engine, or a Django connection. Default: the database of the settings.

    Raises:
        SchemaError: a newer release has changed the tables.
        ExtraMissing: the database needs packages that are not installed.
    """
    if url is None:
        url = Settings().database_url
    address = url if isinstance(url, str | sa.URL) else url_of(url)
    if (extra := STORES.get(sa.make_url(address).get_backend_name())) is not None:
        require_extra(*extra)
    return upgrade(address, also=[*schema_steps(address), *_feature_steps()])


def prepare(settings: Settings) -> str:
    """Upgrade the tables, or only check the revision if ``migrate_on_start`` is off; return the revision.

    Raises:
        SchemaError: the tables or the database do not fit this release.
    """
    if not settings.migrate_on_start:
        return require_current(settings.database_url)
    return migrate(settings.database_url)


def is_not_ours(name: str | None, kind: str, _parents: object = None) -> bool:
    """Exclude the tables of the scheduler and its features from an application's own Alembic, as ``include_name=`` in the application's ``env.py``.

    Other tables that begin with ``c_``, as in TARGCC's applications, belong to the application.

    Args:
        name: The name that Alembic has found.
        kind: The kind of the object, such as ``table``.
    """
    of_features = {str(table.name).lower() for table in load(OwnedTable)} if kind == "table" else ()
    return migrations.is_not_ours(name, kind) and (name or "").lower() not in of_features


def feature_tables_sql(dialect: str) -> str:
    """Return the SQL that creates the tables of features in an empty database."""
    compiler = sa.create_mock_engine(f"{dialect}://", lambda *_: None).dialect
    statements: list[sa.ExecutableDDLElement] = []
    for table in load(OwnedTable):
        statements += [CreateTable(table), *map(CreateIndex, _sorted_indexes(table))]
    return "".join(
        f"{str(statement.compile(dialect=compiler)).strip()};\n\n" for statement in statements
    )


def roles_sql() -> str:
    """Return the T-SQL that creates database roles with the rights that processes need on SQL Server; repeatable."""
    from .db.columns import metadata
    from .db.dialects.mssql_script import VERSION_TABLE, roles_script

    tables = {*map(str, metadata.tables), *(str(table.name) for table in load(OwnedTable))}
    return roles_script([VERSION_TABLE, *sorted(tables)])


def _sorted_indexes(table: sa.Table) -> list[sa.Index]:
    """Return the indexes of a table, by name."""
    return sorted(table.indexes, key=lambda index: str(index.name))


def _feature_steps() -> list[SchemaStep]:
    """Return the steps that create and extend the tables of features."""
    return [_table_step(table) for table in load(OwnedTable)]


def _table_step(table: sa.Table) -> SchemaStep:
    def is_current(connection: sa.Connection) -> bool:
        return sa.inspect(connection).has_table(table.name) and not missing(connection)

    def missing(connection: sa.Connection) -> list[sa.Column[Any]]:
        columns = sa.inspect(connection).get_columns(table.name)
        present = {str(column["name"]).lower() for column in columns}
        return [column for column in table.columns if column.name.lower() not in present]

    def install(connection: sa.Connection) -> None:
        table.create(connection, checkfirst=True)
        name = connection.dialect.identifier_preparer.format_table(table)
        for column in missing(connection):
            definition = CreateColumn(column).compile(dialect=connection.dialect)
            connection.execute(sa.text(f"ALTER TABLE {name} ADD COLUMN {definition}"))

    return SchemaStep(is_current, install)
