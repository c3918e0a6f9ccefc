"""The old server's time zone, by its IANA name or by its Windows name."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from targcc_scheduler.schedules.windows_zones import WINDOWS_ZONES, iana_of

from targcc_gen.errors import ZoneError

WHY = (
    "The old server ran its jobs in its own local time, and an export does not say which that was."
)
HINT = 'On the old server "tzutil /g" prints it, such as "Israel Standard Time"; an IANA name such as Asia/Jerusalem is right too.'


@cache
def _known() -> dict[str, str]:
    """Map each IANA name in lower case to the name. Reads all folders of the time zone database."""
    return {zone.lower(): zone for zone in available_timezones()}


def resolve_zone(name: str) -> ZoneInfo:
    """Return the zone of an IANA or Windows name, in any case.

    Raises:
        InputError: No zone has this name; the hint has the nearest names.
    """
    wanted = " ".join(name.split()).lower()
    iana_name = _known().get(wanted) or iana_of(name)
    if iana_name is not None:
        return ZoneInfo(iana_name)
    shown = {key.lower(): key for key in WINDOWS_ZONES} | _known()
    close = [f'"{shown[word]}"' for word in get_close_matches(wanted, shown, n=3)]
    hint = f"Did you mean {' or '.join(close)}?" if close else HINT
    raise ZoneError(f'no time zone "{name}"', hint=hint)
