"""Alerts that are not over, and messages on their way to people.

Revision: 0011, after 0010. It only adds: code of the release before works with it, and knows neither.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql
from sqlalchemy.sql import quoted_name

revision = "0011"
down_revision = "0010"
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


_OLDEST_CODE = """
    INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0011', '0004', CURRENT_TIMESTAMP)
"""


def upgrade() -> None:
    """Go to this version."""
    op.create_table(
        _name("c_JobAlertThread"),
        _column("Thread", sa.Unicode(100), nullable=False),
        _column("Kind", sa.Unicode(20), nullable=False),
        _column("JobName", sa.Unicode(100), nullable=False),
        _column("About", sa.Unicode(200), nullable=False),
        _column("Title", sa.Unicode(300), nullable=False),
        _column("FirstAt", _INSTANT, nullable=False),
        _column("LastAt", _INSTANT, nullable=False),
        _column("FirstRunId", sa.BigInteger()),
        _column("LastRunId", sa.BigInteger()),
        _column("Number", sa.Integer(), nullable=False),
        _column("TargetsJson", _LONG, nullable=False),
        _column("EscalatesFrom", _INSTANT),
        _column("Step", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint(_name("Thread"), name=_name("PK_c_JobAlertThread")),
    )
    op.create_table(
        _name("c_JobNotice"),
        _column("Id", _BIG_ID, nullable=False, autoincrement=True),
        _column("NoticeKey", sa.Unicode(200), nullable=False),
        _column("JobName", sa.Unicode(100), nullable=False),
        _column("Channel", sa.Unicode(50), nullable=False),
        _column("Target", _LONG, nullable=False),
        _column("FromCode", sa.Boolean(), nullable=False),
        _column("NoticeJson", _LONG, nullable=False),
        _column("DueAt", _INSTANT, nullable=False),
        _column("Tries", sa.Integer(), nullable=False, server_default="0"),
        _column("ClaimedBy", sa.Unicode(32)),
        _column("ClaimedUntil", _INSTANT),
        sa.PrimaryKeyConstraint(_name("Id"), name=_name("PK_c_JobNotice")),
    )
    op.create_index(
        _name("UQ_c_JobNotice_Key"), _name("c_JobNotice"), [_name("NoticeKey")], unique=True
    )
    op.execute(_OLDEST_CODE)


def downgrade() -> None:
    """Go back to the version before: messages that were not sent yet are lost."""
    op.execute("DELETE FROM c_JobSetting WHERE Name = 'oldest_code 0011'")
    op.drop_table(_name("c_JobNotice"))
    op.drop_table(_name("c_JobAlertThread"))
