"""SQLite text index: FTS5 with the trigram tokenizer (SQLite 3.34 or later)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..tables import job_run
from .text_index import Clause

_SQLITE_TEXT = sa.table("c_JobText", sa.column("rowid"))
_SQLITE_REMOVE = sa.text("DELETE FROM c_JobText WHERE rowid = :run_id")
_ADD = sa.text("INSERT INTO c_JobText (rowid, Body) VALUES (:run_id, :body)")
_IS_THERE = sa.text("SELECT 1 FROM sqlite_master WHERE name = 'c_JobText'")
CREATE_INDEX = (
    "CREATE VIRTUAL TABLE c_JobText USING fts5(Body, tokenize = 'trigram', detail = none)",
    (
        "INSERT OR REPLACE INTO c_JobSetting (Name, Value, UpdatedAt)"
        " SELECT 'unindexed runs', Id, CURRENT_TIMESTAMP FROM c_JobRun ORDER BY Id DESC LIMIT 1"
    ),
)
"""Statements that create the index later, where the SQLite of the migration had no trigram tokenizer; nodes then index the existing runs."""
_HAS_FTS5 = sa.text("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'")


class SQLiteTexts:
    """SQLite implementation of :class:`.index.TextIndex`."""

    async def is_there(self, connection: AsyncConnection) -> bool:
        """Return whether the migration created the index and this process's SQLite has FTS5.

        Another Python on the machine may have a SQLite without FTS5.
        """
        return (
            await connection.scalar(_IS_THERE) is not None
            and await connection.scalar(_HAS_FTS5) is not None
        )

    async def write(self, connection: AsyncConnection, texts: Mapping[int, str | None]) -> None:
        """Write a row for each text."""
        if texts:
            await connection.execute(_SQLITE_REMOVE, [{"run_id": one} for one in texts])
        if new := [{"run_id": one, "body": body} for one, body in texts.items() if body]:
            await connection.execute(_ADD, new)

    def find(
        self, clauses: Sequence[Clause], where: sa.ColumnElement[bool], limit: int, below: int
    ) -> sa.Select[Any]:
        """Read FTS5 rows one by one, newest first. The unary plus keeps SQLite from beginning with ``c_JobRun``."""
        asks = sa.text("c_JobText MATCH :asked").bindparams(asked=expression(clauses))
        same = sa.text("c_JobRun.Id = +c_JobText.rowid")
        both = _SQLITE_TEXT.join(job_run, same)
        statement = (
            sa.select(job_run).select_from(both).where(asks, _SQLITE_TEXT.c.rowid < below, where)
        )
        return statement.order_by(sa.desc(_SQLITE_TEXT.c.rowid)).limit(limit)


def expression(clauses: Sequence[Clause]) -> str:
    """Return the clauses in FTS5 query syntax."""
    return _joined(
        " AND ", (_joined(" OR ", (_joined(" AND ", map(_quoted, sorted(one))) for one in clause)) for clause in clauses)
    )  # fmt: skip


def _joined(word: str, parts: Iterable[str]) -> str:
    return f"({word.join(parts)})"


def _quoted(gram: str) -> str:
    doubled = gram.replace('"', '""')
    return f'"{doubled}"'
