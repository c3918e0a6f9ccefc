"""Every table of the scheduler, as SQLAlchemy Core.

TARGCC's names are kept and stay unquoted in SQL, so ``SELECT * FROM c_LoggedJob ORDER BY StartedAt DESC`` works on SQLite, PostgreSQL (which
folds names to lower case) and SQL Server. Instants are UTC; Python sees instants with their zone.
"""

from __future__ import annotations

import sqlalchemy as sa

from .columns import (
    BIG_ID,
    LONG,
    LongText,
    UtcDateTime,
    column,
    metadata,
    named,
    only_where,
    table,
    text,
)
from .columns import BIG_ID as _BIG_ID
from .columns import LONG as _LONG
from .columns import column as _column
from .columns import named as _name
from .columns import only_where as _only_where
from .columns import table as _table
from .columns import text as _text

# Tables of alerts: open alert threads, and messages to deliver.

job_alert_thread = table(
    "c_JobAlertThread",
    column("Thread", text(100), primary_key=True),
    column("Kind", text(20), nullable=False),
    column("JobName", text(100), nullable=False),
    column("About", text(200), nullable=False),
    column("Title", text(300), nullable=False),
    column("FirstAt", UtcDateTime, nullable=False),
    column("LastAt", UtcDateTime, nullable=False),
    column("FirstRunId", sa.BigInteger),
    column("LastRunId", sa.BigInteger),
    column("Number", sa.Integer, nullable=False),
    column("TargetsJson", LONG, nullable=False),
    column("EscalatesFrom", UtcDateTime),
    column("Step", sa.Integer, nullable=False, server_default="0"),
)
"""One row for each error group, expectation or node with an open alert, until it recovers. ``Number`` counts the occurrences since
``FirstAt``; ``TargetsJson`` holds the notified recipients. Escalation steps are timed from ``EscalatesFrom``; ``Step`` of them are done.
"""

job_notice = table(
    "c_JobNotice",
    column("Id", BIG_ID, primary_key=True, autoincrement=True),
    column("NoticeKey", text(200), nullable=False),
    column("JobName", text(100), nullable=False),
    column("Channel", text(50), nullable=False),
    column("Target", LONG, nullable=False),
    column("FromCode", sa.Boolean, nullable=False),
    column("NoticeJson", LONG, nullable=False),
    column("DueAt", UtcDateTime, nullable=False),
    column("Tries", sa.Integer, nullable=False, server_default="0"),
    column("ClaimedBy", text(32)),
    column("ClaimedUntil", UtcDateTime),
)
sa.Index(named("UQ_c_JobNotice_Key"), job_notice.c.NoticeKey, unique=True)
"""Messages to send later, or to send once by any node: held alerts, recoveries, escalations, digests. A row is deleted when its message is
sent. A row that a node claimed and did not send is free again at ``ClaimedUntil``.
"""


# Tables of problems that need attention: error groups and other issues.

job_failure = table(
    "c_JobFailure",
    column("Cause", text(32), primary_key=True),
    column("JobName", text(100), nullable=False),
    column("Kind", text(200), nullable=False),
    column("Place", text(300)),
    column("Message", LONG),
    column("FirstAt", UtcDateTime, nullable=False),
    column("FirstRunId", sa.BigInteger),
    column("FirstRelease", text(100)),
    column("SnoozedBy", text(100)),
    column("SnoozedUntil", UtcDateTime),
    column("Note", text(1000)),
    column("MutedBy", text(100)),
    column("MutedAt", UtcDateTime),
    column("Assignee", text(100)),
    column("Ticket", text(500)),
)
"""One row for each error group of a job; ``Cause`` is the fingerprint of job, kind, place and normalised message. Counts and times come
from ``c_JobRun``. The group's runs do not count as open until ``SnoozedUntil``, nor while ``MutedAt`` is set.
"""

job_concern = table(
    "c_JobConcern",
    column("Subject", text(200), primary_key=True),
    column("Kind", text(30), primary_key=True),
    column("Since", UtcDateTime, nullable=False),
    column("Detail", LONG, nullable=False),
)
"""Issues other than failures, each reported once: a missed expectation of a job, a lost node, an alert that was not sent.

``Subject`` is the job or the node. A row is deleted when the issue is resolved, or dismissed by a user.
"""


# Tables of operator actions: bulk operations, maintenance windows.

job_bulk = table(
    "c_JobBulk",
    column("Id", BIG_ID, primary_key=True, autoincrement=True),
    column("Action", text(20), nullable=False),
    column("FilterJson", LONG, nullable=False),
    column("OptionsJson", LONG, nullable=False),
    column("Status", text(20), nullable=False),
    column("Total", sa.Integer, nullable=False),
    column("Done", sa.Integer, nullable=False, server_default="0"),
    column("Refused", sa.Integer, nullable=False, server_default="0"),
    column("Place", sa.BigInteger),
    column("Ceiling", sa.BigInteger, nullable=False),
    column("Actor", text(100), nullable=False),
    column("StartedAt", UtcDateTime, nullable=False),
    column("EndedAt", UtcDateTime),
    column("Undoes", sa.BigInteger),
    column("Message", LONG),
)
"""One row for each bulk operation. ``Place`` is the id of the last processed run, ``Ceiling`` the newest run id at the start;
``Undoes`` is the operation that this operation undoes.
"""

job_bulk_run = table(
    "c_JobBulkRun",
    column("BulkId", sa.BigInteger, primary_key=True, autoincrement=False),
    column("RunId", sa.BigInteger, primary_key=True, autoincrement=False),
    column("NewRunId", sa.BigInteger),
    column("Previous", text(100)),
)
"""The effect of a bulk operation on each run, for undo: the id of the rerun, or the previous value."""

job_maintenance = table(
    "c_JobMaintenance",
    column("Id", BIG_ID, primary_key=True, autoincrement=True),
    column("StartsAt", UtcDateTime, nullable=False),
    column("EndsAt", UtcDateTime, nullable=False),
    column("Queues", text(500), nullable=False),
    column("Reason", text(500), nullable=False),
    column("PlannedBy", text(100), nullable=False),
    column("PlannedAt", UtcDateTime, nullable=False),
    column("EndedBy", text(100)),
)
"""One row for each maintenance window. From ``StartsAt`` up to ``EndsAt`` no run of the window's queues starts: ``,`` means all queues,
``,critical,slow,`` means two. Ending a window early moves ``EndsAt`` and sets ``EndedBy``.
"""


# Table of job options that users override at run time.

job_override = table(
    "c_JobOverride",
    column("JobName", text(100), primary_key=True),
    column("Field", text(30), primary_key=True),
    column("ValueJson", LONG, nullable=False),
    column("SetBy", text(100), nullable=False),
    column("SetAt", UtcDateTime, nullable=False),
    column("Reason", text(500), nullable=False),
    column("EndsAt", UtcDateTime),
)
"""One row for each overridden option of a job. The row is deleted on reset, or by the scheduler at ``EndsAt``."""


# Tables of access: users, tokens, browser sessions.

job_user = table(
    "c_JobUser",
    column("Name", text(100), primary_key=True),
    column("PasswordHash", text(200), nullable=False),
    column("Role", text(20), nullable=False),
    column("CreatedAt", UtcDateTime, nullable=False),
    column("LastLoginAt", UtcDateTime),
    column("TotpSecret", text(500)),
    column("TotpStep", sa.BigInteger),
    column("RecoveryJson", LONG),
)
"""Users who may sign in. ``PasswordHash`` is argon2; ``TotpSecret`` is the second factor, ``TotpStep`` the step of the last used code, and
``RecoveryJson`` holds the digests of the unused recovery codes.
"""

job_token = table(
    "c_JobToken",
    column("Name", text(100), primary_key=True),
    column("TokenHash", text(64), nullable=False),
    column("Role", text(20), nullable=False),
    column("CreatedBy", text(100), nullable=False),
    column("CreatedAt", UtcDateTime, nullable=False),
    column("LastUsedAt", UtcDateTime),
    column("ExpiresAt", UtcDateTime),
    column("Prefix", text(20)),
    column("Account", text(100)),
    column("JobsJson", LONG),
    sa.UniqueConstraint(named("TokenHash"), name=named("UQ_c_JobToken_TokenHash")),
)
"""API tokens; only the SHA-256 of a token and its prefix are stored. ``Account`` is a program that may own several tokens; ``JobsJson``
lists the jobs that the token may start, if it may do nothing else.
"""

job_session = table(
    "c_JobSession",
    column("TokenHash", text(64), primary_key=True),
    column("UserName", text(100), nullable=False),
    column("Role", text(20), nullable=False),
    column("CsrfToken", text(64), nullable=False),
    column("CreatedAt", UtcDateTime, nullable=False),
    column("ExpiresAt", UtcDateTime, nullable=False),
    column("Device", text(200)),
    column("RemoteAddress", text(100)),
    column("LastSeenAt", UtcDateTime),
)
"""Sessions of signed-in browsers."""


# Table of requests with an idempotency key.

job_request = table(
    "c_JobRequest",
    column("Scope", text(64), primary_key=True),
    column("RequestKey", text(200), primary_key=True),
    column("Digest", text(64), nullable=False),
    column("Status", sa.Integer),
    column("Body", LONG),
    column("BegunAt", UtcDateTime, nullable=False),
)
"""One row for each request with a key, kept for a day. ``Scope`` stands for the caller and the address, ``Digest`` for the content of the
request. ``Status`` and ``Body`` are the response, NULL until the response exists.
"""


# Table of custom roles.

job_role = table(
    "c_JobRole",
    column("Name", text(20), primary_key=True),
    column("GrantsJson", LONG, nullable=False),
)
"""One row for each custom role; ``GrantsJson`` is a list of ``[role, pattern of job names]``. Users, tokens and sessions name their role in
a column of their own.
"""


# Tables of the search: runs that the text index has yet to process, and saved searches.

job_text_due = _table(
    "c_JobTextDue",
    _column("RunId", BIG_ID, primary_key=True, autoincrement=False),
)
"""Ended or deleted runs that the text index has yet to process. Triggers insert the rows, whichever program changes a run."""

job_view = _table(
    "c_JobView",
    _column("Person", _text(100), primary_key=True),
    _column("Name", _text(100), primary_key=True),
    _column("Search", _text(2000), nullable=False),
)
"""Saved searches of users, each with a name."""


# Tables of batches and flows, and of dependencies.

job_batch = table(
    "c_JobBatch",
    column("Id", BIG_ID, primary_key=True, autoincrement=True),
    column("Name", text(200), nullable=False),
    column("Kind", text(10), nullable=False),
    column("State", text(20), nullable=False),
    column("CreatedBy", text(100), nullable=False),
    column("CreatedAt", UtcDateTime, nullable=False),
    column("CompletedAt", UtcDateTime),
    column("ParentId", sa.BigInteger),
    column("Total", sa.Integer, nullable=False, server_default="0"),
    column("Pending", sa.Integer, nullable=False, server_default="0"),
    column("Failed", sa.Integer, nullable=False, server_default="0"),
    column("CancelledBy", text(100)),
    column("DefinitionJson", LONG),
    column("ArgumentsJson", LONG),
)
"""One row for each batch or flow. ``Pending`` counts the unfinished runs and inner batches, ``Failed`` those that did not succeed. For a
flow both count steps; ``DefinitionJson`` holds the steps as the release defined them at the start, with the status of each.
"""

job_link = table(
    "c_JobLink",
    column("ChildId", sa.BigInteger, primary_key=True, autoincrement=False),
    column("ParentKind", text(10), primary_key=True),
    column("ParentId", sa.BigInteger, primary_key=True, autoincrement=False),
    column("Condition", text(10), nullable=False),
    column("Quorum", text(10), nullable=False),
    column("Otherwise", text(10), nullable=False),
    column("Outcome", text(20)),
)
"""A dependency of a run on another run or a batch. The run may start when the parents end as ``Condition`` says (success, failure, finish):
``all`` of the parents or ``any``, by ``Quorum``. ``Otherwise`` says whether the run is then discarded, or keeps waiting. ``Outcome`` is
the final state of the parent.
"""

sa.Index(named("IX_c_JobLink_Parent"), job_link.c.ParentKind, job_link.c.ParentId)
sa.Index(named("IX_c_JobBatch_ParentId"), job_batch.c.ParentId)
sa.Index(named("IX_c_JobBatch_State"), job_batch.c.State, job_batch.c.Id)


# Table of content that is too large for the row of a run.

job_blob = table(
    "c_JobBlob",
    column("Id", text(32), primary_key=True),
    column("RunId", sa.BigInteger),
    column("Kind", text(20), nullable=False),
    column("Name", text(200), nullable=False),
    column("ContentType", text(100), nullable=False),
    column("Size", sa.BigInteger, nullable=False),
    column("Sha256", text(64), nullable=False),
    column("Store", text(50)),
    column("Reference", text(500)),
    column("Data", sa.LargeBinary),
    column("CreatedAt", UtcDateTime, nullable=False),
)
"""Large arguments, argument files and result files of a run. Without ``Store`` the bytes are in ``Data``; otherwise that store of the
project holds the bytes under ``Reference``.
"""

sa.Index(named("IX_c_JobBlob_RunId"), job_blob.c.RunId)


# Tables of keys: unique runs, idempotent calls, and limits.

job_unique = table(
    "c_JobUnique",
    column("JobName", text(100), primary_key=True),
    column("UniqueKey", text(200), primary_key=True),
    column("RunId", sa.BigInteger, nullable=False),
    column("Scope", text(20), nullable=False),
    column("Until", UtcDateTime),
)
"""The holder of a unique key of a job: the primary key allows a single run at a time. A row without ``Until`` lasts as long as its run."""

job_idempotency = table(
    "c_JobIdempotency",
    column("IdempotencyKey", text(200), primary_key=True),
    column("JobName", text(100), nullable=False),
    column("RunId", sa.BigInteger, nullable=False),
    column("Digest", text(64), nullable=False),
    column("CreatedAt", UtcDateTime, nullable=False),
)
"""The run that each idempotent call created; ``Digest`` covers the job and the arguments of the call."""

job_limit = table(
    "c_JobLimit",
    column("LimitKey", text(200), primary_key=True),
    column("JobName", text(100)),
    column("Most", sa.Integer),
    column("IntervalMs", sa.Float),
    column("Burst", sa.Integer),
    column("NextAt", UtcDateTime),
    column("WakeId", sa.BigInteger),
    column("UpdatedAt", UtcDateTime, nullable=False),
    column("Version", sa.BigInteger, nullable=False, server_default="0"),
    column("IsAwaited", sa.Boolean, nullable=False, server_default=sa.false()),
)
"""One row for each limit key: the maximum weight of concurrent runs (``Most``), and a token bucket of ``Burst`` tokens that gains a token
every ``IntervalMs`` and is full at ``NextAt``. ``WakeId`` is the run that is due at the next token. The row's lock lets a single
transaction at a time grant capacity to runs of the key. Each grant increments ``Version``, so that a transaction with an earlier
reading notices the change. A transaction that leaves a run waiting for the key sets ``IsAwaited``; a transaction that ends a run of
the key reads it.
"""

sa.Index(named("IX_c_JobUnique_RunId"), job_unique.c.RunId)
sa.Index(named("IX_c_JobIdempotency_RunId"), job_idempotency.c.RunId)


# Tables of outgoing webhooks and of messages to webhooks.

job_webhook = table(
    "c_JobWebhook",
    column("Id", sa.Integer, primary_key=True, autoincrement=True),
    column("Shown", text(200), nullable=False),
    column("SealedJson", LONG, nullable=False),
    column("Events", text(200), nullable=False),
    column("Jobs", text(1000), nullable=False),
    column("CreatedBy", text(100), nullable=False),
    column("CreatedAt", UtcDateTime, nullable=False),
    column("DisabledAt", UtcDateTime),
    column("DisabledBy", text(100)),
    column("FailingSince", UtcDateTime),
)
"""One row for each subscribed address. ``SealedJson`` holds the address and the secret, encrypted; ``Shown`` is the address without secret
parts. For a handler in the code ``SealedJson`` is empty and ``Shown`` is the handler's name. ``Events`` and ``Jobs`` are lists separated
by blanks; an empty list means all. ``FailingSince`` is the time of the first failed attempt after the last successful attempt.
"""

job_delivery = table(
    "c_JobDelivery",
    column("Id", BIG_ID, primary_key=True, autoincrement=True),
    column("WebhookId", sa.Integer, nullable=False),
    column("MessageId", text(50), nullable=False),
    column("Event", text(30), nullable=False),
    column("RunId", sa.BigInteger),
    column("Body", LONG, nullable=False),
    column("Status", text(10), nullable=False),
    column("Attempts", sa.Integer, nullable=False, server_default="0"),
    column("DueAt", UtcDateTime),
    column("Answer", text(200)),
    column("CreatedAt", UtcDateTime, nullable=False),
    column("EndedAt", UtcDateTime),
    sa.UniqueConstraint(named("MessageId"), name=named("UQ_c_JobDelivery_MessageId")),
)
"""One row for each message to a webhook. ``DueAt`` is the time of the next attempt, NULL for none; during an attempt, the time from which
another node may try. ``MessageId`` is made of webhook, run and event, so that each combination exists once.
"""

only_where(
    sa.Index(named("IX_c_JobDelivery_DueAt"), job_delivery.c.DueAt),
    job_delivery.c.DueAt.is_not(None),
)
sa.Index(named("IX_c_JobDelivery_WebhookId_Id"), job_delivery.c.WebhookId, job_delivery.c.Id.desc())


# Tables of runs, schedules, nodes, statistics, the audit and the history.

__all__ = [  # the names that other modules import
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
"""The alert recipients of a job. A row takes precedence over the job's decorator. Durations are milliseconds."""

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
"""One row for each run with its current state; ``UQ_c_JobRun_Slot`` allows a single run for each slot. ``ScheduledFor`` is the slot of a
recurring job, else NULL. ``DueAt`` is the time from which the run may start; a retry moves it. ``Attempt`` counts the attempts begun.
``LifeLog`` has a line ``<instant> <state> <note>`` for each transition. A run whose job or arguments a node does not know waits since
``UnknownSince``; ``RefusedBy`` names the nodes that refused the run. ``StopNote`` is the reason for which a running run was told to
stop. A failed or missed run has a ``Cause`` (``c_JobFailure``) and needs attention until ``HandledAt``. ``RetryOf`` is the run that a
user reran as this run. ``Ties`` holds the flags of the run's dependencies (``Tie`` in ``kernel/runs/values.py``). ``LimitKey`` and
``Weight`` belong to the run's limit; ``RoomAt`` is the time since when the run has capacity there while it waits for a worker.
``BatchId`` and ``Step`` belong to the run's batch or flow; ``Trace`` is the W3C ``traceparent`` of the enqueueing call.
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
"""One row for each job that has been scheduled or paused. Slots up to ``LastSlot`` are handled. A job whose ``ScheduleText`` (with its
zone) changes starts from the time of the change; ``Release`` is the release of the schedule. A job is paused while ``PausedAt`` is set
and ``PausedUntil`` has not passed.
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
"""One row for each running node. A node that stops deletes its row; another node deletes the row of a lost node. ``Release`` and
``Fingerprint`` identify the node's definitions; ``ClockOffsetMs`` is the node's clock minus the database's; ``StuckIn`` is the code that
blocks the node.
"""

job_release = _table(
    "c_JobRelease",
    _column("Release", _text(100), primary_key=True),
    _column("Fingerprint", _text(64), nullable=False),
    _column("FirstSeenAt", UtcDateTime, nullable=False),
    _column("ChosenBy", _text(100)),
    _column("ChosenAt", UtcDateTime),
)
"""One row for each release with registered nodes. The newest release decides about schedules, unless a user has chosen a release."""

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
"""Counts of ended runs by job, quarter of an hour, outcome and duration. ``Bucket`` is the logarithmic class of the duration, -1 without a
duration. ``Shard`` keeps nodes from waiting for each other's row locks; readers sum over all shards.
"""

job_setting = _table(
    "c_JobSetting",
    _column("Name", _text(100), primary_key=True),
    _column("Value", _LONG, nullable=False),
    _column("UpdatedAt", UtcDateTime, nullable=False),
)
"""Facts about the database itself, such as its id."""

ACTIVE_NODE = "active node"
"""The setting that names the active node, where one node at a time runs jobs: the mark of its takeover, the id of its server, and the suffix of its
lock if it has one, with blanks between them."""


def active_node(setting: str | None) -> tuple[str, str, str]:
    """Return mark, server and suffix of the setting :data:`ACTIVE_NODE`, empty where they are missing."""
    mark, server, suffix, *_ = [*(setting or "").split(" "), "", "", ""]
    return mark, server, suffix


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
"""The audit: actor, action, time and remote address. ``Seq`` and ``Hash`` make the rows a chain: see ``kernel/audit.py``."""

job_log_line = _table(
    "c_JobLogLine",
    _column("Id", _BIG_ID, primary_key=True, autoincrement=True),
    _column("RunId", sa.BigInteger, nullable=False),
    _column("Attempt", sa.Integer, nullable=False),
    _column("At", UtcDateTime, nullable=False),
    _column("Level", _text(10), nullable=False),
    _column("Message", _LONG, nullable=False),
)
"""Lines that runs wrote with ``ctx.log``."""

job_step = _table(
    "c_JobStep",
    _column("RunId", sa.BigInteger, primary_key=True, autoincrement=False),
    _column("Name", _text(200), primary_key=True),
    _column("ResultJson", _LONG, nullable=False),
    _column("Attempt", sa.Integer, nullable=False),
    _column("CompletedAt", UtcDateTime, nullable=False),
    _column("DurationMs", sa.Integer, nullable=False),
)
"""The result of each finished step of a run; a later attempt reads the result instead of repeating the step."""

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
"""One row for each job that the old server runs or ran: see ``kernel/job_owner.py``. A job without a row is run by this scheduler."""

job_shadow = _table(
    "c_JobShadow",
    _column("JobName", _text(100), primary_key=True),
    _column("Slot", UtcDateTime, primary_key=True),
)
"""The slots that came while a job's owner was ``shadow``: the times at which this scheduler would have run the job."""

sa.Index(
    _name("IX_c_LoggedJob_JobName_StartedAt"), logged_job.c.JobName, logged_job.c.StartedAt.desc()
)
sa.Index(_name("IX_c_LoggedJob_JobName_ID"), logged_job.c.JobName, logged_job.c.ID)
sa.Index(_name("IX_c_LoggedJob_StartedAt"), logged_job.c.StartedAt, logged_job.c.ID)
sa.Index(_name("IX_c_LoggedJob_JobId"), logged_job.c.JobId)
_only_where(
    sa.Index(_name("IX_c_JobRun_CompletedAt"), job_run.c.CompletedAt, job_run.c.Id),
    job_run.c.CompletedAt.is_not(None),
)
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
    equal_nulls=True,
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
    equal_nulls=True,
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
WAITS_IN_ORDER = sa.and_(
    job_run.c.CompletedAt.is_(None), job_run.c.Queue != sa.literal_column("''")
)
"""The condition of the index of each job's waiting runs, for statements that are to use it.

Every run has a queue. The condition keeps other statements about unfinished runs from the index: with statistics from before a burst,
PostgreSQL expects no unfinished run, and reads all of them by any index that it may use.
"""
_only_where(
    sa.Index(
        _name("IX_c_JobRun_Waiting"),
        job_run.c.State,
        job_run.c.JobName,
        job_run.c.Priority.desc(),
        job_run.c.DueAt,
        job_run.c.Id,
    ),
    WAITS_IN_ORDER,
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
