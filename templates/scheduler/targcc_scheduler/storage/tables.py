"""Every table the scheduler keeps, as SQLAlchemy Core.

Names are the ones TARGCC used and stay unquoted in SQL, so ``SELECT * FROM c_LoggedJob ORDER BY StartedAt DESC`` works on
SQLite, PostgreSQL (which folds them to lower case) and SQL Server. Instants are UTC; Python sees them with their zone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import quoted_name
from sqlalchemy.types import TypeDecorator, TypeEngine

metadata = sa.MetaData()


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: aware in Python, UTC in the database, refused when naive."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column type of each database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.DateTime(timezone=True))
        if dialect.name == "mssql":
            from sqlalchemy.dialects import mssql

            return dialect.type_descriptor(mssql.DATETIME2(6))  # type: ignore[no-untyped-call]  # as SQLAlchemy has it
        return dialect.type_descriptor(sa.DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """What is sent to the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"an instant needs a time zone: {value!r}")
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(
        self, value: datetime | None, dialect: Dialect  # noqa: ARG002 - SQLAlchemy names it
    ) -> datetime | None:
        """What Python sees."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class LongText(TypeDecorator[str]):
    """Text of any length."""

    impl = sa.UnicodeText
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The column type of each database; SQL Server's ``NTEXT`` is deprecated."""
        if dialect.name == "mssql":
            from sqlalchemy.dialects import mssql

            return dialect.type_descriptor(mssql.NVARCHAR(None))
        return dialect.type_descriptor(sa.UnicodeText())


_LONG = LongText()
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
    _column("StartedAt", UtcDateTime, nullable=False),
    _column("CompletedAt", UtcDateTime),
    _column("DurationMs", sa.Integer),
    _column("Success", sa.Boolean, nullable=False),
    _column("ResultMessage", _LONG),
    _column("ErrorMessage", _LONG),
    _column("StackTrace", _LONG),
    _column("ServerName", _text(100)),
    _column("TriggeredBy", _text(100)),
    _column("MemoryUsedMB", sa.Integer),
    _column("CpuTimeMs", sa.Integer),
    _column("CreatedAt", UtcDateTime, nullable=False, server_default=sa.func.current_timestamp()),
    _column("Attempt", sa.Integer, nullable=False, server_default="1"),
    _column("ScheduledFor", UtcDateTime),
    _column("MetadataJson", _LONG),
)
"""One row for each finished attempt; the seed's columns, then ``Attempt``, ``ScheduledFor`` and ``MetadataJson``."""

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
    _column("LastAlertSent", UtcDateTime),
    sa.UniqueConstraint(_name("JobName"), name=_name("UQ_c_JobAlert_JobName")),
)
"""Who is told about a job; a row here goes before what the job's decorator says. Durations are milliseconds."""

job_run = _table(
    "c_JobRun",
    _column("Id", _BIG_ID, primary_key=True, autoincrement=True),
    _column("JobName", _text(100), nullable=False),
    _column("JobType", _text(50), nullable=False),
    _column("State", _text(20), nullable=False),
    _column("Queue", _text(50), nullable=False),
    _column("Priority", sa.Integer, nullable=False, server_default="0"),
    _column("ArgumentsJson", _LONG),
    _column("ScheduledFor", UtcDateTime),
    _column("DueAt", UtcDateTime, nullable=False),
    _column("CreatedAt", UtcDateTime, nullable=False),
    _column("StartedAt", UtcDateTime),
    _column("CompletedAt", UtcDateTime),
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
"""One row for each run and its state now; ``UQ_c_JobRun_Slot`` allows one a slot. ``ScheduledFor`` is the slot
of a recurring job, else NULL; ``DueAt`` is when it may start (a retry moves it); ``Attempt`` counts the attempts begun; ``LifeLog`` has one line ``<instant> <state> <note>`` a transition.
"""

job_schedule = _table(
    "c_JobSchedule",
    _column("JobName", _text(100), primary_key=True),
    _column("ScheduleText", _text(300)),
    _column("LastSlot", UtcDateTime),
    _column("PausedBy", _text(100)),
    _column("PausedAt", UtcDateTime),
    _column("PauseReason", _text(500)),
    _column("PausedUntil", UtcDateTime),
)
"""One row for each job that has been scheduled or paused. Slots up to ``LastSlot`` are handled; a job whose
``ScheduleText`` (with its zone) changes starts from now. Paused: ``PausedAt`` is set and ``PausedUntil`` has not passed.
"""

job_queue = _table(
    "c_JobQueue",
    _column("Name", _text(50), primary_key=True),
    _column("PausedBy", _text(100)),
    _column("PausedAt", UtcDateTime),
    _column("PauseReason", _text(500)),
    _column("PausedUntil", UtcDateTime),
)
"""One row for each queue that has ever been paused."""

job_server = _table(
    "c_JobServer",
    _column("Id", _text(100), primary_key=True),
    _column("Name", _text(100), nullable=False),
    _column("ProcessId", sa.Integer, nullable=False),
    _column("Queues", _text(500), nullable=False),
    _column("Workers", sa.Integer, nullable=False),
    _column("Version", _text(50), nullable=False),
    _column("StartedAt", UtcDateTime, nullable=False),
    _column("HeartbeatAt", UtcDateTime, nullable=False),
    _column("StoppingAt", UtcDateTime),
)
"""One row for each node that is up; a node that stops removes its row, another removes that of a lost node."""

job_audit = _table(
    "c_JobAudit",
    _column("Id", _BIG_ID, primary_key=True, autoincrement=True),
    _column("At", UtcDateTime, nullable=False),
    _column("Actor", _text(100), nullable=False),
    _column("Action", _text(50), nullable=False),
    _column("JobName", _text(100)),
    _column("RunId", sa.BigInteger),
    _column("Detail", _LONG),
    _column("RemoteAddress", _text(100)),
)
"""Who did what, when, from where."""

job_log_line = _table(
    "c_JobLogLine",
    _column("Id", _BIG_ID, primary_key=True, autoincrement=True),
    _column("RunId", sa.BigInteger, nullable=False),
    _column("Attempt", sa.Integer, nullable=False),
    _column("At", UtcDateTime, nullable=False),
    _column("Level", _text(10), nullable=False),
    _column("Message", _LONG, nullable=False),
)
"""What a run wrote with ``ctx.log``."""

job_step = _table(
    "c_JobStep",
    _column("RunId", sa.BigInteger, primary_key=True, autoincrement=False),
    _column("Name", _text(200), primary_key=True),
    _column("ResultJson", _LONG, nullable=False),
    _column("Attempt", sa.Integer, nullable=False),
    _column("CompletedAt", UtcDateTime, nullable=False),
    _column("DurationMs", sa.Integer, nullable=False),
)
"""The result of each finished step of a run; a later attempt reads it instead of doing the step again."""

job_user = _table(
    "c_JobUser",
    _column("Name", _text(100), primary_key=True),
    _column("PasswordHash", _text(200), nullable=False),
    _column("Role", _text(20), nullable=False),
    _column("CreatedAt", UtcDateTime, nullable=False),
    _column("LastLoginAt", UtcDateTime),
)
"""Who may sign in. ``PasswordHash`` is argon2."""

job_token = _table(
    "c_JobToken",
    _column("Name", _text(100), primary_key=True),
    _column("TokenHash", _text(64), nullable=False),
    _column("Role", _text(20), nullable=False),
    _column("CreatedBy", _text(100), nullable=False),
    _column("CreatedAt", UtcDateTime, nullable=False),
    _column("LastUsedAt", UtcDateTime),
    _column("ExpiresAt", UtcDateTime),
    sa.UniqueConstraint(_name("TokenHash"), name=_name("UQ_c_JobToken_TokenHash")),
)
"""API tokens; only the SHA-256 of a token is kept."""

job_session = _table(
    "c_JobSession",
    _column("TokenHash", _text(64), primary_key=True),
    _column("UserName", _text(100), nullable=False),
    _column("Role", _text(20), nullable=False),
    _column("CsrfToken", _text(64), nullable=False),
    _column("CreatedAt", UtcDateTime, nullable=False),
    _column("ExpiresAt", UtcDateTime, nullable=False),
)
"""Browsers that are signed in."""

sa.Index(
    _name("IX_c_LoggedJob_JobName_StartedAt"), logged_job.c.JobName, logged_job.c.StartedAt.desc()
)
sa.Index(_name("IX_c_LoggedJob_JobName_ID"), logged_job.c.JobName, logged_job.c.ID)
sa.Index(_name("IX_c_LoggedJob_StartedAt"), logged_job.c.StartedAt, logged_job.c.ID)
sa.Index(_name("IX_c_LoggedJob_JobId"), logged_job.c.JobId)
sa.Index(_name("IX_c_JobRun_CompletedAt"), job_run.c.CompletedAt, job_run.c.Id)
sa.Index(_name("IX_c_JobRun_State_Id"), job_run.c.State, job_run.c.Id.desc())
sa.Index(_name("IX_c_JobAudit_RunId"), job_audit.c.RunId)
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
