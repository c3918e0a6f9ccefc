"""Indexes for the questions that pages, API, command line and the pruner ask of a long history.

Revision: 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.sql import quoted_name

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INDEXES = (
    ("IX_c_JobAudit_RunId", "c_JobAudit", ("RunId",)),
    ("IX_c_JobRun_CompletedAt", "c_JobRun", ("CompletedAt", "Id")),
    ("IX_c_JobRun_State_Id", "c_JobRun", ("State", "Id DESC")),
    ("IX_c_LoggedJob_JobId", "c_LoggedJob", ("JobId",)),
    ("IX_c_LoggedJob_JobName_ID", "c_LoggedJob", ("JobName", "ID")),
    ("IX_c_LoggedJob_StartedAt", "c_LoggedJob", ("StartedAt", "ID")),
)


def upgrade() -> None:
    """Go to this version."""
    for name, table, columns in _INDEXES:
        op.create_index(_name(name), _name(table), [sa.text(column) for column in columns])


def downgrade() -> None:
    """Go back to the version before; nothing is lost."""
    for name, table, _ in reversed(_INDEXES):
        op.drop_index(_name(name), _name(table))


def _name(name: str) -> quoted_name:
    return quoted_name(name, quote=False)
