"""Write `migrations/scheduler.<database>.sql` of the project template: all tables of the scheduler, as Alembic prints them.

uv run python tests/schema_scripts.py
"""

from __future__ import annotations

from pathlib import Path

from targcc_scheduler.db.migrations.upgrade import sql_script

FOLDER = Path(__file__).resolve().parents[1] / "templates/project/migrations"
DATABASES = ("sqlite", "postgresql")
HEAD = """\
-- Managed by targcc-gen: regenerate merges edits; `targcc-gen eject PATH` makes it yours
-- The scheduler's tables in an empty database, for review; `targcc migrate` creates the tables.
-- For a database with tables of an earlier release: targcc migrate --sql {database} --since REVISION

"""


def script(database: str) -> str:
    """Return the script for a database."""
    return HEAD.format(database=database) + sql_script(database)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for database in DATABASES:
        path = FOLDER / f"scheduler.{database}.sql"
        path.write_text(script(database), encoding="utf-8", newline="\n")
