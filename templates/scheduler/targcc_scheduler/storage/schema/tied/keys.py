"""The tables of keys: of which one run at a time is enough, which calls were made, and how much room there is."""

from __future__ import annotations

import sqlalchemy as sa

from ..columns import UtcDateTime, column, named, table, text

job_unique = table(
    "c_JobUnique",
    column("JobName", text(100), primary_key=True),
    column("UniqueKey", text(200), primary_key=True),
    column("RunId", sa.BigInteger, nullable=False),
    column("Scope", text(20), nullable=False),
    column("Until", UtcDateTime),
)
"""Who has a unique key of a job: the primary key allows one run at a time. A row without ``Until`` lasts as long as its run."""

job_idempotency = table(
    "c_JobIdempotency",
    column("IdempotencyKey", text(200), primary_key=True),
    column("JobName", text(100), nullable=False),
    column("RunId", sa.BigInteger, nullable=False),
    column("Digest", text(64), nullable=False),
    column("CreatedAt", UtcDateTime, nullable=False),
)
"""Which call made which run; ``Digest`` is of its job and arguments."""

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
"""One row for each key of a limit: the weight that may be under way at once (``Most``), and a token bucket of ``Burst`` tokens, one each
``IntervalMs``, that is full at ``NextAt``; ``WakeId`` is the run that is due when the next
token comes. Its lock is what lets one transaction at a time give room to runs of the key, and ``Version`` counts these, so that whoever has looked
before sees that it is not so any more. Who lets a run wait for the key sets ``IsAwaited``; whoever ends one looks there.
"""

sa.Index(named("IX_c_JobUnique_RunId"), job_unique.c.RunId)
sa.Index(named("IX_c_JobIdempotency_RunId"), job_idempotency.c.RunId)
