"""Maintenance windows.

Revision: 0012, after 0011. It only adds: code of the release before works with it, and starts runs also in a window.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql
from sqlalchemy.sql import quoted_name

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_INSTANT = (
    sa.DateTime()
    .with_variant(sa.DateTime(timezone=True), "postgresql")
    .with_variant(mssql.DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
)


def _name(name: str) -> quoted_name:
    return quoted_name(name, quote=False)


def _column(name: str, type_: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(_name(name), type_, **options)


_OLDEST_CODE = f"""
    INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code {revision}', '0004', CURRENT_TIMESTAMP)
"""  # noqa: S608 - a constant of this module
_FORGET = f"DELETE FROM c_JobSetting WHERE Name = 'oldest_code {revision}'"  # noqa: S608 - as above


def upgrade() -> None:
    """Go to this version."""
    op.create_table(
        _name("c_JobMaintenance"),
        _column("Id", _BIG_ID, nullable=False, autoincrement=True),
        _column("StartsAt", _INSTANT, nullable=False),
        _column("EndsAt", _INSTANT, nullable=False),
        _column("Queues", sa.Unicode(500), nullable=False),
        _column("Reason", sa.Unicode(500), nullable=False),
        _column("PlannedBy", sa.Unicode(100), nullable=False),
        _column("PlannedAt", _INSTANT, nullable=False),
        _column("EndedBy", sa.Unicode(100)),
        sa.PrimaryKeyConstraint(_name("Id"), name=_name("PK_c_JobMaintenance")),
    )
    op.execute(_OLDEST_CODE)


def downgrade() -> None:
    """Go back to the version before: windows are lost, and runs start."""
    op.execute(_FORGET)
    op.drop_table(_name("c_JobMaintenance"))
