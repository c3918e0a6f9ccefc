"""Convert between instants and wall-clock times of a time zone, including clock changes.

A clock that is set forward skips a *gap*. A clock that is set back runs through an *overlap* twice.
``datetime`` marks the second pass by ``fold=1``. Two datetimes of one ``ZoneInfo`` compare by wall
clock, so the two passes look equal. ``pin`` replaces the zone by its fixed offset at that moment;
pinned datetimes compare and hash as instants.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from .errors import CronError, Part

SECOND = timedelta(seconds=1)

_OFFSET = re.compile(r"(?:GMT|UTC)?([+-])(\d{1,2})(?::?(\d\d))?", re.IGNORECASE)
_FURTHEST = {"+": 14, "-": 12}

Zone = tzinfo | str
"""A time zone, or the IANA or Windows name of a zone."""


@lru_cache(maxsize=256)
def parse_zone(name: str) -> ZoneInfo:
    """Return the time zone with an IANA name, such as ``Asia/Jerusalem``, or a Windows name, such as ``Israel Standard Time``.

    The ``key`` of the zone is the IANA name.

    Raises:
        CronError: The name is unknown; ``allowed`` suggests the nearest names.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # an unsafe path, a folder, an unknown name
        from .windows_zones import iana_of

        iana_name = iana_of(name)
        if iana_name is not None:
            return ZoneInfo(iana_name)
        shown = Part(name, 0, name).shown
        raise CronError(
            f'no time zone "{shown}"', text=name, allowed=_by_offset(name) or _nearest_zones(name)
        ) from None


def _by_offset(name: str) -> str:
    """Return a hint for a name such as ``GMT+2``: ``Etc/GMT`` names have the POSIX sign, which is the opposite. Else ""."""
    match = _OFFSET.fullmatch(name.strip())
    if match is None or int(match[2]) > _FURTHEST[match[1]]:
        return ""
    sign, hours = match[1], int(match[2])
    if int(match[3] or 0):
        return 'A zone of half an hour has the name of a place: for example "Asia/Kolkata".'
    if not hours:
        return 'did you mean "UTC"?'
    zone = f"Etc/GMT{'-' if sign == '+' else '+'}{hours}"
    where = "ahead of" if sign == "+" else "behind"
    return (
        f'did you mean "{zone}"? Its sign is the other way round: that is {hours} h {where} UTC, all year.'
        " A place such as Europe/London has its changes of the clock."
    )


def _nearest_zones(name: str) -> str:
    """Return a sentence with the zone names most similar to ``name``, by whole name and by city."""
    from difflib import get_close_matches
    from zoneinfo import available_timezones

    from .windows_zones import WINDOWS_ZONES

    zones = {zone.lower(): zone for zone in sorted(available_timezones())}
    cities = {zone.rpartition("/")[2]: zone for zone in zones}
    zones |= {zone.lower().replace(" ", "_"): zone for zone in WINDOWS_ZONES if " " in zone}
    key = name.lower().strip().replace(" ", "_")
    near = get_close_matches(key, zones, n=1, cutoff=0.8)
    cities_near = get_close_matches(key.rpartition("/")[2], cities, n=1, cutoff=0.8)
    near += [cities[city] for city in cities_near]
    if not near:
        return "Write an IANA name such as Europe/London."
    return "did you mean " + " or ".join(f'"{zones[zone]}"' for zone in dict.fromkeys(near)) + "?"


def as_zone(zone: Zone) -> tzinfo:
    """Return a zone unchanged; return the zone for a name.

    Raises:
        CronError: The name is unknown.
    """
    return parse_zone(zone) if isinstance(zone, str) else zone


def naive(year: int, month: int, day: int, *clock: int) -> datetime:
    """Return a wall-clock time, a datetime without a zone; midnight without ``clock``."""
    hour, minute, second = clock or (0, 0, 0)
    return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - that is the point


@lru_cache(maxsize=256)
def _fixed(offset: timedelta, name: str) -> timezone:
    """Return a zone with a fixed offset; cached, because schedules use few offsets very often."""
    return timezone(offset, name)


def offset_of(moment: datetime) -> timedelta:
    """Return the offset of a datetime from UTC.

    Raises:
        ValueError: The datetime has no zone.
    """
    offset = moment.utcoffset()
    if offset is None:
        raise ValueError(f"{moment} has no time zone")
    return offset


def pin(moment: datetime) -> datetime:
    """Replace a datetime's zone by its fixed offset at that moment; the zone abbreviation stays."""
    zone = _fixed(offset_of(moment), moment.tzname() or "")
    return moment.replace(tzinfo=zone, fold=0)


def wall_clock(moment: datetime, zone: tzinfo) -> datetime:
    """Return an instant as wall-clock time of the zone; ``fold`` is 1 in a second pass only.

    Raises:
        ValueError: ``moment`` has no zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).astimezone(zone)


def _transition(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """Return the instant in ``(before, after]`` at which the zone's offset changes; arguments and result are in UTC."""
    old = before.astimezone(zone).utcoffset()
    while after - before > SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle <= before:
            middle = before + SECOND
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after


def resolve(local: datetime, zone: tzinfo) -> datetime:
    """Return the instant of a wall-clock time: the first pass of a repeated time, the end of the gap for a skipped time."""
    first = local.replace(tzinfo=zone)
    early, late = offset_of(first), offset_of(first.replace(fold=1))
    if early >= late:
        return pin(first)
    return pin(_transition(_utc(local, late), _utc(local, early), zone).astimezone(zone))


def _utc(local: datetime, offset: timedelta) -> datetime:
    """Return the instant at which a clock with this offset from UTC shows ``local``."""
    return local.replace(tzinfo=UTC) - offset


def overlap_around(here: datetime) -> tuple[datetime, datetime] | None:
    """Return the first wall-clock time and the end of the overlap around ``here``; None outside overlaps."""
    first, second = offset_of(here.replace(fold=0)), offset_of(here.replace(fold=1))
    if first <= second:
        return None
    assert here.tzinfo is not None
    local = here.replace(tzinfo=None, fold=0)
    change = _transition(_utc(local, first), _utc(local, second), here.tzinfo).replace(tzinfo=None)
    return change + second, change + first
