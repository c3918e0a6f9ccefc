"""Instants as people write them in a search: ``yesterday``, ``12h``, ``monday``, ``2026-12-31``."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from ..schedules import CronError, parse_duration

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ONE_DAY = timedelta(days=1)
HINT = "write a length of time ago (12h, 7d), now, today, yesterday, a weekday, 2026-12-31 or 2026-12-31T08:00"


def instant(text: str, now: datetime, zone: ZoneInfo, *, end: bool) -> datetime:
    """The instant that a text means.

    Args:
        text: What was written.
        now: The present instant.
        zone: Whose days are meant.
        end: Of a day: its end, not its beginning.

    Raises:
        ValueError: it means none.
    """
    said, today = text.lower(), now.astimezone(zone).date()
    if said == "now":
        return now
    if said in {"today", "yesterday"}:
        day = today - (_ONE_DAY if said == "yesterday" else timedelta(0))
    elif said in _WEEKDAYS:
        day = today - timedelta(days=(today.weekday() - _WEEKDAYS.index(said)) % 7)
    elif _DAY.fullmatch(text):
        day = datetime.fromisoformat(text).date()
    else:
        return _ago(said, now) or _moment(text, zone)
    try:
        return datetime.combine(day + (_ONE_DAY if end else timedelta(0)), time(), zone)
    except OverflowError:
        raise ValueError(text) from None


def _ago(text: str, now: datetime) -> datetime | None:
    try:
        return now - parse_duration(text)
    except CronError:
        return None


def _moment(text: str, zone: ZoneInfo) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)
