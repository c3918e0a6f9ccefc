"""Bringing the scheduler's tables up to date, whoever else has tables in the same database.

The revision is kept in a table of our own, ``c_AlembicVersion``: ``alembic_version`` belongs to the application. Nothing here touches a
table whose name does not begin with ``c_``, with one exception: releases before 0.2 kept their revision in ``alembic_version``, and that
row is moved over.

Releases overlap while one is deployed, so a revision expands first and contracts later: it adds what may be empty, and says in a row of
``c_JobSetting`` (``oldest_code <revision>``) the oldest revision whose code works with its tables. Code that meets a newer revision works with
it if that row says so, and leaves the tables as they are; without the row it refuses. What a release no longer uses is removed by the one
after it.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ...core.errors import SchemaError
from ...core.states import WAITING, RunState
from ...core.stored_values import LARGE, REFERENCE
from ...core.version import __version__
from ..columns import metadata
from ..dialects import known
from ..dialects.base import WRITES
from ..dialects.known import version_table
from ..engines import SchemaStep, sync_engine
from ..tables import job_run, job_setting

DIRECTORY = Path(__file__).resolve().parent
"""Where the revisions are."""

DIALECTS = ("sqlite", "postgresql", "mssql")
"""The databases whose migrations can be printed as SQL."""

_ALEMBIC = threading.Lock()
"""Alembic keeps what it works on in globals: two threads of one process take turns."""

_TEXTS = "c_jobtext"
"""The index of texts, which is no table of SQLAlchemy's."""
_PARTITION = re.compile(r"c_loggedjob_(p?\d[\d_]*|default|other)", re.IGNORECASE)
"""Partitions that a DBA makes of the history, by hand or by pg_partman."""
_ENGINE_PREFIX = "procrastinate_"
"""How the names of the engine's tables begin; they are its own business."""

_TIES = "0014"
"""The revision that brought runs that wait for something, and files."""
_BEFORE_OWN_TABLE = ("0001",)
"""The revisions that releases before 0.2 may have left in ``alembic_version``."""


def upgrade(url: str | sa.URL, *, also: Sequence[SchemaStep] = ()) -> str:
    """Bring the tables up to date, and return the revision they have then.

    Safe when several processes start at once on an empty database: one does it, the others wait. A database that is current is only
    looked at; so is one that a newer release has made, if this release works with it.

    Args:
        url: The database.
        also: Further tables to bring up to date, in the same transaction.

    Raises:
        SchemaError: a newer release has changed the tables, and this one does not work with them.
    """
    head = head_revision()
    with sync_engine(url) as engine:
        with engine.connect() as connection:
            if _is_current(connection, head, also):
                return current_revision(connection) or head
        with _exclusive(engine) as connection:
            _carry_over(connection)
            if _is_newer(connection):  # another process was faster
                return current_revision(connection) or head
            _run_alembic(connection, "upgrade", "head")
            for step in also:
                if not step.is_current(connection):
                    step.install(connection)
        _analyze(engine)
    return head


def downgrade(url: str | sa.URL, revision: str) -> None:
    """Go back to an earlier revision; ``base`` removes every table of ours, with all that is in them.

    Raises:
        SchemaError: a newer release has changed the tables, or there is no way down to this revision.
    """
    with sync_engine(url) as engine, _exclusive(engine) as connection:
        _carry_over(connection)
        since = current_revision(connection)
        if _is_unknown(since):
            raise _newer(since)
        _refuse_upwards(since, revision)
        _refuse_to_strand(connection, revision)
        _run_alembic(connection, "downgrade", revision)
        if revision in _BEFORE_OWN_TABLE:
            _hand_back(connection, revision)


def require_current(url: str | sa.URL) -> str:
    """The revision of the tables, for a process that does not bring them up to date by itself; Alembic is not needed.

    Raises:
        SchemaError: they are newer or older than what this release works with, or there are none.
    """
    head = head_revision()
    with sync_engine(url) as engine, engine.connect() as connection:
        found = current_revision(connection)
        if found is not None and _is_newer(connection):
            return found
    if found != head:
        raise SchemaError(
            f"the scheduler's tables are {f'at revision {found}' if found else 'not there'}, and this release works with {head}: "
            "targcc migrate brings them there"
        )
    return head


def refuse_newer(connection: sa.Connection) -> None:
    """Raise when a newer release has changed the tables such that this one does not work with them.

    Raises:
        SchemaError: it has.
    """
    _is_newer(connection)


def works_with(connection: sa.Connection) -> bool:
    """Whether this release works with the tables as they are."""
    try:
        return _is_newer(connection) or current_revision(connection) == head_revision()
    except SchemaError:
        return False


def head_revision() -> str:
    """The revision that this release works with: that of the newest file in ``versions/``."""
    return known_revisions()[-1]


def known_revisions() -> list[str]:
    """The revisions of this release, oldest first. Their files are named by them."""
    return sorted(
        file.name.partition("_")[0] for file in (DIRECTORY / "versions").glob("[0-9]*.py")
    )


def current_revision(connection: sa.Connection) -> str | None:
    """The revision of the tables; ``None`` when there are none, or none that say."""
    name = version_table(connection.dialect.name)
    if not sa.inspect(connection).has_table(name):
        return None
    found: str | None = connection.scalar(sa.select(_version_rows(name).c.version_num))
    return found


def is_not_ours(name: str | None, kind: str, _parents: object = None) -> bool:
    """For ``include_name=`` in the ``env.py`` of an application's own Alembic: leave the scheduler's tables alone.

    Other tables that begin with ``c_``, as TARGCC's applications have them, are the application's.

    Args:
        name: What Alembic has found.
        kind: Its kind, such as ``table``.
    """
    return kind != "table" or not _is_ours(name or "")


def _is_ours(name: str) -> bool:
    known = {"c_alembicversion", _TEXTS, *(table.lower() for table in metadata.tables)}
    return (
        name.lower() in known
        or name.lower().startswith(f"{_TEXTS}_")  # the tables of FTS5 behind it
        or _PARTITION.fullmatch(name) is not None
        or name.startswith(_ENGINE_PREFIX)
    )


def _version_rows(table: str) -> sa.TableClause:
    return sa.table(table, sa.column("version_num", sa.String))


def _is_current(connection: sa.Connection, head: str, also: Sequence[SchemaStep]) -> bool:
    """Whether there is nothing to bring up to date; tables of a newer release belong to it, and so do the engine's then."""
    if _is_newer(connection):
        return True
    revision = current_revision(connection)
    return revision == head and all(step.is_current(connection) for step in also)


def _is_newer(connection: sa.Connection) -> bool:
    """Whether the tables are those of a newer release with which this one works.

    Raises:
        SchemaError: this one does not work with them.
    """
    revision = current_revision(connection)
    if not _is_unknown(revision):
        return False
    if _oldest_code(connection, revision) not in known_revisions():
        raise _newer(revision)
    return True


def _is_unknown(revision: str | None) -> bool:
    return revision is not None and revision not in known_revisions()


def _oldest_code(connection: sa.Connection, revision: str | None) -> str | None:
    """The oldest revision whose code works with the tables, if their own revision says so."""
    if not sa.inspect(connection).has_table(known.of(connection).folded("c_JobSetting")):
        return None
    row = sa.select(job_setting.c.Value).where(job_setting.c.Name == f"oldest_code {revision}")
    found: str | None = connection.scalar(row)
    return found


def _newer(revision: str | None) -> SchemaError:
    return SchemaError(
        f"the scheduler's tables are at revision {revision}, which a newer release has made; this one, {__version__}, "
        f"knows them up to {head_revision()}: start the newer release, or go back in it with: targcc migrate --down {head_revision()}"
    )


def _refuse_upwards(since: str | None, revision: str) -> None:
    known = ["base", *known_revisions()]
    if revision not in known:
        raise SchemaError(f"there is no revision {revision!r}: {', '.join(known)}")
    if revision == "base":
        return
    if since is None:
        raise SchemaError(f"there are no tables that could go back to {revision}")
    if known.index(revision) > known.index(since):
        raise SchemaError(f"the scheduler's tables are at revision {since}; {revision} is later")


def _refuse_to_strand(connection: sa.Connection, revision: str) -> None:
    """Raise when runs have yet to begin that code of an earlier revision could not run: it knows neither their state nor their files.

    Raises:
        SchemaError: there are such runs.
    """
    if revision == "base" or revision >= _TIES:
        return
    arguments = job_run.c.ArgumentsJson
    refers = sa.or_(*(arguments.contains(f'"{name}"') for name in (REFERENCE, LARGE)))
    awaits = job_run.c.State == RunState.AWAITING
    stranded = sa.or_(awaits, sa.and_(job_run.c.State.in_(WAITING), refers))
    count = connection.scalar(sa.select(sa.func.count()).select_from(job_run).where(stranded))
    if count:
        raise SchemaError(
            f"{count} {'run waits' if count == 1 else 'runs wait'} for other runs, a key or room under a limit, or {'has' if count == 1 else 'have'} files "
            f"as arguments, which code of revision {revision} does not know; let them end, or cancel those that wait: "
            "targcc bulk do cancel --state awaiting"
        )


def _carry_over(connection: sa.Connection) -> None:
    """Move the revision of a database that a release before 0.2 has made into our own table."""
    inspector = sa.inspect(connection)
    own = version_table(connection.dialect.name)
    run_table = known.of(connection).folded("c_JobRun")
    if inspector.has_table(own) or not inspector.has_table(run_table):
        return
    revision = _BEFORE_OWN_TABLE[0]
    if inspector.has_table("alembic_version"):
        theirs = _version_rows("alembic_version")
        shared = theirs.c.version_num
        taken = connection.scalar(sa.select(shared).where(shared.in_(_BEFORE_OWN_TABLE)))
        if taken is not None:
            revision = taken
            connection.execute(sa.delete(theirs).where(shared == taken))
    _run_alembic(connection, "stamp", revision)


def sql_script(dialect: str, since: str = "", revision: str = "head") -> str:
    """Return the migrations as SQL, as Alembic prints them without a database.

    Args:
        dialect: The database: one of :data:`DIALECTS`.
        since: The revision that the database has; empty for an empty database.
        revision: The revision to reach.
    """
    from alembic import command

    output = io.StringIO()
    config = _config(dialect, output, dialect=dialect)
    with _ALEMBIC:
        command.upgrade(config, f"{since}:{revision}" if since else revision, sql=True)
    return "".join(f"{line.rstrip()}\n" for line in output.getvalue().strip().splitlines())


def _hand_back(connection: sa.Connection, revision: str) -> None:
    """Leave the revision where releases before 0.2 look for it; the opposite of :func:`_carry_over`.

    A row that is there is an application's: it says more than ours, as revisions of its own came after the scheduler's there. It stays when
    the tables are brought up to date again, and so our table does.
    """
    shared = sa.Table("alembic_version", sa.MetaData(), *_shared_columns())
    shared.create(connection, checkfirst=True)
    if connection.scalar(sa.select(shared.c.version_num).limit(1)) is None:
        connection.execute(sa.insert(shared).values(version_num=revision))
        own = known.of(connection).folded(version_table(connection.dialect.name))
        sa.Table(own, sa.MetaData()).drop(connection)


def _shared_columns() -> list[sa.schema.SchemaItem]:
    """The columns of ``alembic_version``, as Alembic makes them."""
    version = sa.Column("version_num", sa.String(32), nullable=False)
    return [version, sa.PrimaryKeyConstraint(version, name="alembic_version_pkc")]


def _run_alembic(connection: sa.Connection, command: str, revision: str) -> None:
    from alembic import command as commands  # takes long to import

    config = _config(connection.dialect.name, connection=connection)
    run: Any = getattr(commands, command)
    with _ALEMBIC:
        run(config, revision)


def _config(database: str, output: io.StringIO | None = None, **attributes: Any) -> Any:
    from alembic.config import Config

    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(DIRECTORY).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes |= {"version_table": version_table(database), **attributes}
    return config


@contextlib.contextmanager
def _exclusive(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that only one process at a time can be in."""
    with engine.connect().execution_options(**WRITES) as connection, connection.begin():
        known.of(connection).lock_migrations(connection)
        yield connection


def _analyze(engine: sa.Engine) -> None:
    """Let the database plan for the new tables: a plan made for empty ones is kept far too long."""
    names = sorted(name for name in sa.inspect(engine).get_table_names() if _is_ours(name))
    known.of(engine).analyze(engine, names)
