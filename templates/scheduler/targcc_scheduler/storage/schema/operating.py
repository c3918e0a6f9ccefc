"""The tables of what operators do: operations on many runs at once, maintenance windows."""

from __future__ import annotations

import sqlalchemy as sa

from .columns import BIG_ID, LONG, UtcDateTime, column, table, text

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
"""One row for each operation on many runs. ``Place`` is the id of the run that was dealt with last, ``Ceiling`` the newest that there was when
it began; ``Undoes`` is the operation that this one takes back.
"""

job_bulk_run = table(
    "c_JobBulkRun",
    column("BulkId", sa.BigInteger, primary_key=True, autoincrement=False),
    column("RunId", sa.BigInteger, primary_key=True, autoincrement=False),
    column("NewRunId", sa.BigInteger),
    column("Previous", text(100)),
)
"""What an operation did to each run, so that it can be taken back: the run that does it again, or what was there before."""

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
"""One row for each window. From ``StartsAt`` up to ``EndsAt`` no run of its queues starts: ``,`` is all of them, ``,critical,slow,`` those two.
Who ends one early moves its ``EndsAt`` and is ``EndedBy``.
"""
