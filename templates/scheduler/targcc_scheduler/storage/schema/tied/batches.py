"""The tables of batches and flows, and of who waits for whom."""

from __future__ import annotations

import sqlalchemy as sa

from ..columns import BIG_ID, LONG, UtcDateTime, column, named, table, text

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
"""One row for each batch or flow. ``Pending`` counts its runs and inner batches that are not over, ``Failed`` those that did not succeed;
of a flow they count its steps, and ``DefinitionJson`` has these, as its release had them when it began, and how each stands.
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
"""A run waits for another, or for a batch: it goes when the parent ends as ``Condition`` says (success, failure, finish), ``all`` of them or
``any``; ``Otherwise`` it is discarded, or waits. ``Outcome`` is the state in which the parent ended.
"""

sa.Index(named("IX_c_JobLink_Parent"), job_link.c.ParentKind, job_link.c.ParentId)
sa.Index(named("IX_c_JobBatch_ParentId"), job_batch.c.ParentId)
sa.Index(named("IX_c_JobBatch_State"), job_batch.c.State, job_batch.c.Id)
