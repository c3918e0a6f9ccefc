"""Tell whether a login may run a stored procedure, without running the procedure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .procedures import look_up, parse_procedure, procedure_call

_LINKED = 4
"""Parts of the name of a procedure on another server."""
_SQL_SERVER = sa.text(
    "SELECT SUSER_SNAME() AS login_name, DB_NAME() AS database_name,"
    " HAS_PERMS_BY_NAME(:name, 'OBJECT', 'EXECUTE') AS may, OBJECT_ID(:name) AS object_id,"
    " SERVERPROPERTY('BabelfishVersion') AS babelfish"
)
_DESCRIBED = sa.text(
    "SELECT error_type_desc, error_message FROM sys.dm_exec_describe_first_result_set(:call, NULL, 0)"
    " WHERE error_number IS NOT NULL"
)
"""The function behind ``sp_describe_first_result_set``: its errors are rows here. Babelfish has no such function."""
_ONLY_WHEN_IT_RUNS = {
    "CONFLICTING_RESULTS",
    "DYNAMIC_SQL",
    "CLR_PROCEDURE",
    "EXTENDED_PROCEDURE",
    "RECURSION",
    "TEMPORARY_TABLE",
    "UNSUPPORTED_STATEMENT",
}
"""Kinds of errors about the columns of the result, not about the right to run the procedure."""
_POSTGRESQL = sa.text(
    "SELECT current_user, current_database(),"
    " has_schema_privilege(pronamespace, 'USAGE') AND has_function_privilege(oid, 'EXECUTE')"
    " FROM pg_catalog.pg_proc WHERE oid = :oid"
)


@dataclass(frozen=True, slots=True)
class ProcedureRight:
    """The answer about a procedure.

    Args:
        procedure: The procedure's name.
        may: Whether the login may run it; ``None`` if only the run tells.
        said: The login and the database, or the reason.
    """

    procedure: str
    may: bool | None
    said: str


def procedure_right(connection: sa.Connection, procedure: str) -> ProcedureRight:
    """Return whether the connection's login may run a procedure. Nothing is executed."""
    try:
        call = procedure_call(connection.dialect.name, procedure, {})
        oid = look_up(connection, procedure)
    except ValueError as error:
        return ProcedureRight(procedure, may=False, said=str(error))
    if oid is not None:
        login, database, may = connection.execute(_POSTGRESQL, {"oid": oid}).one()
        return _answer(procedure, login, database, may=bool(may))
    if len(parse_procedure(procedure)) == _LINKED:
        return ProcedureRight(procedure, may=None, said="it is on a linked server")
    return _of_sql_server(connection, procedure, call)


def _of_sql_server(connection: sa.Connection, procedure: str, call: str) -> ProcedureRight:
    name = call.removeprefix("EXEC ")
    row = connection.execute(_SQL_SERVER, {"name": name}).one()
    login, database = row.login_name, row.database_name
    if row.may is None and row.object_id is None:
        return ProcedureRight(
            procedure, may=False, said=f"no such procedure that {login} sees in {database}"
        )
    if not row.may:
        return _answer(procedure, login, database, may=False)
    if row.babelfish is not None:
        return _answer(procedure, login, database, may=True)
    for error in connection.execute(_DESCRIBED, {"call": call}):
        if error.error_type_desc not in _ONLY_WHEN_IT_RUNS:
            return ProcedureRight(procedure, may=None, said=_shown(error.error_message))
    return _answer(procedure, login, database, may=True)


def _answer(procedure: str, login: Any, database: Any, *, may: bool) -> ProcedureRight:
    if may:
        return ProcedureRight(procedure, may=True, said=f"as {login} in {database}")
    said = f"{login} has no right to it in {database}: GRANT EXECUTE"
    return ProcedureRight(procedure, may=False, said=said)


def _shown(message: Any) -> str:
    return " ".join(str(message).split())
