"""Whether searches for texts have their index."""

from __future__ import annotations

import sqlalchemy as sa

from ..core.humanize import count
from ..storage.dialects import known
from ..storage.tables import job_run
from ..storage.texts import keeping
from .findings import Finding
from .tables import Look


async def texts(look: Look) -> list[Finding]:
    """Whether the index is there, and how far it is with runs from before it."""
    if not await known.of(look.connection).texts.is_there(look.connection):
        said = "this SQLite cannot index texts: searches read run after run, until TARGCC_QUERY_SECONDS are over"
        advice = "use a Python with SQLite 3.34 or newer and FTS5; then targcc migrate --down 0005, and targcc migrate"
        return [Finding("warn", "search", said, advice)]
    unseen = await keeping.unseen(look.connection)
    if unseen:
        first = int(await look.connection.scalar(sa.select(sa.func.min(job_run.c.Id))) or 0)
        left = count(max(unseen - first + 1, 0), "run")
        said = f"texts of about {left} of earlier releases are not indexed yet: searches read them one after the other"
        return [Finding("ok", "search", f"{said}; nodes go on with it")]
    return [Finding("ok", "search", "texts of runs are indexed")]
