"""Configure Alembic with the connection and the version table from `upgrade.py`; for SQL scripts, without a database.

Alembic loads this file by its path, so the file imports nothing of the package.
"""

from __future__ import annotations

from typing import Any

from alembic import context


def _run(**options: Any) -> None:
    context.configure(version_table=context.config.attributes["version_table"], **options)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    _run(
        dialect_name=context.config.attributes["dialect"],
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
    )
else:
    _run(
        connection=context.config.attributes["connection"],
        transactional_ddl=True,
        transaction_per_migration=False,
    )
