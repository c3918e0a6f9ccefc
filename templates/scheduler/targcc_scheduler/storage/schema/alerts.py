"""The tables of alerts: those that are not over, and messages on their way to people."""

from __future__ import annotations

import sqlalchemy as sa

from .columns import BIG_ID, LONG, UtcDateTime, column, named, table, text

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
"""One row for each failure group, expectation or node of which people were told, until it is well again. ``Number`` is how often it happened
since ``FirstAt``, ``TargetsJson`` who was told; the steps of the escalation count from ``EscalatesFrom``, and ``Step`` of them are done.
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
"""Messages that go later, or have to go once whatever node sends them: held alerts, recoveries, escalations, digests. A row goes when it was
sent; one that a node claimed and did not send is free again at ``ClaimedUntil``.
"""
