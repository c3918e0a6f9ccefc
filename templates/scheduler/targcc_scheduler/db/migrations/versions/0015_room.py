"""Room under limits: runs that have been let go keep it until they begin, and keys say whether somebody waits for them. Steps have an index.

Revision: 0015, after 0014. It only adds: code of the release before works with it, and knows no limits.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql
from sqlalchemy.sql import quoted_name

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_INSTANT = (
    sa.DateTime()
    .with_variant(sa.DateTime(timezone=True), "postgresql")
    .with_variant(mssql.DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
)
_OF_LIMIT: tuple[tuple[str, Any, Any], ...] = (
    ("Version", sa.BigInteger(), "0"),
    ("IsAwaited", sa.Boolean(), sa.false()),
)
_OLDEST_CODE = f"""
    INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code {revision}', '0004', CURRENT_TIMESTAMP)
"""  # noqa: S608 - a constant of this module
_FORGET = f"DELETE FROM c_JobSetting WHERE Name = 'oldest_code {revision}'"  # noqa: S608 - as above


def upgrade() -> None:
    """Go to this version: runs that wait for a worker have had their room so far, and of each key somebody may wait."""
    op.add_column(_name("c_JobRun"), sa.Column(_name("RoomAt"), _INSTANT))
    op.execute(
        "UPDATE c_JobRun SET RoomAt = DueAt WHERE LimitKey IS NOT NULL AND State IN ('enqueued')"
    )
    _partial("IX_c_JobRun_RoomAt", ["LimitKey"], "RoomAt IS NOT NULL")
    _partial(
        "IX_c_JobRun_Step",
        ["BatchId", "Step", "State"],
        "Step IS NOT NULL AND CompletedAt IS NULL",
    )
    for name, type_, default in _OF_LIMIT:
        column = sa.Column(_name(name), type_, nullable=False, server_default=default)
        op.add_column(_name("c_JobLimit"), column)
    awaited = sa.table(_name("c_JobLimit"), sa.column(_name("IsAwaited"), sa.Boolean))
    op.execute(sa.update(awaited).values({awaited.c.IsAwaited: sa.true()}))
    op.execute(_OLDEST_CODE)


def downgrade() -> None:
    """Go back to the version before: runs that wait for a worker have room there, however many they are."""
    op.execute(_FORGET)
    for name, _, _ in reversed(_OF_LIMIT):
        op.drop_column(_name("c_JobLimit"), _name(name), mssql_drop_default=True)
    for name in ("IX_c_JobRun_Step", "IX_c_JobRun_RoomAt"):
        op.drop_index(_name(name), _name("c_JobRun"))
    op.drop_column(_name("c_JobRun"), _name("RoomAt"))


def _partial(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(
        _name(name),
        _name("c_JobRun"),
        list(map(_name, columns)),
        sqlite_where=condition,
        postgresql_where=condition,
        mssql_where=condition,
    )


def _name(name: str) -> quoted_name:
    return quoted_name(name, quote=False)
