"""The audit as a chain of hashes; more about sessions and tokens; a second factor for users.

Revision: 0006, after 0005. It only adds, and what it adds may be empty: code of the release before works with it. Rows of the audit that are
there already, and those that nodes of the release before still write, are not part of the chain.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql
from sqlalchemy.sql import quoted_name

revision = "0006"
down_revision = "0005"
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


def _text(length: int) -> sa.Unicode:
    return sa.Unicode(length)


_NEW: dict[str, dict[str, Any]] = {
    "c_JobAudit": {"Seq": sa.BigInteger(), "Hash": _text(64)},
    "c_JobSession": {
        "Device": _text(200),
        "RemoteAddress": _text(100),
        "LastSeenAt": _INSTANT,
    },
    "c_JobToken": {"Prefix": _text(20), "Account": _text(100), "JobsJson": _LONG},
    "c_JobUser": {"TotpSecret": _text(500), "TotpStep": sa.BigInteger(), "RecoveryJson": _LONG},
}
_OLDEST_CODE = """
    INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0006', '0005', CURRENT_TIMESTAMP)
"""


def upgrade() -> None:
    """Go to this version."""
    for table, columns in _NEW.items():
        for name, kind in columns.items():
            op.add_column(_name(table), sa.Column(_name(name), kind))
    op.create_index(
        _name("UQ_c_JobAudit_Seq"),
        _name("c_JobAudit"),
        [sa.text("Seq")],
        unique=True,
        mssql_where=sa.text("Seq IS NOT NULL"),
    )
    unsealed = sa.text("Seq IS NULL AND Hash IS NOT NULL")
    op.create_index(
        _name("IX_c_JobAudit_Unsealed"),
        _name("c_JobAudit"),
        [sa.text("Id")],
        sqlite_where=unsealed,
        postgresql_where=unsealed,
        mssql_where=unsealed,
    )
    op.execute(_OLDEST_CODE)


def downgrade() -> None:
    """Go back to the version before: the chain is lost, and so are second factors."""
    op.execute("DELETE FROM c_JobSetting WHERE Name IN ('oldest_code 0006', 'audit_anchor')")
    for index in ("IX_c_JobAudit_Unsealed", "UQ_c_JobAudit_Seq"):
        op.drop_index(_name(index), _name("c_JobAudit"))
    for table, columns in _NEW.items():
        for name in reversed(columns):
            op.drop_column(_name(table), _name(name))
