"""Outgoing webhooks, and the messages to them.

Revision: 0010, after 0009. It only adds: code of the release before works with it, and sends nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql
from sqlalchemy.sql import quoted_name

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_INSTANT = (
    sa.DateTime()
    .with_variant(sa.DateTime(timezone=True), "postgresql")
    .with_variant(mssql.DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
)
_LONG = sa.UnicodeText().with_variant(mssql.NVARCHAR(None), "mssql")
_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_OLDEST_CODE = """
    INSERT INTO c_JobSetting (Name, Value, UpdatedAt)
    VALUES ('oldest_code 0010', '0004', CURRENT_TIMESTAMP)
"""


def _name(name: str) -> quoted_name:
    return quoted_name(name, quote=False)


def upgrade() -> None:
    """Go to this version."""
    op.create_table(
        _name("c_JobWebhook"),
        sa.Column(_name("Id"), sa.Integer(), nullable=False, autoincrement=True),
        sa.Column(_name("Shown"), sa.Unicode(200), nullable=False),
        sa.Column(_name("SealedJson"), _LONG, nullable=False),
        sa.Column(_name("Events"), sa.Unicode(200), nullable=False),
        sa.Column(_name("Jobs"), sa.Unicode(1000), nullable=False),
        sa.Column(_name("CreatedBy"), sa.Unicode(100), nullable=False),
        sa.Column(_name("CreatedAt"), _INSTANT, nullable=False),
        sa.Column(_name("DisabledAt"), _INSTANT),
        sa.Column(_name("DisabledBy"), sa.Unicode(100)),
        sa.Column(_name("FailingSince"), _INSTANT),
        sa.PrimaryKeyConstraint(_name("Id"), name=_name("PK_c_JobWebhook")),
    )
    op.create_table(
        _name("c_JobDelivery"),
        sa.Column(_name("Id"), _BIG_ID, nullable=False, autoincrement=True),
        sa.Column(_name("WebhookId"), sa.Integer(), nullable=False),
        sa.Column(_name("MessageId"), sa.Unicode(50), nullable=False),
        sa.Column(_name("Event"), sa.Unicode(30), nullable=False),
        sa.Column(_name("RunId"), sa.BigInteger()),
        sa.Column(_name("Body"), _LONG, nullable=False),
        sa.Column(_name("Status"), sa.Unicode(10), nullable=False),
        sa.Column(_name("Attempts"), sa.Integer(), nullable=False, server_default="0"),
        sa.Column(_name("DueAt"), _INSTANT),
        sa.Column(_name("Answer"), sa.Unicode(200)),
        sa.Column(_name("CreatedAt"), _INSTANT, nullable=False),
        sa.Column(_name("EndedAt"), _INSTANT),
        sa.PrimaryKeyConstraint(_name("Id"), name=_name("PK_c_JobDelivery")),
        sa.UniqueConstraint(_name("MessageId"), name=_name("UQ_c_JobDelivery_MessageId")),
    )
    due = sa.text("DueAt IS NOT NULL")
    op.create_index(
        _name("IX_c_JobDelivery_DueAt"),
        _name("c_JobDelivery"),
        [_name("DueAt")],
        sqlite_where=due,
        postgresql_where=due,
        mssql_where=due,
    )
    op.create_index(
        _name("IX_c_JobDelivery_WebhookId_Id"),
        _name("c_JobDelivery"),
        [_name("WebhookId"), sa.text("Id DESC")],
    )
    op.execute(_OLDEST_CODE)


def downgrade() -> None:
    """Go back to the version before: nobody is told any more, and what waited to be sent is lost."""
    op.execute("DELETE FROM c_JobSetting WHERE Name = 'oldest_code 0010'")
    op.drop_table(_name("c_JobDelivery"))
    op.drop_table(_name("c_JobWebhook"))
