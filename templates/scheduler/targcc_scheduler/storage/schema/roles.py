"""The table of roles of one's own."""

from __future__ import annotations

from .columns import LONG, column, table, text

job_role = table(
    "c_JobRole",
    column("Name", text(20), primary_key=True),
    column("GrantsJson", LONG, nullable=False),
)
"""One row for each role besides the built-in ones; ``GrantsJson`` is a list of ``[role, pattern of job names]``. Users, tokens and sessions
name their role in a column of their own.
"""
