"""Shared helpers of the migration tests: rows in every table, a release with one revision more, processes, an application with Alembic."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import alembic
import pytest
import sql_server
import sqlalchemy as sa
from processes import environment
from projects import PATH
from targcc_scheduler import metadata
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.dialects.base import WRITES
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.db.migrations import upgrade

BEFORE_OWN_TABLE = Path(__file__).resolve().parent.parent / "data" / "upgrade"
"""Tables as release 0.1 created them, one script per database."""

Rows = dict[str, list[dict[str, Any]]]

MOSTLY_POSTGRESQL = pytest.mark.parametrize(
    "url", ["postgresql", pytest.param("sqlite", marks=pytest.mark.soak)], indirect=True
)
"""For slow tests that differ little between databases: PostgreSQL always, SQLite only among the long tests."""


def make_0_1(url: str) -> Rows:
    """Create a database as release 0.1 left it, with a row in every table; return the rows."""
    dialect = sa.make_url(url).get_backend_name()
    script = (BEFORE_OWN_TABLE / f"tables-0.1.{dialect}.sql").read_text(encoding="utf-8")
    with sync_engine(url) as engine, engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        if dialect == "sqlite":
            driver.executescript(script)
        else:
            driver.execute(script)
            driver.commit()
    fill(url)
    return rows(url)


def ours(connection: sa.Connection) -> list[str]:
    """Return the scheduler's tables in a database, without the revision table."""
    known = {name.lower() for name in metadata.tables}
    return sorted(n for n in sa.inspect(connection).get_table_names() if n.lower() in known)


def fill(url: str) -> None:
    """Insert a row into every empty table of the scheduler."""
    with sync_engine(url) as engine, engine.connect() as connection:
        for table in _reflected(connection).tables.values():
            if connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0:
                row = {c.name: _value(c) for c in table.columns}
                connection.execute(table.insert().values(row))
        connection.commit()


def _value(column: sa.Column[Any]) -> object:
    kind = column.type
    if isinstance(kind, sa.DateTime):
        at = datetime(2026, 3, 29, 2, 30, 15, 123456, UTC)
        return at if kind.timezone else at.replace(tzinfo=None)
    if isinstance(kind, sa.LargeBinary):
        return b"\x00\xff"
    if isinstance(kind, sa.Boolean):
        return True
    if isinstance(kind, sa.Integer | sa.Numeric | sa.Float):
        return 7
    if "json" in column.name.lower():
        return "{}"
    return "é"[: getattr(kind, "length", None) or 99]


def rows(url: str) -> Rows:
    """Return all rows of the scheduler's tables by table name."""
    with sync_engine(url) as engine, engine.connect() as connection:
        return {
            name: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
            for name, table in _reflected(connection).tables.items()
        }


def _reflected(connection: sa.Connection) -> sa.MetaData:
    """Read the tables from the database."""
    if connection.dialect.name == "mssql":
        return sql_server.reflected(connection, ours(connection))
    read = sa.MetaData()
    read.reflect(connection, only=ours(connection))
    return read


def kept(before: Rows, after: Rows) -> bool:
    """Return whether all earlier values still exist; new tables and columns are allowed.

    Rows that the revisions write about themselves are ignored.
    """
    return all(
        [{name: row[name] for name in old[0]} for row in _told(after[table])] == _told(old)
        for table, old in before.items()
    )


def _told(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop the rows that record from which revision on code works with the tables."""
    own = ("oldest", "unindexed")
    return [row for row in found if not str(row.get("name", row.get("Name"))).startswith(own)]


def revisions(url: str, table: str = "c_AlembicVersion") -> list[str] | None:
    """Return the rows of a version table; ``None`` when the table does not exist."""
    with sync_engine(url) as engine, engine.connect() as connection:
        name = table.lower() if engine.dialect.name == "postgresql" else table
        if not sa.inspect(connection).has_table(name):
            return None
        return sorted(connection.scalars(sa.text(f"SELECT version_num FROM {table}")))


def execute(url: str, *statements: str) -> None:
    """Execute statements on a database."""
    with (
        sync_engine(url) as engine,
        engine.connect().execution_options(**WRITES) as connection,
        connection.begin(),
    ):
        for statement in statements:
            connection.exec_driver_sql(statement)


def tables(url: str) -> set[str]:
    """Return the names of all tables in lower case."""
    with sync_engine(url) as engine:
        return {name.lower() for name in sa.inspect(engine).get_table_names()}


@contextmanager
def statements() -> Iterator[list[str]]:
    """Yield a list of the statements that this process sends meanwhile."""
    sent: list[str] = []

    def note(*args: Any) -> None:
        sent.append(args[2])

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


_SQLITE_SCHEMA = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
_POSTGRESQL_SCHEMA = r"""
    SELECT table_name || '.' || column_name,
        concat_ws(' ', ordinal_position, data_type, character_maximum_length, is_nullable, column_default)
    FROM information_schema.columns WHERE table_name LIKE 'c\_%'
    UNION SELECT indexname, indexdef FROM pg_indexes WHERE tablename LIKE 'c\_%'
    UNION SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid::regclass::text LIKE 'c\_%'
    UNION SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'c\_%'
    UNION SELECT proname, prosrc FROM pg_proc WHERE proname LIKE 'c\_%'
    """


def schema(url: str) -> dict[str, str]:
    """Return the definitions of tables, columns, indexes, constraints and triggers by name, with normalised spacing."""
    with sync_engine(url) as engine, engine.connect() as connection:
        query = _SQLITE_SCHEMA if engine.dialect.name == "sqlite" else _POSTGRESQL_SCHEMA
        definitions = connection.execute(sa.text(query.replace(":", r"\:"))).all()
    return {name: re.sub(r"\s+", " ", text) for name, text in definitions}


NEXT = "9001"
_NEXT = """
import pytest
import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = {down!r}


def upgrade():
    op.create_table("c_JobNext", sa.Column("Id", sa.Integer, primary_key=True))
    op.execute("INSERT INTO c_JobRun (JobName, JobType, State, Queue, DueAt, CreatedAt, TriggeredBy)"
        " SELECT 'Next', JobType, 'succeeded', Queue, DueAt, CreatedAt, 'System' FROM c_JobRun WHERE Id = 7")


def downgrade():
    op.drop_table("c_JobNext")
"""


_EXPANDS = """
from alembic import op

revision = "9001"
down_revision = {down!r}


def upgrade():
    op.execute("ALTER TABLE c_JobRun ADD Colour VARCHAR(20)")
    op.execute(\"\"\"INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
        VALUES ('oldest_code 9001', {oldest!r}, CURRENT_TIMESTAMP)\"\"\")


def downgrade():
    op.execute("ALTER TABLE c_JobRun DROP COLUMN Colour")
"""


def next_release(folder: Path, oldest_code: str = "") -> Path:
    """Write the migrations of a release with one revision more.

    With ``oldest_code`` the revision adds a column and states which code works with it.
    """
    directory = folder / "migrations"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(upgrade.DIRECTORY, directory, ignore=ignore)
    text = _EXPANDS if oldest_code else _NEXT
    revision = text.format(down=upgrade.head_revision(), oldest=oldest_code)
    (directory / "versions" / f"{NEXT}_next.py").write_text(revision, encoding="utf-8")
    return directory


_CHILD = """
import pathlib, sys, time
import pytest
import sqlalchemy as sa
from targcc_scheduler import migrate
from targcc_scheduler.db.migrations import upgrade

url, directory, stop_at = sys.argv[1:]
upgrade.DIRECTORY = pathlib.Path(directory)
if stop_at:
    @sa.event.listens_for(sa.Engine, "after_cursor_execute")
    def stop(*args):
        if stop_at in args[2]:
            print("there", flush=True)
            time.sleep(600)
else:
    print("ready", flush=True)
    sys.stdin.readline()
print(migrate(url))
"""


class Migration:
    """Process that migrates a database: on request, or up to a statement.

    Args:
        url: The database.
        directory: The migrations of the release.
        stop_at: Part of the statement after which the process pauses.
    """

    def __init__(self, url: str, directory: Path | None = None, stop_at: str = "") -> None:
        words = [url, str(directory or upgrade.DIRECTORY), stop_at]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(PYTHONPATH=PATH),
        )

    def arrive(self) -> None:
        """Wait until the process is ready or has paused."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line in {"ready", "there"}, self.process.communicate()[1]

    def go(self) -> None:
        """Let the process begin."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self) -> tuple[str, str]:
        """Wait for the end; return the texts of standard output and standard error."""
        output, errors = self.process.communicate(timeout=120)
        return output.strip(), errors

    def kill(self) -> None:
        """Kill the process, like a power cut."""
        self.process.kill()
        self.process.communicate()


_INI = """[alembic]
script_location = %(here)s/migrations
path_separator = os
sqlalchemy.url = {url}
"""
_ENV = """
from alembic import context
from sqlalchemy import create_engine, pool

import models
{imports}

url = context.config.get_main_option("sqlalchemy.url")
engine = create_engine(url, poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=models.metadata{options})
    with context.begin_transaction():
        context.run_migrations()
"""
_MODELS = """
import pytest
import sqlalchemy as sa

metadata = sa.MetaData()
sa.Table("orders", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("what", sa.String(50)))
sa.Table("c_Customer", metadata, sa.Column("id", sa.Integer, primary_key=True))
"""
_FIRST = """
import pytest
import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True), sa.Column("what", sa.String(50)))
    op.create_table("c_Customer", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("INSERT INTO orders (what) VALUES ('tea')")


def downgrade():
    op.drop_table("c_Customer")
    op.drop_table("orders")
"""


class Application:
    """Application with its own tables and Alembic migrations; its revision is called ``0001`` too.

    Args:
        folder: The folder for its files.
        url: Its database.
        knows_us: Whether its ``env.py`` leaves the scheduler's tables alone.
    """

    def __init__(self, folder: Path, url: str, *, knows_us: bool = True) -> None:
        self._folder = folder
        self.url = url
        (folder / "migrations" / "versions").mkdir(parents=True)
        mako = Path(alembic.__file__).parent / "templates" / "generic" / "script.py.mako"
        shutil.copy(mako, folder / "migrations")
        driven = known.for_url(url).url(sa.make_url(url), is_async=False)
        text = driven.render_as_string(hide_password=False)
        ini = _INI.format(url=text.replace("%", "%%"))
        (folder / "alembic.ini").write_text(ini, encoding="utf-8")
        env = _ENV.format(
            imports="from targcc_scheduler import is_not_ours" if knows_us else "",
            options=", include_name=is_not_ours" if knows_us else "",
        )
        (folder / "migrations" / "env.py").write_text(env, encoding="utf-8")
        (folder / "models.py").write_text(_MODELS, encoding="utf-8")
        (folder / "migrations" / "versions" / "0001_first.py").write_text(_FIRST, encoding="utf-8")

    def migrate(self) -> None:
        """Run ``alembic upgrade head``."""
        self.alembic("upgrade", "head")

    def proposed(self) -> str:
        """Return the operations that ``alembic revision --autogenerate`` writes."""
        self.alembic("revision", "--autogenerate", "-m", "proposed")
        (file,) = (self._folder / "migrations" / "versions").glob("*_proposed.py")
        text = file.read_text(encoding="utf-8")
        file.unlink()
        return text.partition("def upgrade()")[2]

    def alembic(self, *words: str) -> str:
        """Run the command and return its output."""
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *words],
            cwd=self._folder,
            env=environment(PYTHONPATH=os.pathsep.join([PATH, str(self._folder)])),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def orders(self) -> list[str]:
        """Return the rows of the application's table."""
        with sync_engine(self.url) as engine, engine.connect() as connection:
            return list(connection.scalars(sa.text("SELECT what FROM orders")))
