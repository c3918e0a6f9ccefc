"""Index the waiting runs of each job in the order in which they start, and leave unfinished runs out of the index of ends.

Revision: 0016, after 0015. Code that knows 0015 works with the tables of 0016.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.sql import quoted_name

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_OLDEST_CODE = f"oldest_code {revision}"
_NOW = {"sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'", "mssql": "SYSUTCDATETIME()"}


def upgrade() -> None:
    """Create an index and replace another."""
    _create_index(
        "IX_c_JobRun_Waiting",
        "State, JobName, Priority DESC, DueAt, Id",
        "CompletedAt IS NULL AND Queue <> ''",
    )
    _drop_index("IX_c_JobRun_CompletedAt")
    _create_index("IX_c_JobRun_CompletedAt", "CompletedAt, Id", "CompletedAt IS NOT NULL")
    now = _NOW.get(op.get_context().dialect.name, "CURRENT_TIMESTAMP")
    op.execute(
        f"INSERT INTO c_JobSetting (Name, Value, UpdatedAt) VALUES ('{_OLDEST_CODE}', '{down_revision}', {now})"  # noqa: S608 - constants
    )


def downgrade() -> None:
    """Go back to the indexes of 0015."""
    op.execute(f"DELETE FROM c_JobSetting WHERE Name = '{_OLDEST_CODE}'")  # noqa: S608 - a constant
    _drop_index("IX_c_JobRun_CompletedAt")
    _create_index("IX_c_JobRun_CompletedAt", "CompletedAt, Id")
    _drop_index("IX_c_JobRun_Waiting")


def _create_index(name: str, expressions: str, where: str = "") -> None:
    condition = sa.text(where) if where else None
    op.create_index(
        _name(name),
        _name("c_JobRun"),
        [sa.text(expression) for expression in expressions.split(", ")],
        sqlite_where=condition,
        postgresql_where=condition,
        mssql_where=condition,
    )


def _drop_index(name: str) -> None:
    op.drop_index(_name(name), _name("c_JobRun"))


def _name(name: str) -> quoted_name:
    return quoted_name(name, quote=False)
