"""Roles of one's own: what each allows, and with which jobs.

Revision: 0013, after 0012. It only adds: code of the release before works with it, and knows the built-in roles alone.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql
from sqlalchemy.sql import quoted_name

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_LONG = sa.UnicodeText().with_variant(mssql.NVARCHAR(None), "mssql")
_OLDEST_CODE = """
    INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0013', '0004', CURRENT_TIMESTAMP)
"""


def upgrade() -> None:
    """Go to this version."""
    op.create_table(
        _name("c_JobRole"),
        sa.Column(_name("Name"), sa.Unicode(20), nullable=False),
        sa.Column(_name("GrantsJson"), _LONG, nullable=False),
        sa.PrimaryKeyConstraint(_name("Name"), name=_name("PK_c_JobRole")),
    )
    op.execute(_OLDEST_CODE)


def downgrade() -> None:
    """Go back to the version before: who has a role of one's own may do nothing any more."""
    op.execute("DELETE FROM c_JobSetting WHERE Name = 'oldest_code 0013'")
    op.drop_table(_name("c_JobRole"))


def _name(name: str) -> quoted_name:
    return quoted_name(name, quote=False)
