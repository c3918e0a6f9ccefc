"""Limit queries of a user with a role for some jobs to the rows that the user may see.

The queries are compiled so that each table, anywhere in a statement, is read through a subquery with the visible rows alone. Counts,
searches and joins of a page therefore cover only these rows. A table without a rule has no visible rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler

from ..core.actor import Actor, ActorKind
from ..core.job_scope import visibility

_BY_JOB = "JobName IN ({jobs})"
_BY_RUN = "RunId IN (SELECT Id FROM c_JobRun WHERE JobName IN ({jobs}))"
_ALL = "1 = 1"
NOTHING = "1 = 0"

RULES = {
    "c_LoggedJob": _BY_JOB,
    "c_JobAlert": _BY_JOB,
    "c_JobAlertThread": _BY_JOB,
    "c_JobRun": _BY_JOB,
    "c_JobSchedule": _BY_JOB,
    "c_JobStat": _BY_JOB,
    "c_JobAudit": _BY_JOB,
    "c_JobFailure": _BY_JOB,
    "c_JobOverride": _BY_JOB,
    "c_JobOwner": _BY_JOB,
    "c_JobShadow": _BY_JOB,
    "c_JobLogLine": _BY_RUN,
    "c_JobStep": _BY_RUN,
    "c_JobTextDue": _BY_RUN,
    "c_JobBulkRun": _BY_RUN,
    "c_JobBlob": _BY_RUN,
    "c_JobLink": "ChildId IN (SELECT Id FROM c_JobRun WHERE JobName IN ({jobs}))",
    "c_JobUnique": _BY_JOB,
    "c_JobLimit": _BY_JOB,
    "c_JobConcern": "Subject IN ({jobs})",
    "c_JobBulk": "Actor IN ({actors})",
    "c_JobView": "Person = {person}",
    "c_JobSession": "UserName = {person}",
    "c_JobUser": "Name = {person}",
    "c_JobQueue": _ALL,
    "c_JobMaintenance": _ALL,
    "c_JobServer": _ALL,
    "c_JobRelease": _ALL,
    "c_JobBatch": NOTHING,
    "c_JobIdempotency": NOTHING,
    "c_JobToken": NOTHING,
    "c_JobRole": NOTHING,
    "c_JobRequest": NOTHING,
    "c_JobNotice": NOTHING,
    "c_JobWebhook": NOTHING,
    "c_JobDelivery": NOTHING,
    "c_JobSetting": "Name = 'unindexed runs'",
}
"""The condition of the visible rows, by table."""

_AS_IT_IS = frozenset({"c_JobText"})
"""The text index: queries join it with ``c_JobRun`` and read no text from it. SQLite's ``MATCH`` needs the table itself."""
_CATALOGUES = frozenset({"sqlite_master", "pragma_module_list", "pg_class"})
"""The tables that a textual statement may read."""
_SOURCE = re.compile(r"\b(?:from|join)\s+([\w.]+)", re.IGNORECASE)

_HIDDEN = {
    "c_JobServer": frozenset({"StuckIn"}),  # may show the code of a job that is not visible
    "c_JobUser": frozenset({"PasswordHash"}),
}
"""The columns that read as NULL, by table."""


def narrow(dialect: sa.Dialect) -> None:
    """Make a dialect compile queries with the rows that :data:`~..core.job_scope.visibility` allows at compile time.

    Compiled statements must not be cached for later queries.
    """

    class Narrowing(dialect.statement_compiler):  # type: ignore[misc, name-defined]  # the database's own compiler
        def visit_table(self, table: Any, *, asfrom: bool = False, **options: Any) -> str:
            text: str = super().visit_table(table, asfrom=asfrom, **options)
            if not asfrom or str(table.name) in _AS_IT_IS:
                return text
            enclosing = options.get("enclosing_alias")
            rows = f"({_rows(self, table)})"
            if enclosing is not None and enclosing.element is table:
                return rows
            return f"{rows} AS {self.preparer.quote(table.name)}"

        def visit_textclause(self, textclause: Any, **options: Any) -> str:
            if not self.stack and not _CATALOGUES.issuperset(_SOURCE.findall(textclause.text)):
                raise PermissionError(f"nobody knows which jobs this is about: {textclause.text}")
            text: str = super().visit_textclause(textclause, **options)
            return text

    dialect.statement_compiler = Narrowing


def _rows(compiler: SQLCompiler, table: sa.Table) -> str:
    allowed = visibility.get()
    assert allowed is not None

    def listed(texts: Iterable[str]) -> str:
        literals = [compiler.render_literal_value(one, sa.Unicode()) for one in sorted(texts)]
        return ", ".join(literals) or "NULL"

    actors = (str(Actor(kind, allowed.person)) for kind in (ActorKind.MANUAL, ActorKind.API))
    job_column = table.info.get("job")  # of a feature's table
    of_feature = f"{job_column} IN ({{jobs}})" if job_column else NOTHING
    rule = RULES.get(str(table.name), of_feature).format(
        jobs=listed(allowed.seen),
        person=listed([allowed.person]),
        actors=listed(actors),
    )
    hidden = _HIDDEN.get(str(table.name), frozenset())
    columns = [
        f"NULL AS {column.name}" if column.name in hidden else str(column.name)
        for column in table.columns
    ]
    return f"SELECT {', '.join(columns)} FROM {table.name} WHERE {rule}"  # noqa: S608 - the texts in it are literals of the database's
