"""The table of maintenance windows."""

from __future__ import annotations

from .columns import BIG_ID, UtcDateTime, column, table, text

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
