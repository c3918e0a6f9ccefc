"""When a row of TARGCC 4's ``c_Job`` runs: the row's columns as options of :func:`~...jobs.declaration.define`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ...core.errors import LegacyError
from ...schedules.classic import ClassicSchedule, ClassicTimes, Weekly, classic_schedule
from ...schedules.zones import resolve

Record = Mapping[str, Any]

_ORIGIN = date(2001, 1, 1).toordinal()
_EPOCH = datetime(2001, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_ONE_OFF = "oneoff"


@dataclass(frozen=True)
class Rules:
    """What a row does not say.

    Args:
        zone: The old server's.
        weekly: How Weekly is read.
    """

    zone: ZoneInfo
    weekly: Weekly = "every-day"


def schedule_of(row: Record, rules: Rules, now: datetime) -> dict[str, Any]:
    """The options ``schedule``, ``every``, ``anchor``, ``after`` and ``at`` of a row; the same ones after each run as before it.

    Args:
        row: Its columns, by names in lower case; times are the old server's wall clock.
        rules: What it does not say.
        now: The wall clock now.

    Raises:
        ValueError: it has no schedule that could run; the message says why, and what to do.
    """
    times = ClassicTimes(
        kind=str(row.get("enmjobtype") or ""),
        when=moment(row, "whentorun"),
        count=None if row.get("cycliccount") is None else int(row["cycliccount"]),
        next_run=moment(row, "nextruntime"),
        last_run=moment(row, "lastruntime"),
    )
    if times.kind.strip().lower() == _ONE_OFF and times.next_run is None:
        raise LegacyError(
            "OneOff without NextRunTime: TaskManager would run it today at WhenToRun's time; set NextRunTime, or Active = 0"
        )
    found = classic_schedule(times, now=now.replace(microsecond=0), weekly=rules.weekly)
    options = _steady(found, rules.zone).options()
    return {"schedule" if name == "cron" else name: value for name, value in options.items()}


def _steady(found: ClassicSchedule, zone: ZoneInfo) -> ClassicSchedule:
    """The same schedule, with the earliest anchor of its cycle, so that it stays the same when a run moves ``NextRunTime`` on."""
    anchor, every = found.anchor, found.every
    if anchor is None or every is None:
        return found
    if every % _DAY:
        first = resolve(anchor, zone).astimezone(UTC)
        return replace(found, anchor=_EPOCH + (first - _EPOCH) % every)
    day = date.fromordinal(_ORIGIN + (anchor.toordinal() - _ORIGIN) % every.days)
    return replace(found, anchor=datetime.combine(day, anchor.time()))


def moment(row: Record, name: str) -> datetime | None:
    """A time in a row, without a zone; ``None`` for NULL. SQLite has texts.

    Raises:
        LegacyError: it is no date.
    """
    value = row.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(value.strip())
    except (ValueError, AttributeError):
        raise LegacyError(f"{name} is {str(value)[:60]!r}, which is no date") from None
    if found.year == 1:  # how the old runner's language writes none
        return None
    return found.replace(tzinfo=None, microsecond=0)
