"""Failures by their cause, what people did about them, operations on many runs, and whatever else needs a person.

Revision: 0005, after 0004. It only adds, and what it adds may be empty: code of the release before works with it. Runs that failed before it,
or on nodes of the release before, have no cause: a node of this release gives one to those that fail from its start on, and older ones need nobody.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql
from sqlalchemy.sql import quoted_name

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_INSTANT = (
    sa.DateTime()
    .with_variant(sa.DateTime(timezone=True), "postgresql")
    .with_variant(mssql.DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
)
_LONG = sa.UnicodeText().with_variant(mssql.NVARCHAR(None), "mssql")
_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _name(name: str) -> quoted_name:
    return quoted_name(name, quote=False)


def _column(name: str, type_: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(_name(name), type_, **options)


def _text(length: int) -> sa.Unicode:
    return sa.Unicode(length)


_RUN = {
    "Cause": _text(32),
    "HandledAt": _INSTANT,
    "HandledBy": _text(100),
    "Handling": _text(500),
    "RetryOf": sa.BigInteger(),
}
_INDEXES = (
    ("IX_c_JobRun_Cause", ("Cause", "CompletedAt"), "Cause IS NOT NULL"),
    ("IX_c_JobRun_Open", ("Cause", "Id"), "Cause IS NOT NULL AND HandledAt IS NULL"),
    ("IX_c_JobRun_RetryOf", ("State", "RetryOf"), "RetryOf IS NOT NULL"),
)


_OLDEST_CODE = """
    INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0005', '0004', CURRENT_TIMESTAMP)
"""


def upgrade() -> None:
    """Go to this version."""
    for name, kind in _RUN.items():
        op.add_column(_name("c_JobRun"), _column(name, kind))
    for name, columns, where in _INDEXES:
        only = sa.text(where)
        op.create_index(
            _name(name),
            _name("c_JobRun"),
            [sa.text(column) for column in columns],
            sqlite_where=only,
            postgresql_where=only,
            mssql_where=only,
        )
    _create(
        "c_JobFailure",
        _column("Cause", _text(32), nullable=False),
        _column("JobName", _text(100), nullable=False),
        _column("Kind", _text(200), nullable=False),
        _column("Place", _text(300)),
        _column("Message", _LONG),
        _column("FirstAt", _INSTANT, nullable=False),
        _column("FirstRunId", sa.BigInteger()),
        _column("FirstRelease", _text(100)),
        _column("SnoozedBy", _text(100)),
        _column("SnoozedUntil", _INSTANT),
        _column("Note", _text(1000)),
        _column("MutedBy", _text(100)),
        _column("MutedAt", _INSTANT),
        _column("Assignee", _text(100)),
        _column("Ticket", _text(500)),
        key=("Cause",),
    )
    _create(
        "c_JobConcern",
        _column("Subject", _text(200), nullable=False),
        _column("Kind", _text(30), nullable=False),
        _column("Since", _INSTANT, nullable=False),
        _column("Detail", _LONG, nullable=False),
        key=("Subject", "Kind"),
    )
    _create(
        "c_JobBulk",
        _column("Id", _BIG_ID, nullable=False, autoincrement=True),
        _column("Action", _text(20), nullable=False),
        _column("FilterJson", _LONG, nullable=False),
        _column("OptionsJson", _LONG, nullable=False),
        _column("Status", _text(20), nullable=False),
        _column("Total", sa.Integer(), nullable=False),
        _column("Done", sa.Integer(), nullable=False, server_default="0"),
        _column("Refused", sa.Integer(), nullable=False, server_default="0"),
        _column("Place", sa.BigInteger()),
        _column("Ceiling", sa.BigInteger(), nullable=False),
        _column("Actor", _text(100), nullable=False),
        _column("StartedAt", _INSTANT, nullable=False),
        _column("EndedAt", _INSTANT),
        _column("Undoes", sa.BigInteger()),
        _column("Message", _LONG),
        key=("Id",),
    )
    _create(
        "c_JobBulkRun",
        _column("BulkId", sa.BigInteger(), nullable=False, autoincrement=False),
        _column("RunId", sa.BigInteger(), nullable=False, autoincrement=False),
        _column("NewRunId", sa.BigInteger()),
        _column("Previous", _text(100)),
        key=("BulkId", "RunId"),
    )
    op.execute(_OLDEST_CODE)


def downgrade() -> None:
    """Go back to the version before: what people did about failures is lost."""
    op.execute("DELETE FROM c_JobSetting WHERE Name = 'oldest_code 0005'")
    for table in ("c_JobBulkRun", "c_JobBulk", "c_JobConcern", "c_JobFailure"):
        op.drop_table(_name(table))
    for name, _, _ in reversed(_INDEXES):
        op.drop_index(_name(name), _name("c_JobRun"))
    for column in reversed(_RUN):
        op.drop_column(_name("c_JobRun"), _name(column))


def _create(table: str, *columns: sa.Column[Any], key: tuple[str, ...]) -> None:
    primary = sa.PrimaryKeyConstraint(*map(_name, key), name=_name(f"PK_{table}"))
    op.create_table(_name(table), *columns, primary)
