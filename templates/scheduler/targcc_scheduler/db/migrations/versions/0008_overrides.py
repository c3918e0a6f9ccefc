"""What people have changed of jobs while they are deployed.

Revision: 0008, after 0007. It only adds: code of the release before works with it, and knows no overrides.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql
from sqlalchemy.sql import quoted_name

revision = "0008"
down_revision = "0007"
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


_OLDEST_CODE = """
    INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0008', '0004', CURRENT_TIMESTAMP)
"""


def upgrade() -> None:
    """Go to this version."""
    op.create_table(
        _name("c_JobOverride"),
        _column("JobName", sa.Unicode(100), nullable=False),
        _column("Field", sa.Unicode(30), nullable=False),
        _column("ValueJson", _LONG, nullable=False),
        _column("SetBy", sa.Unicode(100), nullable=False),
        _column("SetAt", _INSTANT, nullable=False),
        _column("Reason", sa.Unicode(500), nullable=False),
        _column("EndsAt", _INSTANT),
        sa.PrimaryKeyConstraint(_name("JobName"), _name("Field"), name=_name("PK_c_JobOverride")),
    )
    op.execute(_OLDEST_CODE)


def downgrade() -> None:
    """Go back to the version before: what people have changed is lost, and the code's values hold."""
    op.execute("DELETE FROM c_JobSetting WHERE Name = 'oldest_code 0008'")
    op.drop_table(_name("c_JobOverride"))
