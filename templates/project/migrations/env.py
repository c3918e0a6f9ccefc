# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""How Alembic reaches the database: by the connection it is given, else by `TARGCC_DATABASE_URL`; or no database, for SQL scripts."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import context


def _scheduler(module: str) -> Any:
    """A module of the scheduler, whatever the project's package is called."""
    root = Path(__file__).resolve().parent.parent
    found = next((root / "src").glob("*/scheduler/tables.py"), root / "scheduler/tables.py")
    return importlib.import_module(f"{found.parent.parent.name}.scheduler.{module}")


def _run_on(connection: sa.Connection) -> None:
    context.configure(
        connection=connection, transactional_ddl=True, transaction_per_migration=False
    )
    with context.begin_transaction():
        context.run_migrations()


def _run_by_url() -> None:
    url = _scheduler("settings").Settings().database_url
    with _scheduler("database").sync_engine(url) as engine, engine.begin() as connection:
        _run_on(connection)


def _print_script() -> None:
    dialect = context.get_x_argument(as_dictionary=True).get("dialect")
    given = context.config.attributes.get("dialect") or dialect or "sqlite"
    context.configure(dialect_name=given, literal_binds=True, dialect_opts={"paramstyle": "named"})
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    _print_script()
elif context.config.attributes.get("connection") is not None:
    _run_on(context.config.attributes["connection"])
else:
    _run_by_url()
