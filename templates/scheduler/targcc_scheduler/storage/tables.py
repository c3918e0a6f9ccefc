"""Every table the scheduler keeps, as SQLAlchemy Core.

Names are the ones TARGCC used and stay unquoted in SQL, so ``SELECT * FROM c_LoggedJob ORDER BY StartedAt DESC`` works on
SQLite, PostgreSQL (which folds them to lower case) and SQL Server. Instants are UTC; Python sees them with their zone.
"""

from __future__ import annotations

import sqlalchemy as sa

from .schema.alerts import job_alert_thread, job_notice
from .schema.columns import BIG_ID as _BIG_ID
from .schema.columns import LONG as _LONG
from .schema.columns import LongText, UtcDateTime, metadata
from .schema.columns import column as _column
from .schema.columns import named as _name
from .schema.columns import only_where as _only_where
from .schema.columns import table as _table
from .schema.columns import text as _text
from .schema.failures import job_concern, job_failure
from .schema.operating import job_bulk, job_bulk_run, job_maintenance
from .schema.overrides import job_override
from .schema.people.accounts import job_session, job_token, job_user
from .schema.requests import job_request
from .schema.roles import job_role
from .schema.texts import job_text_due, job_view
from .schema.tied.batches import job_batch, job_link
from .schema.tied.blobs import job_blob
from .schema.tied.keys import job_idempotency, job_limit, job_unique
from .schema.webhooks import job_delivery, job_webhook

__all__ = [  # what other modules take from here
    "LongText",
    "UtcDateTime",
    "job_alert",
    "job_alert_thread",
    "job_audit",
    "job_batch",
    "job_blob",
    "job_bulk",
    "job_bulk_run",
    "job_concern",
    "job_delivery",
    "job_failure",
    "job_idempotency",
    "job_limit",
    "job_link",
    "job_log_line",
    "job_maintenance",
    "job_notice",
    "job_override",
    "job_owner",
    "job_queue",
    "job_release",
    "job_request",
    "job_role",
    "job_run",
    "job_schedule",
    "job_server",
    "job_session",
    "job_setting",
    "job_shadow",
    "job_stat",
    "job_step",
    "job_text_due",
    "job_token",
    "job_unique",
    "job_user",
    "job_view",
    "job_webhook",
    "logged_job",
    "metadata",
]

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
    _column("UnknownSince", UtcDateTime),
    _column("RefusedBy", _LONG),
    _column("StopNote", _LONG),
    _column("Cause", _text(32)),
    _column("HandledAt", UtcDateTime),
    _column("HandledBy", _text(100)),
    _column("Handling", _text(500)),
    _column("RetryOf", sa.BigInteger),
    _column("Ties", sa.Integer, nullable=False, server_default="0"),
    _column("LimitKey", _text(200)),
    _column("Weight", sa.Integer, nullable=False, server_default="1"),
    _column("RoomAt", UtcDateTime),
    _column("BatchId", sa.BigInteger),
    _column("Step", _text(100)),
    _column("ExpiresAt", UtcDateTime),
    _column("UniqueKey", _text(200)),
    _column("Trace", _text(500)),
)
"""One row for each run and its state now; ``UQ_c_JobRun_Slot`` allows one a slot. ``ScheduledFor`` is the slot
of a recurring job, else NULL; ``DueAt`` is when it may start (a retry moves it); ``Attempt`` counts the attempts begun; ``LifeLog`` has one line ``<instant> <state> <note>`` a transition.
A run whose job or arguments a node does not know waits since ``UnknownSince``; ``RefusedBy`` names who was asked. ``StopNote`` says why
a running run was told to stop. A run that failed or was missed has a ``Cause`` (``c_JobFailure``) and waits for a person until ``HandledAt``;
``RetryOf`` is the run that a person had done again by this one. ``Ties`` says what hangs on it (``ties/tie.py``): ``LimitKey`` and ``Weight``
of its limit, and ``RoomAt``, since when it has room there while it waits for a worker; ``BatchId`` and ``Step`` of its batch or flow; ``Trace`` is the W3C ``traceparent`` of who enqueued it.
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
    _column("Release", _text(100)),
)
"""One row for each job that has been scheduled or paused. Slots up to ``LastSlot`` are handled; a job whose
``ScheduleText`` (with its zone) changes starts from now; ``Release`` is the release it came from. Paused: ``PausedAt`` is set and ``PausedUntil`` has not passed.
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
    _column("Release", _text(100)),
    _column("Fingerprint", _text(64)),
    _column("ClockOffsetMs", sa.Integer),
    _column("StuckSince", UtcDateTime),
    _column("StuckIn", _LONG),
    _column("DrainRequestedBy", _text(100)),
    _column("DrainRequestedAt", UtcDateTime),
)
"""One row for each node that is up; a node that stops removes its row, another removes that of a lost node. ``Release`` and
``Fingerprint`` say which definitions it has; ``ClockOffsetMs`` is its clock less the database's; ``StuckIn`` names what blocks it.
"""

job_release = _table(
    "c_JobRelease",
    _column("Release", _text(100), primary_key=True),
    _column("Fingerprint", _text(64), nullable=False),
    _column("FirstSeenAt", UtcDateTime, nullable=False),
    _column("ChosenBy", _text(100)),
    _column("ChosenAt", UtcDateTime),
)
"""One row for each release whose nodes have registered. The newest decides about schedules, unless a person has chosen one."""

job_stat = _table(
    "c_JobStat",
    _column("JobName", _text(100), primary_key=True),
    _column("BeginsAt", UtcDateTime, primary_key=True),
    _column("Outcome", _text(20), primary_key=True),
    _column("Bucket", sa.Integer, primary_key=True, autoincrement=False),
    _column("Shard", sa.Integer, primary_key=True, autoincrement=False),
    _column("Count", sa.Integer, nullable=False),
    _column("Retried", sa.Integer, nullable=False, server_default="0"),
    _column("SumMs", sa.BigInteger, nullable=False, server_default="0"),
    _column("MaxMs", sa.Integer, nullable=False, server_default="0"),
)
"""How runs ended, added up by job, quarter of an hour, outcome and duration. ``Bucket`` is the logarithmic class of the duration, -1 without one;
``Shard`` keeps nodes from waiting for each other: the sum over all is what counts.
"""

job_setting = _table(
    "c_JobSetting",
    _column("Name", _text(100), primary_key=True),
    _column("Value", _LONG, nullable=False),
    _column("UpdatedAt", UtcDateTime, nullable=False),
)
"""What the database knows of itself, such as its own id."""

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
    _column("Seq", sa.BigInteger),
    _column("Hash", _text(64)),
)
"""Who did what, when, from where. ``Seq`` and ``Hash`` make the rows a chain: see ``trail/links.py``."""

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

job_owner = _table(
    "c_JobOwner",
    _column("JobName", _text(100), primary_key=True),
    _column("Owner", _text(10), nullable=False),
    _column("OldKey", _text(50)),
    _column("Runner", _text(50)),
    _column("Since", UtcDateTime, nullable=False),
    _column("ChangedBy", _text(100), nullable=False),
    _column("Reason", _text(500)),
    _column("Step", _text(20)),
    _column("Mark", _text(50)),
    _column("NextSlot", UtcDateTime),
)
"""One row for each job that the old server has or had: see ``owners/values.py``. A job without a row is run from here."""

job_shadow = _table(
    "c_JobShadow",
    _column("JobName", _text(100), primary_key=True),
    _column("Slot", UtcDateTime, primary_key=True),
)
"""The slots that came while a job's owner was ``shadow``: when it would have run from here."""

sa.Index(
    _name("IX_c_LoggedJob_JobName_StartedAt"), logged_job.c.JobName, logged_job.c.StartedAt.desc()
)
sa.Index(_name("IX_c_LoggedJob_JobName_ID"), logged_job.c.JobName, logged_job.c.ID)
sa.Index(_name("IX_c_LoggedJob_StartedAt"), logged_job.c.StartedAt, logged_job.c.ID)
sa.Index(_name("IX_c_LoggedJob_JobId"), logged_job.c.JobId)
sa.Index(_name("IX_c_JobRun_CompletedAt"), job_run.c.CompletedAt, job_run.c.Id)
sa.Index(_name("IX_c_JobRun_State_Id"), job_run.c.State, job_run.c.Id.desc())
sa.Index(_name("IX_c_JobStat_BeginsAt"), job_stat.c.BeginsAt)
_only_where(
    sa.Index(_name("IX_c_JobRun_UnknownSince"), job_run.c.UnknownSince),
    job_run.c.UnknownSince.is_not(None),
)
sa.Index(_name("IX_c_JobAudit_RunId"), job_audit.c.RunId)
sa.Index(_name("IX_c_JobAudit_JobName_Id"), job_audit.c.JobName, job_audit.c.Id.desc())
sa.Index(_name("IX_c_JobAudit_At"), job_audit.c.At, job_audit.c.Id)
_only_where(
    sa.Index(_name("UQ_c_JobAudit_Seq"), job_audit.c.Seq, unique=True),
    job_audit.c.Seq.is_not(None),
    databases=("mssql",),  # SQL Server takes two NULLs for equal
)
_only_where(
    sa.Index(_name("IX_c_JobAudit_Unsealed"), job_audit.c.Id),
    sa.and_(job_audit.c.Seq.is_(None), job_audit.c.Hash.is_not(None)),
)
_only_where(
    sa.Index(_name("IX_c_LoggedJob_Success"), logged_job.c.Success, logged_job.c.StartedAt.desc()),
    logged_job.c.Success == sa.false(),
)
_only_where(
    sa.Index(_name("UQ_c_JobRun_Slot"), job_run.c.JobName, job_run.c.ScheduledFor, unique=True),
    job_run.c.ScheduledFor.is_not(None),
    databases=("mssql",),  # SQL Server takes two NULLs for equal
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
sa.Index(
    _name("IX_c_JobRun_JobName_State_Id"), job_run.c.JobName, job_run.c.State, job_run.c.Id.desc()
)
sa.Index(_name("IX_c_JobRun_JobName_Id"), job_run.c.JobName, job_run.c.Id.desc())
sa.Index(_name("IX_c_JobRun_CreatedAt"), job_run.c.CreatedAt)
_only_where(
    sa.Index(_name("IX_c_JobRun_Cause"), job_run.c.Cause, job_run.c.CompletedAt),
    job_run.c.Cause.is_not(None),
)
_only_where(
    sa.Index(_name("IX_c_JobRun_Open"), job_run.c.Cause, job_run.c.Id),
    sa.and_(job_run.c.Cause.is_not(None), job_run.c.HandledAt.is_(None)),
)
_only_where(
    sa.Index(_name("IX_c_JobRun_RetryOf"), job_run.c.State, job_run.c.RetryOf),
    job_run.c.RetryOf.is_not(None),
)
_only_where(
    sa.Index(_name("IX_c_JobRun_BatchId"), job_run.c.BatchId, job_run.c.State),
    job_run.c.BatchId.is_not(None),
)
_only_where(
    sa.Index(
        _name("IX_c_JobRun_LimitKey"),
        job_run.c.LimitKey,
        job_run.c.State,
        job_run.c.Priority.desc(),
        job_run.c.DueAt,
        job_run.c.Id,
    ),
    sa.and_(job_run.c.LimitKey.is_not(None), job_run.c.CompletedAt.is_(None)),
)
_only_where(
    sa.Index(_name("IX_c_JobRun_RoomAt"), job_run.c.LimitKey), job_run.c.RoomAt.is_not(None)
)
_only_where(
    sa.Index(_name("IX_c_JobRun_Step"), job_run.c.BatchId, job_run.c.Step, job_run.c.State),
    sa.and_(job_run.c.Step.is_not(None), job_run.c.CompletedAt.is_(None)),
)
_only_where(
    sa.Index(_name("IX_c_JobRun_ExpiresAt"), job_run.c.ExpiresAt),
    sa.and_(job_run.c.ExpiresAt.is_not(None), job_run.c.CompletedAt.is_(None)),
)
