"""All tables, as they were in the first version.

Revision: 0001, after nothing.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql import quoted_name

revision = "0001"
down_revision = None
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


def _table(name: str, *items: Any) -> sa.Table:
    table = sa.Table(_name(name), metadata, *items)
    table.primary_key.name = _name(f"PK_{name}")
    return table


def _column(name: str, type_: Any, *items: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(_name(name), type_, *items, **options)


def _text(length: int) -> sa.Unicode:
    return sa.Unicode(length)


logged_job = _table(
    "c_LoggedJob",
    _column("ID", _BIG_ID, primary_key=True, autoincrement=True),
    _column("JobName", _text(100), nullable=False),
    _column("JobId", _text(100)),
    _column("JobType", _text(50), nullable=False),
    _column("StartedAt", _INSTANT, nullable=False),
    _column("CompletedAt", _INSTANT),
    _column("DurationMs", sa.Integer),
    _column("Success", sa.Boolean, nullable=False),
    _column("ResultMessage", _LONG),
    _column("ErrorMessage", _LONG),
    _column("StackTrace", _LONG),
    _column("ServerName", _text(100)),
    _column("TriggeredBy", _text(100)),
    _column("MemoryUsedMB", sa.Integer),
    _column("CpuTimeMs", sa.Integer),
    _column("CreatedAt", _INSTANT, nullable=False, server_default=sa.func.current_timestamp()),
    _column("Attempt", sa.Integer, nullable=False, server_default="1"),
    _column("ScheduledFor", _INSTANT),
    _column("MetadataJson", _LONG),
)

job_alert = _table(
    "c_JobAlert",
    _column("ID", sa.Integer, primary_key=True, autoincrement=True),
    _column("JobName", _text(100), nullable=False),
    _column("AlertOnFailure", sa.Boolean, nullable=False, server_default=sa.true()),
    _column("AlertOnSuccess", sa.Boolean, nullable=False, server_default=sa.false()),
    _column("AlertOnDurationExceeds", sa.Integer),
    _column("EmailRecipients", _text(500)),
    _column("SlackWebhook", _text(500)),
    _column("TeamsWebhook", _text(500)),
    _column("MaxAlertsPerHour", sa.Integer),
    _column("LastAlertSent", _INSTANT),
    sa.UniqueConstraint(_name("JobName"), name=_name("UQ_c_JobAlert_JobName")),
)

job_run = _table(
    "c_JobRun",
    _column("Id", _BIG_ID, primary_key=True, autoincrement=True),
    _column("JobName", _text(100), nullable=False),
    _column("JobType", _text(50), nullable=False),
    _column("State", _text(20), nullable=False),
    _column("Queue", _text(50), nullable=False),
    _column("Priority", sa.Integer, nullable=False, server_default="0"),
    _column("ArgumentsJson", _LONG),
    _column("ScheduledFor", _INSTANT),
    _column("DueAt", _INSTANT, nullable=False),
    _column("CreatedAt", _INSTANT, nullable=False),
    _column("StartedAt", _INSTANT),
    _column("CompletedAt", _INSTANT),
    _column("Attempt", sa.Integer, nullable=False, server_default="0"),
    _column("LostWorkers", sa.Integer, nullable=False, server_default="0"),
    _column("ServerId", _text(100)),
    _column("TriggeredBy", _text(100), nullable=False),
    _column("Message", _LONG),
    _column("BlockedBy", sa.BigInteger),
    _column("ProgressDone", sa.Float),
    _column("ProgressTotal", sa.Float),
    _column("CancelRequestedBy", _text(100)),
    _column("LifeLog", _LONG, nullable=False, server_default=""),
)

job_schedule = _table(
    "c_JobSchedule",
    _column("JobName", _text(100), primary_key=True),
    _column("ScheduleText", _text(300)),
    _column("LastSlot", _INSTANT),
    _column("PausedBy", _text(100)),
    _column("PausedAt", _INSTANT),
    _column("PauseReason", _text(500)),
    _column("PausedUntil", _INSTANT),
)

job_queue = _table(
    "c_JobQueue",
    _column("Name", _text(50), primary_key=True),
    _column("PausedBy", _text(100)),
    _column("PausedAt", _INSTANT),
    _column("PauseReason", _text(500)),
    _column("PausedUntil", _INSTANT),
)

job_server = _table(
    "c_JobServer",
    _column("Id", _text(100), primary_key=True),
    _column("Name", _text(100), nullable=False),
    _column("ProcessId", sa.Integer, nullable=False),
    _column("Queues", _text(500), nullable=False),
    _column("Workers", sa.Integer, nullable=False),
    _column("Version", _text(50), nullable=False),
    _column("StartedAt", _INSTANT, nullable=False),
    _column("HeartbeatAt", _INSTANT, nullable=False),
    _column("StoppingAt", _INSTANT),
)

job_audit = _table(
    "c_JobAudit",
    _column("Id", _BIG_ID, primary_key=True, autoincrement=True),
    _column("At", _INSTANT, nullable=False),
    _column("Actor", _text(100), nullable=False),
    _column("Action", _text(50), nullable=False),
    _column("JobName", _text(100)),
    _column("RunId", sa.BigInteger),
    _column("Detail", _LONG),
    _column("RemoteAddress", _text(100)),
)

job_log_line = _table(
    "c_JobLogLine",
    _column("Id", _BIG_ID, primary_key=True, autoincrement=True),
    _column("RunId", sa.BigInteger, nullable=False),
    _column("Attempt", sa.Integer, nullable=False),
    _column("At", _INSTANT, nullable=False),
    _column("Level", _text(10), nullable=False),
    _column("Message", _LONG, nullable=False),
)

job_step = _table(
    "c_JobStep",
    _column("RunId", sa.BigInteger, primary_key=True, autoincrement=False),
    _column("Name", _text(200), primary_key=True),
    _column("ResultJson", _LONG, nullable=False),
    _column("Attempt", sa.Integer, nullable=False),
    _column("CompletedAt", _INSTANT, nullable=False),
    _column("DurationMs", sa.Integer, nullable=False),
)

job_user = _table(
    "c_JobUser",
    _column("Name", _text(100), primary_key=True),
    _column("PasswordHash", _text(200), nullable=False),
    _column("Role", _text(20), nullable=False),
    _column("CreatedAt", _INSTANT, nullable=False),
    _column("LastLoginAt", _INSTANT),
)

job_token = _table(
    "c_JobToken",
    _column("Name", _text(100), primary_key=True),
    _column("TokenHash", _text(64), nullable=False),
    _column("Role", _text(20), nullable=False),
    _column("CreatedBy", _text(100), nullable=False),
    _column("CreatedAt", _INSTANT, nullable=False),
    _column("LastUsedAt", _INSTANT),
    _column("ExpiresAt", _INSTANT),
    sa.UniqueConstraint(_name("TokenHash"), name=_name("UQ_c_JobToken_TokenHash")),
)

job_session = _table(
    "c_JobSession",
    _column("TokenHash", _text(64), primary_key=True),
    _column("UserName", _text(100), nullable=False),
    _column("Role", _text(20), nullable=False),
    _column("CsrfToken", _text(64), nullable=False),
    _column("CreatedAt", _INSTANT, nullable=False),
    _column("ExpiresAt", _INSTANT, nullable=False),
)

sa.Index(
    _name("IX_c_LoggedJob_JobName_StartedAt"), logged_job.c.JobName, logged_job.c.StartedAt.desc()
)
sa.Index(
    _name("IX_c_LoggedJob_Success"),
    logged_job.c.Success,
    logged_job.c.StartedAt.desc(),
    sqlite_where=logged_job.c.Success == sa.false(),
    postgresql_where=logged_job.c.Success == sa.false(),
    mssql_where=logged_job.c.Success == sa.false(),
)
sa.Index(
    _name("UQ_c_JobRun_Slot"),
    job_run.c.JobName,
    job_run.c.ScheduledFor,
    unique=True,
    mssql_where=job_run.c.ScheduledFor.is_not(None),  # SQL Server takes two NULLs for equal
)
sa.Index(_name("IX_c_JobLogLine_RunId"), job_log_line.c.RunId)
sa.Index(_name("IX_c_JobRun_State_DueAt"), job_run.c.State, job_run.c.DueAt)
sa.Index(
    _name("IX_c_JobRun_Claim"),
    job_run.c.State,
    job_run.c.Queue,
    job_run.c.Priority.desc(),
    job_run.c.DueAt,
    job_run.c.Id,
)
sa.Index(_name("IX_c_JobRun_JobName_State"), job_run.c.JobName, job_run.c.State)
sa.Index(_name("IX_c_JobRun_JobName_Id"), job_run.c.JobName, job_run.c.Id.desc())
sa.Index(_name("IX_c_JobRun_CreatedAt"), job_run.c.CreatedAt)


def upgrade() -> None:
    """Go to this version."""
    for table in metadata.sorted_tables:
        op.execute(CreateTable(table))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            op.execute(CreateIndex(index))


def downgrade() -> None:
    """Go back to an empty database; history and runs are lost."""
    for table in reversed(metadata.sorted_tables):
        op.drop_table(table.name)
