"""Dashboard page of the audit: filter, paging, export."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.clock import Clock
from ...core.search_language import instant
from ...project import current
from ...scheduler import Scheduler
from ...schedules.zones import parse_zone
from ...web.dashboard.common import SchedulerOf, Viewer, id_of, query_of
from ...web.dashboard.page_route import PageRoute
from ...web.dashboard.rendering import render
from . import queries
from .queries import Filter, Format
from .responses import file_of, names_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
_PAGE = 100
_LONGEST = 200


class Asked(BaseModel):
    """What the page was asked for, as it was typed."""

    job: str = ""
    actor: str = ""
    action: str = ""
    since: str = ""
    until: str = ""
    before: str = ""
    format: Format = "csv"

    def filter(self, scheduler: Scheduler) -> Filter:
        """Build the filter. Invalid instants are left out."""
        return Filter(
            jobs=names_of(scheduler, self.job) if self.job else (),
            actor=self.actor[:_LONGEST],
            action=self.action[:_LONGEST],
            since=_instant(self.since, scheduler.clock),
            until=_instant(self.until, scheduler.clock),
        )

    def query(self, **more: Any) -> str:
        """Return the filter as a URL query, with ``more`` values added."""
        values = {**self.model_dump(exclude={"before", "format"}), **more}
        return urlencode({name: value for name, value in values.items() if value})


def _instant(text: str, clock: Clock) -> datetime | None:
    """Parse an instant of the search language, such as ``24h`` or a day; return ``None`` if invalid.

    The project's time zone applies unless the text names a zone.
    """
    with contextlib.suppress(ValueError, OverflowError):
        return instant(text, clock.now(), parse_zone(current().timezone), end=False).astimezone(UTC)
    return None


AskedOf = Annotated[Asked, Depends(query_of(Asked))]


@router.get("/audit")
async def audit_page(
    request: Request, principal: Viewer, scheduler: SchedulerOf, asked: AskedOf
) -> Response:
    """Who did what."""
    start, which = id_of(asked.before), asked.filter(scheduler)

    async def query(db: AsyncConnection) -> dict[str, Any]:
        return {
            "entries": await queries.audit(db, which, before=start, limit=_PAGE),
            "actions": await queries.actions(db),
        }

    values = await scheduler.read(query)
    rows = values["entries"]
    following = rows[-1].id if len(rows) == _PAGE else None
    return render(
        request,
        "pages/audit.html",
        principal,
        asked=asked,
        filtered=bool(asked.query()),
        before=start,
        next_query=asked.query(before=following) if following else "",
        **values,
    )


@router.get("/audit/export")
async def export_page(_: Viewer, scheduler: SchedulerOf, query: AskedOf) -> Response:
    """What the page shows, all of it, as a file."""
    return file_of(scheduler, query.filter(scheduler), query.format)
