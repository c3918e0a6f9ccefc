"""The old server's time zone, by its IANA name or by the name Windows gives it."""

from __future__ import annotations

from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from targcc_gen.errors import InputError
from targcc_gen.sources.zones.windows_zones import WINDOWS_ZONES

WHY = (
    "The old server ran its jobs in its own local time, and an export does not say which that was."
)
HINT = 'On the old server "tzutil /g" prints it, such as "Israel Standard Time"; an IANA name such as Asia/Jerusalem is right too.'


def resolve_zone(name: str) -> ZoneInfo:
    """The zone of a name, any case; Windows names become their IANA zone.

    Raises:
        InputError: There is no such zone; the hint has the nearest names.
    """
    wanted = " ".join(name.split()).lower().removesuffix("_dstoff")
    windows = {key.lower(): zone for key, zone in WINDOWS_ZONES.items()}
    known = {zone.lower(): zone for zone in available_timezones()}
    found = windows.get(wanted) or known.get(wanted)
    if found is not None:
        return ZoneInfo(found)
    shown = {key.lower(): key for key in WINDOWS_ZONES} | known
    close = [f'"{shown[word]}"' for word in get_close_matches(wanted, shown, n=3)]
    hint = f"Did you mean {' or '.join(close)}?" if close else HINT
    raise InputError(f'no time zone "{name}"', hint=hint)
