"""Write the SQL of the project template: `migrations/scheduler.<database>.sql` as Alembic prints all tables, and the roles of SQL Server.

uv run python tests/schema_scripts.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from targcc_scheduler.db.columns import metadata
from targcc_scheduler.db.dialects.mssql_script import VERSION_TABLE, roles_script
from targcc_scheduler.db.migrations.upgrade import sql_script

FOLDER = Path(__file__).resolve().parents[1] / "templates/project/migrations"
DATABASES = ("sqlite", "postgresql", "mssql")
_MANAGED = (
    "-- Managed by targcc-gen: regenerate merges edits; `targcc-gen eject PATH` makes it yours\n"
)
HEAD = f"""\
{_MANAGED}-- The scheduler's tables in an empty database, for review; `targcc migrate` creates the tables.
-- For a database with tables of an earlier release: targcc migrate --sql {{database}} --since REVISION

"""
ROLES = "roles.mssql.sql"
ROLES_HEAD = f"""\
{_MANAGED}-- For the DBA: roles with the rights that processes need, and no more. Run the script in the scheduler's database, after the tables
-- exist and after each upgrade; repeated, it adds the rights on new tables. `targcc migrate --sql mssql --roles` prints it, too, with
-- the tables of features that the project adds.

"""


def script(database: str) -> str:
    """Return the script for a database."""
    return HEAD.format(database=database) + sql_script(database)


def roles() -> str:
    """Return the script of the roles on SQL Server."""
    return ROLES_HEAD + roles_script([VERSION_TABLE, *sorted(map(str, metadata.tables))])


def scripts() -> Iterator[tuple[str, str]]:
    """Yield name and text of each script."""
    for database in DATABASES:
        yield f"scheduler.{database}.sql", script(database)
    yield ROLES, roles()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in scripts():
        (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")
