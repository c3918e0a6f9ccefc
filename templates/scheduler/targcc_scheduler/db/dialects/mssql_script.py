"""T-SQL scripts for the administrators of SQL Server: the tables, all or nothing, and roles with the rights that processes need.

Both run in SSMS and with ``sqlcmd -b -I``. Sources: SQL Server's documentation of ``SET QUOTED_IDENTIFIER`` (filtered indexes need the
option, which sqlcmd turns off without ``-I``), of ``XACT_ABORT`` and of ``NOEXEC``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

RUNTIME, MIGRATE, READER = "targcc_runtime", "targcc_migrate", "targcc_reader"
"""The roles: of ``serve``, ``worker`` and ``targcc``; of ``targcc migrate``; of reports."""
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
"""The rights of a process on each table."""
VERSION_TABLE = "c_AlembicVersion"
_READ = ("c_LoggedJob", "c_JobRun", "c_JobSchedule", "c_JobStat")
"""The tables for reports; none has a password, token or session."""

_OPTIONS = """\
-- Run the script in SSMS or with: sqlcmd -b -I -i FILE. After an error no table is changed.
SET ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, ARITHABORT, CONCAT_NULL_YIELDS_NULL, QUOTED_IDENTIFIER ON;
SET NUMERIC_ROUNDABORT OFF;
SET XACT_ABORT ON;
"""
_NOT_TWICE = f"""\
IF OBJECT_ID(N'{VERSION_TABLE}') IS NOT NULL
BEGIN
    RAISERROR(N'The scheduler''s tables exist. To upgrade them: targcc migrate --sql mssql --since REVISION', 16, 1);
    SET NOEXEC ON;
END;
"""
_BEGIN = "BEGIN TRANSACTION;"
_GO = "\n\nGO\n"
_GUARD = "\nGO\nIF @@TRANCOUNT = 0 SET NOEXEC ON; -- an error has rolled the transaction back\nGO\n"


def as_script(text: str) -> str:
    """Return Alembic's statements as a script whose error rolls back the whole script.

    ``XACT_ABORT`` rolls the transaction back at an error, but the tools go on with the next batch, outside of a transaction. Therefore
    each batch is followed by a check that turns the execution of the rest off.

    Args:
        text: Statements with ``GO`` between them, in a transaction.
    """
    head, begin, statements = text.partition(_BEGIN)
    body, commit, _ = statements.rpartition("COMMIT;")
    is_whole = f"CREATE TABLE {VERSION_TABLE}" in body
    guard = f"\nGO\n{_NOT_TWICE}" if is_whole else "\n"
    return f"{_OPTIONS}{guard}GO\n{head}{begin}\nGO{body.replace(_GO, _GUARD)}{commit}\nGO\nSET NOEXEC OFF;\nGO\n"


def roles_script(tables: Sequence[str]) -> str:
    """Return the script that creates the roles and grants their rights; repeated, it adds the rights on new tables.

    Args:
        tables: The scheduler's tables.
    """
    return "".join(f"{batch}\nGO\n" for batch in _batches(tables))


def bracketed(name: str) -> str:
    """Return a name in brackets, so that each of its characters is a part of the name."""
    return f"[{name.replace(']', ']]')}]"


def grant(right: str, table: str, grantee: str) -> str:
    """Return the statement that grants a right on a table."""
    return f"GRANT {right} ON {table} TO {bracketed(grantee)}"


def add_member(role: str, user: str) -> str:
    """Return the statement that adds a user to a role."""
    return f"ALTER ROLE {role} ADD MEMBER {bracketed(user)}"


def _batches(tables: Sequence[str]) -> Iterator[str]:
    for role, use in (
        (RUNTIME, "serve, worker, targcc; with TARGCC_MIGRATE_ON_START=false"),
        (MIGRATE, "targcc migrate, and processes that upgrade the tables at their start"),
        (READER, "reports on runs and history"),
    ):
        yield f"-- {use}: {add_member(role, 'user')};\nIF DATABASE_PRINCIPAL_ID(N'{role}') IS NULL CREATE ROLE {role};"
    yield (
        f"GRANT CREATE TABLE TO {MIGRATE};\n"
        f"GRANT ALTER, REFERENCES, {', '.join(RIGHTS)} ON SCHEMA::dbo TO {MIGRATE};"
    )
    for table in tables:
        rights = "SELECT" if table == VERSION_TABLE else ", ".join(RIGHTS)
        lines = [f"    GRANT {rights} ON {table} TO {RUNTIME};"]
        if table in _READ:
            lines.append(f"    GRANT SELECT ON {table} TO {READER};")
        yield "\n".join([f"IF OBJECT_ID(N'{table}') IS NOT NULL", "BEGIN", *lines, "END;"])
