"""Add the tables, columns and indexes of release 0.2.

Revision: 0015, after 0001.

The revision joins 0002 to 0015 of unreleased builds and keeps the number of the last: a database that such a build took to 0015 has the same
tables and needs no step. 0001 is release 0.1. No release had a revision between the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql import quoted_name

revision = "0015"
down_revision = "0001"
branch_labels = None
depends_on = None

metadata = sa.MetaData()

_INSTANT = (
    sa.DateTime()
    .with_variant(sa.DateTime(timezone=True), "postgresql")
    .with_variant(mssql.DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
)
_LONG = sa.UnicodeText().with_variant(mssql.NVARCHAR(None), "mssql")
_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _name(name: str) -> quoted_name:
    return quoted_name(name, quote=False)


def _column(name: str, type_: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(_name(name), type_, **{"nullable": True, **options})


def _needed(name: str, type_: Any, **options: Any) -> sa.Column[Any]:
    return _column(name, type_, nullable=False, **options)


def _key(name: str, type_: Any) -> sa.Column[Any]:
    """Return a column of the primary key; the code gives the value."""
    return _needed(name, type_, primary_key=True, autoincrement=False)


def _counter(type_: Any = _BIG_ID) -> sa.Column[Any]:
    """Return the primary key ``Id``; the database counts the value up."""
    return _needed("Id", type_, primary_key=True, autoincrement=True)


def _table(name: str, *items: Any) -> None:
    table = sa.Table(_name(name), metadata, *items)
    table.primary_key.name = _name(f"PK_{name}")


def _text(length: int) -> sa.Unicode:
    return sa.Unicode(length)


# Releases, settings and statistics.
_table(
    "c_JobRelease",
    _key("Release", _text(100)),
    _needed("Fingerprint", _text(64)),
    _needed("FirstSeenAt", _INSTANT),
    _column("ChosenBy", _text(100)),
    _column("ChosenAt", _INSTANT),
)
_table(
    "c_JobSetting",
    _key("Name", _text(100)),
    _needed("Value", _LONG),
    _needed("UpdatedAt", _INSTANT),
)
_table(
    "c_JobStat",
    _key("JobName", _text(100)),
    _key("BeginsAt", _INSTANT),
    _key("Outcome", _text(20)),
    _key("Bucket", sa.Integer()),
    _key("Shard", sa.Integer()),
    _needed("Count", sa.Integer()),
    _needed("Retried", sa.Integer(), server_default="0"),
    _needed("SumMs", sa.BigInteger(), server_default="0"),
    _needed("MaxMs", sa.Integer(), server_default="0"),
)

# Jobs of an old server.
_table(
    "c_JobOwner",
    _key("JobName", _text(100)),
    _needed("Owner", _text(10)),
    _column("OldKey", _text(50)),
    _column("Runner", _text(50)),
    _needed("Since", _INSTANT),
    _needed("ChangedBy", _text(100)),
    _column("Reason", _text(500)),
    _column("Step", _text(20)),
    _column("Mark", _text(50)),
    _column("NextSlot", _INSTANT),
)
_table("c_JobShadow", _key("JobName", _text(100)), _key("Slot", _INSTANT))

# Failures, issues and bulk operations.
_table(
    "c_JobFailure",
    _key("Cause", _text(32)),
    _needed("JobName", _text(100)),
    _needed("Kind", _text(200)),
    _column("Place", _text(300)),
    _column("Message", _LONG),
    _needed("FirstAt", _INSTANT),
    _column("FirstRunId", sa.BigInteger()),
    _column("FirstRelease", _text(100)),
    _column("SnoozedBy", _text(100)),
    _column("SnoozedUntil", _INSTANT),
    _column("Note", _text(1000)),
    _column("MutedBy", _text(100)),
    _column("MutedAt", _INSTANT),
    _column("Assignee", _text(100)),
    _column("Ticket", _text(500)),
)
_table(
    "c_JobConcern",
    _key("Subject", _text(200)),
    _key("Kind", _text(30)),
    _needed("Since", _INSTANT),
    _needed("Detail", _LONG),
)
_table(
    "c_JobBulk",
    _counter(),
    _needed("Action", _text(20)),
    _needed("FilterJson", _LONG),
    _needed("OptionsJson", _LONG),
    _needed("Status", _text(20)),
    _needed("Total", sa.Integer()),
    _needed("Done", sa.Integer(), server_default="0"),
    _needed("Refused", sa.Integer(), server_default="0"),
    _column("Place", sa.BigInteger()),
    _needed("Ceiling", sa.BigInteger()),
    _needed("Actor", _text(100)),
    _needed("StartedAt", _INSTANT),
    _column("EndedAt", _INSTANT),
    _column("Undoes", sa.BigInteger()),
    _column("Message", _LONG),
)
_table(
    "c_JobBulkRun",
    _key("BulkId", sa.BigInteger()),
    _key("RunId", sa.BigInteger()),
    _column("NewRunId", sa.BigInteger()),
    _column("Previous", _text(100)),
)

# Requests with an idempotency key, overrides, roles, views and maintenance windows.
_table(
    "c_JobRequest",
    _key("Scope", _text(64)),
    _key("RequestKey", _text(200)),
    _needed("Digest", _text(64)),
    _column("Status", sa.Integer()),
    _column("Body", _LONG),
    _needed("BegunAt", _INSTANT),
)
_table(
    "c_JobOverride",
    _key("JobName", _text(100)),
    _key("Field", _text(30)),
    _needed("ValueJson", _LONG),
    _needed("SetBy", _text(100)),
    _needed("SetAt", _INSTANT),
    _needed("Reason", _text(500)),
    _column("EndsAt", _INSTANT),
)
_table("c_JobRole", _key("Name", _text(20)), _needed("GrantsJson", _LONG))
_table(
    "c_JobView",
    _key("Person", _text(100)),
    _key("Name", _text(100)),
    _needed("Search", _text(2000)),
)
_table(
    "c_JobMaintenance",
    _counter(),
    _needed("StartsAt", _INSTANT),
    _needed("EndsAt", _INSTANT),
    _needed("Queues", _text(500)),
    _needed("Reason", _text(500)),
    _needed("PlannedBy", _text(100)),
    _needed("PlannedAt", _INSTANT),
    _column("EndedBy", _text(100)),
)

# Webhooks and alerts.
_table(
    "c_JobWebhook",
    _counter(sa.Integer()),
    _needed("Shown", _text(200)),
    _needed("SealedJson", _LONG),
    _needed("Events", _text(200)),
    _needed("Jobs", _text(1000)),
    _needed("CreatedBy", _text(100)),
    _needed("CreatedAt", _INSTANT),
    _column("DisabledAt", _INSTANT),
    _column("DisabledBy", _text(100)),
    _column("FailingSince", _INSTANT),
)
_table(
    "c_JobDelivery",
    _counter(),
    _needed("WebhookId", sa.Integer()),
    _needed("MessageId", _text(50)),
    _needed("Event", _text(30)),
    _column("RunId", sa.BigInteger()),
    _needed("Body", _LONG),
    _needed("Status", _text(10)),
    _needed("Attempts", sa.Integer(), server_default="0"),
    _column("DueAt", _INSTANT),
    _column("Answer", _text(200)),
    _needed("CreatedAt", _INSTANT),
    _column("EndedAt", _INSTANT),
    sa.UniqueConstraint(_name("MessageId"), name=_name("UQ_c_JobDelivery_MessageId")),
)
_table(
    "c_JobAlertThread",
    _key("Thread", _text(100)),
    _needed("Kind", _text(20)),
    _needed("JobName", _text(100)),
    _needed("About", _text(200)),
    _needed("Title", _text(300)),
    _needed("FirstAt", _INSTANT),
    _needed("LastAt", _INSTANT),
    _column("FirstRunId", sa.BigInteger()),
    _column("LastRunId", sa.BigInteger()),
    _needed("Number", sa.Integer()),
    _needed("TargetsJson", _LONG),
    _column("EscalatesFrom", _INSTANT),
    _needed("Step", sa.Integer(), server_default="0"),
)
_table(
    "c_JobNotice",
    _counter(),
    _needed("NoticeKey", _text(200)),
    _needed("JobName", _text(100)),
    _needed("Channel", _text(50)),
    _needed("Target", _LONG),
    _needed("FromCode", sa.Boolean()),
    _needed("NoticeJson", _LONG),
    _needed("DueAt", _INSTANT),
    _needed("Tries", sa.Integer(), server_default="0"),
    _column("ClaimedBy", _text(32)),
    _column("ClaimedUntil", _INSTANT),
)

# Batches and flows, dependencies, keys, limits and files.
_table(
    "c_JobBatch",
    _counter(),
    _needed("Name", _text(200)),
    _needed("Kind", _text(10)),
    _needed("State", _text(20)),
    _needed("CreatedBy", _text(100)),
    _needed("CreatedAt", _INSTANT),
    _column("CompletedAt", _INSTANT),
    _column("ParentId", sa.BigInteger()),
    _needed("Total", sa.Integer(), server_default="0"),
    _needed("Pending", sa.Integer(), server_default="0"),
    _needed("Failed", sa.Integer(), server_default="0"),
    _column("CancelledBy", _text(100)),
    _column("DefinitionJson", _LONG),
    _column("ArgumentsJson", _LONG),
)
_table(
    "c_JobLink",
    _key("ChildId", sa.BigInteger()),
    _key("ParentKind", _text(10)),
    _key("ParentId", sa.BigInteger()),
    _needed("Condition", _text(10)),
    _needed("Quorum", _text(10)),
    _needed("Otherwise", _text(10)),
    _column("Outcome", _text(20)),
)
_table(
    "c_JobUnique",
    _key("JobName", _text(100)),
    _key("UniqueKey", _text(200)),
    _needed("RunId", sa.BigInteger()),
    _needed("Scope", _text(20)),
    _column("Until", _INSTANT),
)
_table(
    "c_JobIdempotency",
    _key("IdempotencyKey", _text(200)),
    _needed("JobName", _text(100)),
    _needed("RunId", sa.BigInteger()),
    _needed("Digest", _text(64)),
    _needed("CreatedAt", _INSTANT),
)
_table(
    "c_JobLimit",
    _key("LimitKey", _text(200)),
    _column("JobName", _text(100)),
    _column("Most", sa.Integer()),
    _column("IntervalMs", sa.Float()),
    _column("Burst", sa.Integer()),
    _column("NextAt", _INSTANT),
    _column("WakeId", sa.BigInteger()),
    _needed("UpdatedAt", _INSTANT),
    _needed("Version", sa.BigInteger(), server_default="0"),
    _needed("IsAwaited", sa.Boolean(), server_default=sa.false()),
)
_table(
    "c_JobBlob",
    _key("Id", _text(32)),
    _column("RunId", sa.BigInteger()),
    _needed("Kind", _text(20)),
    _needed("Name", _text(200)),
    _needed("ContentType", _text(100)),
    _needed("Size", sa.BigInteger()),
    _needed("Sha256", _text(64)),
    _column("Store", _text(50)),
    _column("Reference", _text(500)),
    _column("Data", sa.LargeBinary()),
    _needed("CreatedAt", _INSTANT),
)

# Runs whose text is not in the text index yet.
_table("c_JobTextDue", _key("RunId", _BIG_ID))


def _added() -> dict[str, list[sa.Column[Any]]]:
    """Return new columns for the columns added to tables of 0.1."""
    return {
        "c_JobRun": [
            _column("UnknownSince", _INSTANT),
            _column("RefusedBy", _LONG),
            _column("StopNote", _LONG),
            _column("Cause", _text(32)),
            _column("HandledAt", _INSTANT),
            _column("HandledBy", _text(100)),
            _column("Handling", _text(500)),
            _column("RetryOf", sa.BigInteger()),
            _needed("Ties", sa.Integer(), server_default="0"),
            _column("LimitKey", _text(200)),
            _needed("Weight", sa.Integer(), server_default="1"),
            _column("BatchId", sa.BigInteger()),
            _column("Step", _text(100)),
            _column("ExpiresAt", _INSTANT),
            _column("UniqueKey", _text(200)),
            _column("Trace", _text(500)),
            _column("RoomAt", _INSTANT),
        ],
        "c_JobSchedule": [_column("Release", _text(100))],
        "c_JobServer": [
            _column("Release", _text(100)),
            _column("Fingerprint", _text(64)),
            _column("ClockOffsetMs", sa.Integer()),
            _column("StuckSince", _INSTANT),
            _column("StuckIn", _LONG),
            _column("DrainRequestedBy", _text(100)),
            _column("DrainRequestedAt", _INSTANT),
        ],
        "c_JobAudit": [_column("Seq", sa.BigInteger()), _column("Hash", _text(64))],
        "c_JobSession": [
            _column("Device", _text(200)),
            _column("RemoteAddress", _text(100)),
            _column("LastSeenAt", _INSTANT),
        ],
        "c_JobToken": [
            _column("Prefix", _text(20)),
            _column("Account", _text(100)),
            _column("JobsJson", _LONG),
        ],
        "c_JobUser": [
            _column("TotpSecret", _text(500)),
            _column("TotpStep", sa.BigInteger()),
            _column("RecoveryJson", _LONG),
        ],
    }


_INDEXES: dict[str, dict[str, tuple[str, str]]] = {
    "c_LoggedJob": {
        "IX_c_LoggedJob_JobId": ("JobId", ""),
        "IX_c_LoggedJob_JobName_ID": ("JobName, ID", ""),
        "IX_c_LoggedJob_StartedAt": ("StartedAt, ID", ""),
    },
    "c_JobRun": {
        "IX_c_JobRun_CompletedAt": ("CompletedAt, Id", ""),
        "IX_c_JobRun_State_Id": ("State, Id DESC", ""),
        "IX_c_JobRun_JobName_State_Id": ("JobName, State, Id DESC", ""),
        "IX_c_JobRun_UnknownSince": ("UnknownSince", "UnknownSince IS NOT NULL"),
        "IX_c_JobRun_Cause": ("Cause, CompletedAt", "Cause IS NOT NULL"),
        "IX_c_JobRun_Open": ("Cause, Id", "Cause IS NOT NULL AND HandledAt IS NULL"),
        "IX_c_JobRun_RetryOf": ("State, RetryOf", "RetryOf IS NOT NULL"),
        "IX_c_JobRun_BatchId": ("BatchId, State", "BatchId IS NOT NULL"),
        "IX_c_JobRun_LimitKey": (
            "LimitKey, State, Priority DESC, DueAt, Id",
            "LimitKey IS NOT NULL AND CompletedAt IS NULL",
        ),
        "IX_c_JobRun_ExpiresAt": ("ExpiresAt", "ExpiresAt IS NOT NULL AND CompletedAt IS NULL"),
        "IX_c_JobRun_RoomAt": ("LimitKey", "RoomAt IS NOT NULL"),
        "IX_c_JobRun_Step": ("BatchId, Step, State", "Step IS NOT NULL AND CompletedAt IS NULL"),
    },
    "c_JobAudit": {
        "IX_c_JobAudit_RunId": ("RunId", ""),
        "IX_c_JobAudit_JobName_Id": ("JobName, Id DESC", ""),
        "IX_c_JobAudit_At": ("At, Id", ""),
        "IX_c_JobAudit_Unsealed": ("Id", "Seq IS NULL AND Hash IS NOT NULL"),
    },
    "c_JobStat": {"IX_c_JobStat_BeginsAt": ("BeginsAt", "")},
    "c_JobDelivery": {
        "IX_c_JobDelivery_DueAt": ("DueAt", "DueAt IS NOT NULL"),
        "IX_c_JobDelivery_WebhookId_Id": ("WebhookId, Id DESC", ""),
    },
    "c_JobBatch": {
        "IX_c_JobBatch_ParentId": ("ParentId", ""),
        "IX_c_JobBatch_State": ("State, Id", ""),
    },
    "c_JobLink": {"IX_c_JobLink_Parent": ("ParentKind, ParentId", "")},
    "c_JobUnique": {"IX_c_JobUnique_RunId": ("RunId", "")},
    "c_JobIdempotency": {"IX_c_JobIdempotency_RunId": ("RunId", "")},
    "c_JobBlob": {"IX_c_JobBlob_RunId": ("RunId", "")},
}
"""Index columns and condition, by table and index."""
_REPLACED_INDEX = "IX_c_JobRun_JobName_State"
"""An index of 0.1; ``IX_c_JobRun_JobName_State_Id`` serves its queries."""
_AUDIT_ORDER = "UQ_c_JobAudit_Seq"
_NOTICE_KEY = "UQ_c_JobNotice_Key"

_NOW = {"sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'", "mssql": "SYSUTCDATETIME()"}

_TRIGRAMS_SINCE = (3, 34)
_SQLITE_INDEX = (
    "CREATE VIRTUAL TABLE c_JobText USING fts5(Body, tokenize = 'trigram', detail = none)"
)
_SQLITE = (
    """
    CREATE TRIGGER TR_c_JobRun_Ended AFTER UPDATE OF CompletedAt, JobName, State, Message ON c_JobRun
    WHEN NEW.CompletedAt IS NOT NULL
    BEGIN INSERT OR IGNORE INTO c_JobTextDue (RunId) VALUES (NEW.Id); END
    """,
    """
    CREATE TRIGGER TR_c_JobRun_Born AFTER INSERT ON c_JobRun WHEN NEW.CompletedAt IS NOT NULL
    BEGIN INSERT OR IGNORE INTO c_JobTextDue (RunId) VALUES (NEW.Id); END
    """,
    """
    CREATE TRIGGER TR_c_JobRun_Gone AFTER DELETE ON c_JobRun
    BEGIN INSERT OR IGNORE INTO c_JobTextDue (RunId) VALUES (OLD.Id); END
    """,
)
_POSTGRESQL = (
    """
    CREATE TABLE c_JobText (
        RunId bigint NOT NULL CONSTRAINT PK_c_JobText PRIMARY KEY, Grams smallint ARRAY NOT NULL
    )
    """,
    "CREATE INDEX IX_c_JobText_Grams ON c_JobText USING gin (Grams)",
    """
    CREATE FUNCTION c_JobTextNote() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            INSERT INTO c_JobTextDue (RunId) VALUES (OLD.Id) ON CONFLICT DO NOTHING;
        ELSE
            INSERT INTO c_JobTextDue (RunId) VALUES (NEW.Id) ON CONFLICT DO NOTHING;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER TR_c_JobRun_Ended AFTER INSERT OR UPDATE OF CompletedAt, JobName, State, Message ON c_JobRun
    FOR EACH ROW WHEN (NEW.CompletedAt IS NOT NULL) EXECUTE FUNCTION c_JobTextNote()
    """,
    """
    CREATE TRIGGER TR_c_JobRun_Gone AFTER DELETE ON c_JobRun FOR EACH ROW EXECUTE FUNCTION c_JobTextNote()
    """,
)


def upgrade() -> None:
    """Upgrade from 0.1; rows of 0.1 stay as they are."""
    for table, columns in _added().items():
        for column in columns:
            op.add_column(_name(table), column)
    for new in metadata.sorted_tables:
        op.execute(CreateTable(new))
    for table, indexes in _INDEXES.items():
        for index, (expressions, where) in indexes.items():
            _create_index(index, table, expressions, where)
    _create_index(_NOTICE_KEY, "c_JobNotice", "NoticeKey", unique=True)
    op.create_index(
        _name(_AUDIT_ORDER),
        _name("c_JobAudit"),
        [sa.text("Seq")],
        unique=True,
        mssql_where=sa.text("Seq IS NOT NULL"),  # SQL Server takes two NULLs for equal
    )
    op.drop_index(_name(_REPLACED_INDEX), _name("c_JobRun"))
    _create_text_index()
    _note_newest("uncounted attempts", "c_LoggedJob", "ID")
    _note_newest("uncounted runs", "c_JobRun", "Id")


def downgrade() -> None:
    """Go back to 0.1. Runs, history, users and the audit stay; all other data of 0.2 is lost."""
    _drop_text_index()
    _create_index(_REPLACED_INDEX, "c_JobRun", "JobName, State")
    op.drop_index(_name(_AUDIT_ORDER), _name("c_JobAudit"))
    for table, indexes in _INDEXES.items():
        if table not in metadata.tables:
            for index in indexes:
                op.drop_index(_name(index), _name(table))
    for new in reversed(metadata.sorted_tables):
        op.drop_table(new.name)
    for table, columns in _added().items():
        for column in reversed(columns):
            has_default = column.server_default is not None
            op.drop_column(_name(table), column.name, mssql_drop_default=has_default)


def _create_index(
    name: str, table: str, expressions: str, where: str = "", *, unique: bool = False
) -> None:
    condition = sa.text(where) if where else None
    op.create_index(
        _name(name),
        _name(table),
        [sa.text(expression) for expression in expressions.split(", ")],
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
        mssql_where=condition,
    )


def _note_newest(setting: str, table: str, key: str) -> None:
    """Store the newest key of the rows of 0.1 in a setting. Nodes count or index these rows later, in short steps."""
    now = _NOW.get(op.get_context().dialect.name, "CURRENT_TIMESTAMP")
    op.execute(
        f"INSERT INTO c_JobSetting (Name, Value, UpdatedAt) "  # noqa: S608 - constants of this file
        f"SELECT '{setting}', CAST(Newest AS VARCHAR(20)), {now} "
        f"FROM (SELECT max({key}) AS Newest FROM {table}) AS found WHERE Newest IS NOT NULL"
    )


def _create_text_index() -> None:
    """Create the index of runs' texts and the triggers that note changed runs. SQL Server has no text index."""
    dialect = op.get_context().dialect.name
    if dialect == "mssql":
        return
    _execute(_POSTGRESQL if dialect == "postgresql" else _SQLITE)
    if dialect == "sqlite" and _has_trigrams():
        op.execute(_SQLITE_INDEX)
    _note_newest("unindexed runs", "c_JobRun", "Id")


def _drop_text_index() -> None:
    dialect = op.get_context().dialect.name
    if dialect == "postgresql":
        _execute(f"DROP TRIGGER TR_c_JobRun_{name} ON c_JobRun" for name in ("Gone", "Ended"))
        _execute(("DROP FUNCTION c_JobTextNote()", "DROP TABLE c_JobText"))
    elif dialect == "sqlite":
        _execute(f"DROP TRIGGER TR_c_JobRun_{name}" for name in ("Gone", "Born", "Ended"))
        op.execute("DROP TABLE IF EXISTS c_JobText")


def _has_trigrams() -> bool:
    """Return whether this SQLite has the trigram tokenizer; scripts are made for a SQLite that has it."""
    if op.get_context().as_sql:
        return True
    bind = op.get_bind()
    version = str(bind.scalar(sa.text("SELECT sqlite_version()"))).split(".")
    has_fts5 = bind.scalar(sa.text("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'"))
    return has_fts5 is not None and tuple(map(int, version[:2])) >= _TRIGRAMS_SINCE


def _execute(statements: Iterable[str]) -> None:
    for statement in statements:
        op.execute(statement)
