"""Who runs a job, the old server or this one, and the slots of jobs that only look on.

Revision: 0004, after 0003. It only adds, and what it adds may be empty: code of the release before works with it, until the first job has
an owner. Then it is refused, since it would run every job.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql
from sqlalchemy.sql import quoted_name

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_INSTANT = (
    sa.DateTime()
    .with_variant(sa.DateTime(timezone=True), "postgresql")
    .with_variant(mssql.DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
)

_OLDEST_CODE = """
    INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0004', '0003', CURRENT_TIMESTAMP)
"""
"""The first owner that is written puts 0004 into it."""


def _name(name: str) -> quoted_name:
    return quoted_name(name, quote=False)


def _column(name: str, type_: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(_name(name), type_, **options)


def _text(length: int) -> sa.Unicode:
    return sa.Unicode(length)


def upgrade() -> None:
    """Go to this version."""
    _create(
        "c_JobOwner",
        _column("JobName", _text(100), nullable=False),
        _column("Owner", _text(10), nullable=False),
        _column("OldKey", _text(50)),
        _column("Runner", _text(50)),
        _column("Since", _INSTANT, nullable=False),
        _column("ChangedBy", _text(100), nullable=False),
        _column("Reason", _text(500)),
        _column("Step", _text(20)),
        _column("Mark", _text(50)),
        _column("NextSlot", _INSTANT),
        key=("JobName",),
    )
    _create(
        "c_JobShadow",
        _column("JobName", _text(100), nullable=False),
        _column("Slot", _INSTANT, nullable=False),
        key=("JobName", "Slot"),
    )
    op.execute(_OLDEST_CODE)


def downgrade() -> None:
    """Go back to the version before: who owns which job is lost, and every job is run from here."""
    op.execute("DELETE FROM c_JobSetting WHERE Name = 'oldest_code 0004'")
    for table in ("c_JobShadow", "c_JobOwner"):
        op.drop_table(_name(table))


def _create(table: str, *columns: sa.Column[Any], key: tuple[str, ...]) -> None:
    primary = sa.PrimaryKeyConstraint(*map(_name, key), name=_name(f"PK_{table}"))
    op.create_table(_name(table), *columns, primary)
