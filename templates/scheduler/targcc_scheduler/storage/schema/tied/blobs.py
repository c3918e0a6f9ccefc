"""The table of what is too large for a row of a run."""

from __future__ import annotations

import sqlalchemy as sa

from ..columns import UtcDateTime, column, named, table, text

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
"""Large arguments, files that are arguments, and files that are results of a run. Without ``Store`` the bytes are in ``Data``; else that
store of the project's has them under ``Reference``.
"""

sa.Index(named("IX_c_JobBlob_RunId"), job_blob.c.RunId)
