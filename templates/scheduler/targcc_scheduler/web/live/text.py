"""A run's whole log as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse
from sqlalchemy.ext.asyncio import AsyncConnection

from ...project import current
from ...queries.following.runs import lines_after
from ...queries.models import LogLine
from ...scheduler import Scheduler
from ...schedules import parse_zone

_LINES_A_PART = 1_000


def log_as_text(scheduler: Scheduler, run_id: int) -> StreamingResponse:
    """The lines that a run has written so far, in parts, each of which is a question of its own."""
    zone = parse_zone(current().timezone)

    async def part(after: int) -> tuple[LogLine, ...]:
        async def query(db: AsyncConnection) -> tuple[LogLine, ...]:
            return await lines_after(db, run_id, after, _LINES_A_PART)

        return await scheduler.read(query)

    async def parts() -> AsyncIterator[str]:
        after = 0
        while lines := await part(after):
            after = lines[-1].id
            yield "".join(
                f"{line.at.astimezone(zone).isoformat(timespec='milliseconds')} {line.level:<7} {line.message}\n"
                for line in lines
            )

    name = f"run-{run_id}.log"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(parts(), media_type="text/plain", headers=headers)
