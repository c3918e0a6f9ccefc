"""Releases of definitions, what nodes say of themselves, runs that no node knows, and statistics by the quarter of an hour.

Revision: 0003, after 0002. It only adds, and what it adds may be empty: code of the release before works with it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql
from sqlalchemy.sql import quoted_name

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_INSTANT = (
    sa.DateTime()
    .with_variant(sa.DateTime(timezone=True), "postgresql")
    .with_variant(mssql.DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
)
_LONG = sa.UnicodeText().with_variant(mssql.NVARCHAR(None), "mssql")


def _name(name: str) -> quoted_name:
    return quoted_name(name, quote=False)


def _column(name: str, type_: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(_name(name), type_, **options)


def _text(length: int) -> sa.Unicode:
    return sa.Unicode(length)


_ADDED: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = (
    ("c_JobRun", (("UnknownSince", _INSTANT), ("RefusedBy", _LONG), ("StopNote", _LONG))),
    ("c_JobSchedule", (("Release", _text(100)),)),
    (
        "c_JobServer",
        (
            ("Release", _text(100)),
            ("Fingerprint", _text(64)),
            ("ClockOffsetMs", sa.Integer()),
            ("StuckSince", _INSTANT),
            ("StuckIn", _LONG),
            ("DrainRequestedBy", _text(100)),
            ("DrainRequestedAt", _INSTANT),
        ),
    ),
)
_OLDEST_CODE = """
    INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0003', '0002', CURRENT_TIMESTAMP)
"""
"""Code that knows the tables up to 0002 works with those of 0003. A revision that does not say so is refused by all older code."""
_TABLES = ("c_JobRelease", "c_JobSetting", "c_JobStat")
_INDEXES = (
    ("IX_c_JobRun_JobName_State_Id", "c_JobRun", ("JobName", "State", "Id DESC")),
    ("IX_c_JobAudit_JobName_Id", "c_JobAudit", ("JobName", "Id DESC")),
    ("IX_c_JobAudit_At", "c_JobAudit", ("At", "Id")),
)
"""The first takes the place of ``IX_c_JobRun_JobName_State``."""
_UNCOUNTED = (
    ("uncounted attempts", "c_LoggedJob", "ID"),
    ("uncounted runs", "c_JobRun", "Id"),
)
"""Up to which keys there are rows that the statistics do not hold yet; the scheduler counts them later, in short steps."""
_NOW = {"sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'", "mssql": "SYSUTCDATETIME()"}


def upgrade() -> None:
    """Go to this version."""
    for table, added in _ADDED:
        for name, type_ in added:
            op.add_column(_name(table), _column(name, type_))
    _create(
        "c_JobRelease",
        _column("Release", _text(100), nullable=False),
        _column("Fingerprint", _text(64), nullable=False),
        _column("FirstSeenAt", _INSTANT, nullable=False),
        _column("ChosenBy", _text(100)),
        _column("ChosenAt", _INSTANT),
        key=("Release",),
    )
    _create(
        "c_JobSetting",
        _column("Name", _text(100), nullable=False),
        _column("Value", _LONG, nullable=False),
        _column("UpdatedAt", _INSTANT, nullable=False),
        key=("Name",),
    )
    _create(
        "c_JobStat",
        _column("JobName", _text(100), nullable=False),
        _column("BeginsAt", _INSTANT, nullable=False),
        _column("Outcome", _text(20), nullable=False),
        _column("Bucket", sa.Integer, autoincrement=False, nullable=False),
        _column("Shard", sa.Integer, autoincrement=False, nullable=False),
        _column("Count", sa.Integer, nullable=False),
        _column("Retried", sa.Integer, nullable=False, server_default="0"),
        _column("SumMs", sa.BigInteger, nullable=False, server_default="0"),
        _column("MaxMs", sa.Integer, nullable=False, server_default="0"),
        key=("JobName", "BeginsAt", "Outcome", "Bucket", "Shard"),
    )
    op.create_index(_name("IX_c_JobStat_BeginsAt"), _name("c_JobStat"), [sa.text("BeginsAt")])
    for index, table, columns in _INDEXES:
        op.create_index(_name(index), _name(table), [sa.text(column) for column in columns])
    op.drop_index(_name("IX_c_JobRun_JobName_State"), _name("c_JobRun"))
    waits = sa.text("UnknownSince IS NOT NULL")
    op.create_index(
        _name("IX_c_JobRun_UnknownSince"),
        _name("c_JobRun"),
        [sa.text("UnknownSince")],
        sqlite_where=waits,
        postgresql_where=waits,
        mssql_where=waits,
    )
    op.execute(_OLDEST_CODE)
    now = _NOW.get(op.get_context().dialect.name, "CURRENT_TIMESTAMP")
    for setting, table, key in _UNCOUNTED:
        op.execute(
            f"INSERT INTO c_JobSetting (Name, Value, UpdatedAt) "  # noqa: S608 - constants of this file
            f"SELECT '{setting}', CAST(Newest AS VARCHAR(20)), {now} "
            f"FROM (SELECT max({key}) AS Newest FROM {table}) AS found WHERE Newest IS NOT NULL"
        )


def downgrade() -> None:
    """Go back to the version before: releases and statistics are lost, runs and history stay."""
    op.drop_index(_name("IX_c_JobRun_UnknownSince"), _name("c_JobRun"))
    op.create_index(
        _name("IX_c_JobRun_JobName_State"),
        _name("c_JobRun"),
        [sa.text("JobName"), sa.text("State")],
    )
    for index, table, _ in _INDEXES:
        op.drop_index(_name(index), _name(table))
    op.drop_index(_name("IX_c_JobStat_BeginsAt"), _name("c_JobStat"))
    for table in reversed(_TABLES):
        op.drop_table(_name(table))
    for table, added in reversed(_ADDED):
        for name, _ in reversed(added):
            op.drop_column(_name(table), _name(name))


def _create(table: str, *columns: sa.Column[Any], key: tuple[str, ...]) -> None:
    primary = sa.PrimaryKeyConstraint(*map(_name, key), name=_name(f"PK_{table}"))
    op.create_table(_name(table), *columns, primary)
