"""The table of options of jobs that people have changed while they are deployed."""

from __future__ import annotations

from .columns import LONG, UtcDateTime, column, table, text

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
"""One row for each option of a job that holds instead of the code's; it goes when it is reset, or by itself at ``EndsAt``."""
