"""Requirements of the scheduler to a database of SQL Server: version, options and rights; checked at each start and by ``targcc doctor``.

Sources: SQL Server's documentation of ``OPENJSON`` (compatibility level 130), ``STRING_AGG`` (SQL Server 2017),
``READ_COMMITTED_SNAPSHOT`` and ``HAS_PERMS_BY_NAME``. Azure SQL Database and Managed Instance report the version 12, and Microsoft keeps them current.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from ...core.errors import DatabaseUnfit, RightsMissing
from ..columns import metadata
from .mssql_script import MIGRATE, RIGHTS, RUNTIME, VERSION_TABLE, add_member, bracketed, grant

_OLDEST, _OLDEST_NAME = 14, "2017"
_LEAST_LEVEL, _ADVISED_LEVEL = 130, 150
_KEPT_CURRENT = frozenset({5, 8})
"""The engine editions of Azure SQL Database and Azure SQL Managed Instance."""
_FEW = 5

_DATABASE = sa.text("""
    SELECT DB_NAME() AS name, is_read_committed_snapshot_on AS snapshots, compatibility_level AS level,
        delayed_durability_desc AS durability, CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS version,
        CAST(SERVERPROPERTY('Edition') AS nvarchar(128)) AS edition, CAST(SERVERPROPERTY('EngineEdition') AS int) AS engine,
        CAST(SERVERPROPERTY('BabelfishVersion') AS nvarchar(128)) AS babelfish,
        CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(128)) AS updateability
    FROM sys.databases WHERE database_id = DB_ID()
    """)
_RIGHTS = sa.text(f"""
    SELECT CAST(listed.value AS nvarchar(128)) AS name, {", ".join(f"HAS_PERMS_BY_NAME(listed.value, 'OBJECT', '{right}') AS {right.lower()}_" for right in RIGHTS)}
    FROM OPENJSON(:names) AS listed WHERE OBJECT_ID(listed.value) IS NOT NULL
    """)  # noqa: S608 - constants of this package
_DDL = sa.text("""
    SELECT DB_NAME() AS name, USER_NAME() AS person, SCHEMA_NAME() AS owner,
        HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'CREATE TABLE') AS creates,
        HAS_PERMS_BY_NAME(SCHEMA_NAME(), 'SCHEMA', 'ALTER') AS alters
    """)


@dataclass(frozen=True, slots=True)
class Shortcoming:
    """Something that the server, the database or the user lacks.

    Args:
        message: What is missing.
        advice: The statement for the administrator, or another way out.
    """

    message: str
    advice: str

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}"


def require(connection: sa.Connection) -> None:
    """Check the server, the options of the database, and the rights on the tables.

    Raises:
        DatabaseUnfit: The server is too old, or an option of the database is off.
        RightsMissing: The user lacks rights on tables.
    """
    if unfit := unfit_options(connection):
        raise DatabaseUnfit("\n".join(map(str, unfit)))
    if missing := missing_rights(connection):
        shown = [str(item) for item in missing[:_FEW]]
        if len(missing) > _FEW:
            shown.append(f"and {len(missing) - _FEW} more")
        raise RightsMissing("\n".join(shown))


def require_ddl(connection: sa.Connection) -> None:
    """Check that the user may create and change tables.

    Raises:
        RightsMissing: The user may not.
    """
    if missing := list(missing_ddl(connection)):
        raise RightsMissing("\n".join(map(str, missing)))


def unfit_options(connection: sa.Connection) -> list[Shortcoming]:
    """Return the reasons why the scheduler does not work on this server and database."""
    row = connection.execute(_DATABASE).one()
    shortcomings = []
    if _is_old(row):
        message = f"SQL Server {row.version} is older than {_OLDEST_NAME} ({_OLDEST}.0), the oldest that the scheduler works on"
        shortcomings.append(Shortcoming(message, "upgrade the server, or use PostgreSQL"))
    if row.updateability == "READ_ONLY":
        message = f"the database {row.name} is read-only here, as on a secondary replica"
        advice = "connect to the primary replica: TARGCC_DATABASE_URL names the listener of the availability group"
        shortcomings.append(Shortcoming(message, advice))
    if not row.snapshots:
        message = f"the scheduler needs READ_COMMITTED_SNAPSHOT in the database {row.name}"
        option = "READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE"
        shortcomings.append(_option(message, row.name, option))
    if row.babelfish is None and row.level < _LEAST_LEVEL:
        message = f"the database {row.name} has the compatibility level {row.level}, and the scheduler needs {_LEAST_LEVEL} or higher"
        shortcomings.append(_option(message, row.name, f"COMPATIBILITY_LEVEL = {_ADVISED_LEVEL}"))
    return shortcomings


def durability(connection: sa.Connection) -> tuple[str, Shortcoming | None]:
    """Return the name of the server, and the option that may lose runs which the server has confirmed."""
    row = connection.execute(_DATABASE).one()
    name = f"SQL Server {row.version}, {row.edition}"
    if row.babelfish is not None:
        name = f"Babelfish for PostgreSQL {row.babelfish}"
    if row.durability != "FORCED":
        return name, None
    message = f"DELAYED_DURABILITY is FORCED in the database {row.name}: a crash of the server loses the last runs that it had confirmed"
    return name, _option(message, row.name, "DELAYED_DURABILITY = DISABLED")


def _is_old(row: sa.Row[tuple[object, ...]]) -> bool:
    if row.engine in _KEPT_CURRENT or row.babelfish is not None:
        return False
    return int(str(row.version).partition(".")[0]) < _OLDEST


def _option(message: str, database: str, option: str) -> Shortcoming:
    statement = f"ALTER DATABASE {bracketed(database)} SET {option}"
    advice = f"ask the administrator of the database to execute: {statement}"
    return Shortcoming(message, advice)


def missing_rights(
    connection: sa.Connection, tables: Collection[str] | None = None
) -> list[Shortcoming]:
    """Return the rights on existing tables that the user lacks; a user without any right on a table does not see the table.

    Args:
        connection: The database.
        tables: The scheduler's tables; default: those of this release.
    """
    names = [VERSION_TABLE, *sorted(map(str, metadata.tables) if tables is None else tables)]
    rows = connection.execute(_RIGHTS, {"names": json.dumps(names)}).all()
    if not rows:
        return list(_invisible(connection))
    person = str(connection.scalar(sa.text("SELECT USER_NAME()")))
    shortcomings = []
    for row in rows:
        needed = RIGHTS[:1] if row.name.casefold() == VERSION_TABLE.casefold() else RIGHTS
        missing = [right for right in needed if not getattr(row, f"{right.lower()}_")]
        if missing:
            rights = ", ".join(missing)
            advice = f"as the owner of the database: {grant(rights, row.name, person)}"
            shortcomings.append(
                Shortcoming(f"the user {person} lacks {rights} on {row.name}", advice)
            )
    return shortcomings


def _invisible(connection: sa.Connection) -> Iterator[Shortcoming]:
    """Yield the shortcoming of a user who sees no table and may create none."""
    row = connection.execute(_DDL).one()
    if row.creates and row.alters:
        return
    yield Shortcoming(
        f"the user {row.person} sees no table of the scheduler in the database {row.name}, and may not create tables",
        f"as the owner of the database: {add_member(RUNTIME, row.person)}, if the tables exist"
        f" (migrations/roles.mssql.sql makes the role); else {_ddl_grants(row)}",
    )


def missing_ddl(connection: sa.Connection) -> Iterator[Shortcoming]:
    """Yield the rights for changing tables that the user lacks."""
    row = connection.execute(_DDL).one()
    if not (row.creates and row.alters):
        yield Shortcoming(
            f"the user {row.person} may not create and change tables in the database {row.name}",
            f"as the owner of the database: {_ddl_grants(row)}, or {add_member(MIGRATE, row.person)}; or let the"
            " administrator run the script of targcc migrate --sql mssql, and set TARGCC_MIGRATE_ON_START=false",
        )


def _ddl_grants(row: sa.Row[tuple[object, ...]]) -> str:
    person, owner = bracketed(str(row.person)), bracketed(str(row.owner))
    return f"GRANT CREATE TABLE TO {person}; GRANT ALTER, REFERENCES, {', '.join(RIGHTS)} ON SCHEMA::{owner} TO {person}"
