"""The table of requests with an idempotency key."""

from __future__ import annotations

import sqlalchemy as sa

from .columns import LONG, UtcDateTime, column, table, text

job_request = table(
    "c_JobRequest",
    column("Scope", text(64), primary_key=True),
    column("RequestKey", text(200), primary_key=True),
    column("Digest", text(64), nullable=False),
    column("Status", sa.Integer),
    column("Body", LONG),
    column("BegunAt", UtcDateTime, nullable=False),
)
"""One row for each request with a key, for a day. ``Scope`` stands for the caller and the address, ``Digest`` for what was asked; ``Status`` and
``Body`` are the answer, and empty while there is none.
"""
