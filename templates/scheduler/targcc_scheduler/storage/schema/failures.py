"""The tables of what needs a person: failures by their cause, and whatever else is wrong."""

from __future__ import annotations

import sqlalchemy as sa

from .columns import LONG, UtcDateTime, column, table, text

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
"""One row for each cause that runs of a job have failed of; ``Cause`` is the fingerprint of job, kind, place and normalised message. How many
and when is counted from ``c_JobRun``. Until ``SnoozedUntil`` its runs do not count as open; while ``MutedAt`` is set they do not either.
"""

job_concern = table(
    "c_JobConcern",
    column("Subject", text(200), primary_key=True),
    column("Kind", text(30), primary_key=True),
    column("Since", UtcDateTime, nullable=False),
    column("Detail", LONG, nullable=False),
)
"""What is wrong besides failures, each told once: an expectation of a job that is broken, a node that was lost, an alert that did not go out.

``Subject`` is the job or the node; a row goes when it is right again, or a person has seen it.
"""
