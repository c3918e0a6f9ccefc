"""Upgrade the scheduler's tables, independently of other tables in the same database.

The revision is stored in the scheduler's own table ``c_AlembicVersion``: ``alembic_version`` belongs to the application. This module
changes only tables whose names begin with ``c_``, with a single exception: releases before 0.2 stored their revision in
``alembic_version``, and that row is moved.

Releases overlap during a deployment, so a revision expands first and contracts later. A revision adds only what may be empty, and stores in
a row of ``c_JobSetting`` (``oldest_code <revision>``) the oldest revision whose code works with its tables. Code that meets a newer
revision checks that row: if the row allows it, the code works with the tables and leaves them unchanged; without the row the code refuses.
Columns and tables that a release no longer uses are removed by the next release.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ...core.errors import SchemaError
from ...core.library_logs import quiet
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
"""The folder of this module; the revisions are in its ``versions``."""

log = logging.getLogger("targcc.db.migrations.upgrade")

_ALEMBIC = threading.Lock()
"""Serialises Alembic calls of this process's threads, because Alembic keeps its context in globals."""

_TEXTS = "c_jobtext"
"""The text index, which is not a table of SQLAlchemy's metadata."""
_PARTITION = re.compile(r"c_loggedjob_(p?\d[\d_]*|default|other)", re.IGNORECASE)
"""Partitions of the history, created by a DBA, by hand or by pg_partman."""
_ENGINE_PREFIX = "procrastinate_"
"""The prefix of the engine's tables, which the engine manages itself."""

_RELEASE_0_1 = "0001"
"""The revision of release 0.1, which stored it in ``alembic_version``."""
_JOINED = frozenset(f"{number:04}" for number in range(2, 15))
"""Revisions of builds between the releases 0.1 and 0.2; revision 0015 replaced them."""
_LAST_BUILD = "437853d4"
"""A commit of targcc-gen whose build knows the joined revisions."""


def upgrade(url: str | sa.URL, *, also: Sequence[SchemaStep] = ()) -> str:
    """Upgrade the tables and return their revision.

    Safe when several processes start at once on an empty database: one process upgrades, the other processes wait. A current database is only
    read; so is a database upgraded by a newer release, if this release works with it.

    Args:
        url: The database.
        also: Further tables to upgrade in the same transaction.

    Raises:
        SchemaError: This release does not work with the tables: a newer release or an unreleased build has changed them.
    """
    head = head_revision()
    with sync_engine(url) as engine:
        with engine.connect() as connection:
            known.of(connection).require(connection)
            if _is_current(connection, head, also):
                return current_revision(connection) or head
            known.of(connection).require_ddl(connection)
        with _exclusive(engine) as connection:
            _carry_over(connection)
            if _is_newer(connection):  # another process upgraded first
                return current_revision(connection) or head
            before = current_revision(connection)
            _run_alembic(connection, "upgrade", "head")
            for step in also:
                if not step.is_current(connection):
                    step.install(connection)
        _analyze(engine)
    if before is None:
        log.info("created the scheduler's tables, at revision %s", head)
    elif before != head:
        log.info("upgraded the scheduler's tables from revision %s to %s", before, head)
    return head


def downgrade(url: str | sa.URL, revision: str) -> None:
    """Downgrade the tables to an earlier revision; ``base`` drops every table of the scheduler with its data.

    Raises:
        SchemaError: This release does not know the revision of the tables, the target is unknown or later, or waiting runs need the
            current revision.
    """
    with sync_engine(url) as engine, _exclusive(engine) as connection:
        _carry_over(connection)
        since = current_revision(connection)
        if _is_unknown(since):
            raise _refusal(since)
        _refuse_upwards(since, revision)
        _refuse_to_strand(connection, revision)
        _run_alembic(connection, "downgrade", revision)
        if revision == _RELEASE_0_1:
            _hand_back(connection)


def require_current(url: str | sa.URL) -> str:
    """Return the revision of the tables, for a process that does not upgrade them; Alembic is not needed.

    Raises:
        SchemaError: The tables are missing, or this release does not work with their revision.
    """
    head = head_revision()
    with sync_engine(url) as engine, engine.connect() as connection:
        known.of(connection).require(connection)
        revision = current_revision(connection)
        if revision is not None and _is_newer(connection):
            return revision
    if revision != head:
        raise SchemaError(
            f"the scheduler's tables are {f'at revision {revision}' if revision else 'not there'}, and this release works with {head}: "
            "targcc migrate brings them there"
        )
    return head


def refuse_newer(connection: sa.Connection) -> None:
    """Raise when a newer release or an unreleased build has changed the tables and this release does not work with them.

    Raises:
        SchemaError: This release does not work with the tables.
    """
    _is_newer(connection)


def works_with(connection: sa.Connection) -> bool:
    """Return whether this release works with the current tables."""
    try:
        return _is_newer(connection) or current_revision(connection) == head_revision()
    except SchemaError:
        return False


def head_revision() -> str:
    """Return the newest revision of this release: that of the newest file in ``versions/``."""
    return known_revisions()[-1]


def known_revisions() -> list[str]:
    """Return the revisions of this release, oldest first, from the names of their files."""
    return sorted(
        file.name.partition("_")[0] for file in (DIRECTORY / "versions").glob("[0-9]*.py")
    )


def current_revision(connection: sa.Connection) -> str | None:
    """Return the revision of the tables; ``None`` when no revision is stored."""
    name = version_table(connection.dialect.name)
    if not sa.inspect(connection).has_table(name):
        return None
    revision: str | None = connection.scalar(sa.select(_version_rows(name).c.version_num))
    return revision


def is_not_ours(name: str | None, kind: str, _parents: object = None) -> bool:
    """Exclude the scheduler's tables from an application's own Alembic, as ``include_name=`` in the application's ``env.py``.

    Other tables that begin with ``c_``, as in TARGCC's applications, belong to the application.

    Args:
        name: The name that Alembic has found.
        kind: The kind of the object, such as ``table``.
    """
    return kind != "table" or not _is_ours(name or "")


def _is_ours(name: str) -> bool:
    known = {"c_alembicversion", _TEXTS, *(table.lower() for table in metadata.tables)}
    return (
        name.lower() in known
        or name.lower().startswith(f"{_TEXTS}_")  # the shadow tables of FTS5
        or _PARTITION.fullmatch(name) is not None
        or name.startswith(_ENGINE_PREFIX)
    )


def _version_rows(table: str) -> sa.TableClause:
    return sa.table(table, sa.column("version_num", sa.String))


def _is_current(connection: sa.Connection, head: str, also: Sequence[SchemaStep]) -> bool:
    """Return whether no upgrade is needed. The tables of a newer release belong to that release, and so do the engine's tables then."""
    if _is_newer(connection):
        return True
    revision = current_revision(connection)
    return revision == head and all(step.is_current(connection) for step in also)


def _is_newer(connection: sa.Connection) -> bool:
    """Return whether the tables belong to a newer release, with which this release works.

    Raises:
        SchemaError: This release does not work with the tables.
    """
    revision = current_revision(connection)
    if not _is_unknown(revision):
        return False
    if _oldest_code(connection, revision) not in known_revisions():
        raise _refusal(revision)
    return True


def _is_unknown(revision: str | None) -> bool:
    return revision is not None and revision not in known_revisions()


def _oldest_code(connection: sa.Connection, revision: str | None) -> str | None:
    """Return the oldest revision whose code works with the tables; ``None`` when the tables do not say."""
    if not sa.inspect(connection).has_table(known.of(connection).folded("c_JobSetting")):
        return None
    row = sa.select(job_setting.c.Value).where(job_setting.c.Name == f"oldest_code {revision}")
    oldest_revision: str | None = connection.scalar(row)
    return oldest_revision


def _refusal(revision: str | None) -> SchemaError:
    """Return the error for tables whose revision is unknown to this release."""
    if revision in _JOINED:
        return SchemaError(
            f"the scheduler's tables are at revision {revision}, which only builds between the releases 0.1 and 0.2 have; this release, "
            f"{__version__}, works with {' and '.join(known_revisions())}: first run targcc migrate of the last such build (targcc-gen at "
            f"commit {_LAST_BUILD}), then targcc migrate of this release"
        )
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
    """Raise when waiting runs use states or files that release 0.1 does not know.

    Raises:
        SchemaError: Such runs exist.
    """
    if revision != _RELEASE_0_1:
        return
    arguments = job_run.c.ArgumentsJson
    refers = sa.or_(*(arguments.contains(f'"{name}"') for name in (REFERENCE, LARGE)))
    awaits = job_run.c.State == RunState.AWAITING
    stranded = sa.or_(awaits, sa.and_(job_run.c.State.in_(WAITING), refers))
    count = connection.scalar(sa.select(sa.func.count()).select_from(job_run).where(stranded))
    if count:
        raise SchemaError(
            f"{count} {'run waits' if count == 1 else 'runs wait'} for other runs, a key or room under a limit, or {'has' if count == 1 else 'have'} files "
            "as arguments, which release 0.1 does not know; let them end, or cancel those that wait: "
            "targcc bulk do cancel --state awaiting"
        )


def _carry_over(connection: sa.Connection) -> None:
    """Move the revision that a release before 0.2 stored into the scheduler's own table."""
    inspector = sa.inspect(connection)
    own = version_table(connection.dialect.name)
    run_table = known.of(connection).folded("c_JobRun")
    if inspector.has_table(own) or not inspector.has_table(run_table):
        return
    if inspector.has_table("alembic_version"):
        shared = _version_rows("alembic_version")
        connection.execute(sa.delete(shared).where(shared.c.version_num == _RELEASE_0_1))
    _run_alembic(connection, "stamp", _RELEASE_0_1)


def sql_script(dialect: str, since: str = "", revision: str = "head") -> str:
    """Return the migrations as SQL, as Alembic prints them without a database.

    Args:
        dialect: The database, from :data:`~..dialects.known.SCRIPTS`.
        since: The revision of the database; empty for an empty database.
        revision: The target revision.
    """
    from alembic import command

    output = io.StringIO()
    config = _config(dialect, output, dialect=dialect)
    with _ALEMBIC:
        command.upgrade(config, f"{since}:{revision}" if since else revision, sql=True)
    text = "".join(f"{line.rstrip()}\n" for line in output.getvalue().strip().splitlines())
    return known.as_script(dialect, text)


def _hand_back(connection: sa.Connection) -> None:
    """Store the revision where release 0.1 looks for it; the opposite of :func:`_carry_over`.

    An existing row belongs to the application and takes precedence, because the application's own revisions followed the scheduler's there.
    In that case the row and the scheduler's own version table both stay, also at the next upgrade.
    """
    shared = sa.Table("alembic_version", sa.MetaData(), *_shared_columns())
    shared.create(connection, checkfirst=True)
    if connection.scalar(sa.select(shared.c.version_num).limit(1)) is None:
        connection.execute(sa.insert(shared).values(version_num=_RELEASE_0_1))
        own = known.of(connection).folded(version_table(connection.dialect.name))
        sa.Table(own, sa.MetaData()).drop(connection)


def _shared_columns() -> list[sa.schema.SchemaItem]:
    """Return the columns of ``alembic_version``, as Alembic creates them."""
    version = sa.Column("version_num", sa.String(32), nullable=False)
    return [version, sa.PrimaryKeyConstraint(version, name="alembic_version_pkc")]


def _run_alembic(connection: sa.Connection, command: str, revision: str) -> None:
    with _ALEMBIC, quiet("alembic.runtime"):
        from alembic import command as commands  # a slow import, which logs

        config = _config(connection.dialect.name, connection=connection)
        run: Any = getattr(commands, command)
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
    """Provide a transaction that a single process at a time can enter."""
    with engine.connect().execution_options(**WRITES) as connection, connection.begin():
        known.of(connection).lock_migrations(connection)
        yield connection


def _analyze(engine: sa.Engine) -> None:
    """Update the planner's statistics; the database keeps a plan made for empty tables far too long."""
    names = sorted(name for name in sa.inspect(engine).get_table_names() if _is_ours(name))
    known.of(engine).analyze(engine, names)
