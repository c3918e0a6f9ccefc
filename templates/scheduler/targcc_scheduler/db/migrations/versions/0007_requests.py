"""Requests with an idempotency key.

Revision: 0007, after 0006. It only adds: code of the release before works with it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql
from sqlalchemy.sql import quoted_name

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_INSTANT = (
    sa.DateTime()
    .with_variant(sa.DateTime(timezone=True), "postgresql")
    .with_variant(mssql.DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
)
_LONG = sa.UnicodeText().with_variant(mssql.NVARCHAR(None), "mssql")
_OLDEST_CODE = """
    INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0007', '0004', CURRENT_TIMESTAMP)
"""


def _name(name: str) -> quoted_name:
    return quoted_name(name, quote=False)


def upgrade() -> None:
    """Go to this version."""
    op.create_table(
        _name("c_JobRequest"),
        sa.Column(_name("Scope"), sa.Unicode(64), nullable=False),
        sa.Column(_name("RequestKey"), sa.Unicode(200), nullable=False),
        sa.Column(_name("Digest"), sa.Unicode(64), nullable=False),
        sa.Column(_name("Status"), sa.Integer()),
        sa.Column(_name("Body"), _LONG),
        sa.Column(_name("BegunAt"), _INSTANT, nullable=False),
        sa.PrimaryKeyConstraint(_name("Scope"), _name("RequestKey"), name=_name("PK_c_JobRequest")),
    )
    op.execute(_OLDEST_CODE)


def downgrade() -> None:
    """Go back to the version before: repetitions of earlier requests are carried out again."""
    op.execute("DELETE FROM c_JobSetting WHERE Name = 'oldest_code 0007'")
    op.drop_table(_name("c_JobRequest"))
