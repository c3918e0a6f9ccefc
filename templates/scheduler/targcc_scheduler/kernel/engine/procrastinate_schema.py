"""Create and migrate Procrastinate's own tables."""

from __future__ import annotations

from importlib import metadata, resources

import sqlalchemy as sa

_COMMENT = "procrastinate "
"""Comment prefix of Procrastinate's main table; the version follows."""


def is_current(connection: sa.Connection) -> bool:
    """Return whether Procrastinate's tables exist in the version of the installed library."""
    return _table_version(connection) == metadata.version("procrastinate")


def install(connection: sa.Connection) -> None:
    """Create Procrastinate's tables, or migrate the tables to the version of the installed library.

    Procrastinate stores no version in the database, so the comment of its main table stores the version. Procrastinate's migrations are
    files named by version. Part of ``connection``'s transaction, which holds the migration lock.
    """
    installed = metadata.version("procrastinate")
    since = _table_version(connection)
    if since is None:
        _run_script(connection, "schema.sql")
    else:
        folder = resources.files("procrastinate.sql") / "migrations"
        for name in sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql")):
            if _parts(since) < _parts(name.partition("_")[0]) <= _parts(installed):
                _run_script(connection, f"migrations/{name}")
    comment = sa.text(f"COMMENT ON TABLE procrastinate_jobs IS '{_COMMENT}{installed}'")
    connection.execute(comment)


def _table_version(connection: sa.Connection) -> str | None:
    """Return the version of the tables; ``None``: no tables. Tables without a version comment count as the installed version."""
    inspector = sa.inspect(connection)
    if not inspector.has_table("procrastinate_jobs"):
        return None
    comment = inspector.get_table_comment("procrastinate_jobs")["text"] or ""
    return comment.removeprefix(_COMMENT) or metadata.version("procrastinate")


def _run_script(connection: sa.Connection, name: str) -> None:
    script = (resources.files("procrastinate.sql") / name).read_text(encoding="utf-8")
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(
        script
    )  # several statements: without parameters, psycopg sends the script unchanged


def _parts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
