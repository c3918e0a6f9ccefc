"""Work that hangs together: links between runs, batches and flows, unique keys, limits, files.

Revision: 0014, after 0013. It only adds: code of the release before works with it. Runs that it ends while both are there let others go a
little later, when a node of this release looks.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql
from sqlalchemy.sql import quoted_name

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_LONG = sa.UnicodeText().with_variant(mssql.NVARCHAR(None), "mssql")
_INSTANT = (
    sa.DateTime()
    .with_variant(sa.DateTime(timezone=True), "postgresql")
    .with_variant(mssql.DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
)


def _name(name: str) -> quoted_name:
    return quoted_name(name, quote=False)


def _column(name: str, type_: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(_name(name), type_, **options)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*map(_name, columns), name=_name(f"PK_{table}"))


def _partial(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(
        _name(name),
        _name("c_JobRun"),
        [sa.text(column) if " " in column else _name(column) for column in columns],
        sqlite_where=condition,
        postgresql_where=condition,
        mssql_where=condition,
    )


_OF_RUN: tuple[tuple[str, Any, dict[str, Any]], ...] = (
    ("Ties", sa.Integer(), {"nullable": False, "server_default": "0"}),
    ("LimitKey", sa.Unicode(200), {}),
    ("Weight", sa.Integer(), {"nullable": False, "server_default": "1"}),
    ("BatchId", sa.BigInteger(), {}),
    ("Step", sa.Unicode(100), {}),
    ("ExpiresAt", _INSTANT, {}),
    ("UniqueKey", sa.Unicode(200), {}),
    ("Trace", sa.Unicode(500), {}),
)
_TABLES = ("c_JobBatch", "c_JobLink", "c_JobUnique", "c_JobIdempotency", "c_JobLimit", "c_JobBlob")
_OLDEST_CODE = f"""
    INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code {revision}', '0004', CURRENT_TIMESTAMP)
"""  # noqa: S608 - a constant of this module
_FORGET = f"DELETE FROM c_JobSetting WHERE Name = 'oldest_code {revision}'"  # noqa: S608 - as above


def upgrade() -> None:
    """Go to this version."""
    for name, type_, options in _OF_RUN:
        op.add_column(_name("c_JobRun"), _column(name, type_, **options))
    _batches()
    _keys()
    _blobs()
    _partial("IX_c_JobRun_BatchId", ["BatchId", "State"], "BatchId IS NOT NULL")
    _partial(
        "IX_c_JobRun_LimitKey",
        ["LimitKey", "State", "Priority DESC", "DueAt", "Id"],
        "LimitKey IS NOT NULL AND CompletedAt IS NULL",
    )
    _partial(
        "IX_c_JobRun_ExpiresAt", ["ExpiresAt"], "ExpiresAt IS NOT NULL AND CompletedAt IS NULL"
    )
    op.execute(_OLDEST_CODE)


def _batches() -> None:
    op.create_table(
        _name("c_JobBatch"),
        _column("Id", _BIG_ID, nullable=False, autoincrement=True),
        _column("Name", sa.Unicode(200), nullable=False),
        _column("Kind", sa.Unicode(10), nullable=False),
        _column("State", sa.Unicode(20), nullable=False),
        _column("CreatedBy", sa.Unicode(100), nullable=False),
        _column("CreatedAt", _INSTANT, nullable=False),
        _column("CompletedAt", _INSTANT),
        _column("ParentId", sa.BigInteger()),
        _column("Total", sa.Integer(), nullable=False, server_default="0"),
        _column("Pending", sa.Integer(), nullable=False, server_default="0"),
        _column("Failed", sa.Integer(), nullable=False, server_default="0"),
        _column("CancelledBy", sa.Unicode(100)),
        _column("DefinitionJson", _LONG),
        _column("ArgumentsJson", _LONG),
        _key("c_JobBatch", "Id"),
    )
    op.create_table(
        _name("c_JobLink"),
        _column("ChildId", sa.BigInteger(), nullable=False, autoincrement=False),
        _column("ParentKind", sa.Unicode(10), nullable=False),
        _column("ParentId", sa.BigInteger(), nullable=False, autoincrement=False),
        _column("Condition", sa.Unicode(10), nullable=False),
        _column("Quorum", sa.Unicode(10), nullable=False),
        _column("Otherwise", sa.Unicode(10), nullable=False),
        _column("Outcome", sa.Unicode(20)),
        _key("c_JobLink", "ChildId", "ParentKind", "ParentId"),
    )
    _index("IX_c_JobLink_Parent", "c_JobLink", "ParentKind", "ParentId")
    _index("IX_c_JobBatch_ParentId", "c_JobBatch", "ParentId")
    _index("IX_c_JobBatch_State", "c_JobBatch", "State", "Id")


def _keys() -> None:
    op.create_table(
        _name("c_JobUnique"),
        _column("JobName", sa.Unicode(100), nullable=False),
        _column("UniqueKey", sa.Unicode(200), nullable=False),
        _column("RunId", sa.BigInteger(), nullable=False),
        _column("Scope", sa.Unicode(20), nullable=False),
        _column("Until", _INSTANT),
        _key("c_JobUnique", "JobName", "UniqueKey"),
    )
    op.create_table(
        _name("c_JobIdempotency"),
        _column("IdempotencyKey", sa.Unicode(200), nullable=False),
        _column("JobName", sa.Unicode(100), nullable=False),
        _column("RunId", sa.BigInteger(), nullable=False),
        _column("Digest", sa.Unicode(64), nullable=False),
        _column("CreatedAt", _INSTANT, nullable=False),
        _key("c_JobIdempotency", "IdempotencyKey"),
    )
    op.create_table(
        _name("c_JobLimit"),
        _column("LimitKey", sa.Unicode(200), nullable=False),
        _column("JobName", sa.Unicode(100)),
        _column("Most", sa.Integer()),
        _column("IntervalMs", sa.Float()),
        _column("Burst", sa.Integer()),
        _column("NextAt", _INSTANT),
        _column("WakeId", sa.BigInteger()),
        _column("UpdatedAt", _INSTANT, nullable=False),
        _key("c_JobLimit", "LimitKey"),
    )
    _index("IX_c_JobUnique_RunId", "c_JobUnique", "RunId")
    _index("IX_c_JobIdempotency_RunId", "c_JobIdempotency", "RunId")


def _blobs() -> None:
    op.create_table(
        _name("c_JobBlob"),
        _column("Id", sa.Unicode(32), nullable=False),
        _column("RunId", sa.BigInteger()),
        _column("Kind", sa.Unicode(20), nullable=False),
        _column("Name", sa.Unicode(200), nullable=False),
        _column("ContentType", sa.Unicode(100), nullable=False),
        _column("Size", sa.BigInteger(), nullable=False),
        _column("Sha256", sa.Unicode(64), nullable=False),
        _column("Store", sa.Unicode(50)),
        _column("Reference", sa.Unicode(500)),
        _column("Data", sa.LargeBinary()),
        _column("CreatedAt", _INSTANT, nullable=False),
        _key("c_JobBlob", "Id"),
    )
    _index("IX_c_JobBlob_RunId", "c_JobBlob", "RunId")


def _index(name: str, table: str, *columns: str) -> None:
    op.create_index(_name(name), _name(table), [_name(column) for column in columns])


def downgrade() -> None:
    """Go back to the version before: links, batches, keys, limits and files are lost; cancel the runs that wait for them first."""
    op.execute(_FORGET)
    for name in ("IX_c_JobRun_ExpiresAt", "IX_c_JobRun_LimitKey", "IX_c_JobRun_BatchId"):
        op.drop_index(_name(name), _name("c_JobRun"))
    for table in reversed(_TABLES):
        op.drop_table(_name(table))
    for name, _, _ in reversed(_OF_RUN):
        op.drop_column(_name("c_JobRun"), _name(name), mssql_drop_default=True)
