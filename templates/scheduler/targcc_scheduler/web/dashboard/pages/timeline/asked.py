"""What the pages of time are asked for, and links from one time to another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import Request

from .....jobs.definition import JobDefinition


def day_asked(text: str, default: date) -> date:
    """The day that an address names, such as ``2026-11-26``; the default for what is none."""
    with contextlib.suppress(ValueError):
        return date.fromisoformat(text)
    return default


def instant_asked(text: str, zone: ZoneInfo) -> datetime | None:
    """The time that an address names, such as ``2026-11-26T02:00``; by the clock of ``zone`` unless it says another."""
    with contextlib.suppress(ValueError):
        found = datetime.fromisoformat(text)
        return found if found.tzinfo is not None else found.replace(tzinfo=zone)
    return None


def first_of(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a day."""
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def days_from(first: date, number: int) -> list[date]:
    """So many days."""
    return [first + timedelta(days=n) for n in range(number)]


def query_with(request: Request, **changed: object) -> str:
    """The query of this page with other values; empty ones are left out."""
    values = {**request.query_params, **{name: str(value) for name, value in changed.items()}}
    return urlencode({name: value for name, value in values.items() if value})


def queues_of(definitions: Iterable[JobDefinition]) -> list[str]:
    """The queues of the jobs."""
    return sorted({one.queue for one in definitions})
