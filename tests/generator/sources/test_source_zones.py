"""Names accepted for the old server's time zone."""

import pytest
from targcc_gen.errors import InputError
from targcc_gen.sources.zones import resolve_zone


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("Israel Standard Time", "Asia/Jerusalem"),
        ("GMT Standard Time", "Europe/London"),
        ("central europe  standard time", "Europe/Budapest"),
        ("asia/jerusalem", "Asia/Jerusalem"),
        ("Arizona", None),
        ("US Mountain Standard Time", "America/Phoenix"),
        ("W. Europe Standard Time_dstoff", "Europe/Berlin"),
    ],
)
def test_zones_are_known_by_the_names_of_windows_and_iana(name, zone):
    if zone is None:
        with pytest.raises(InputError, match="no time zone"):
            resolve_zone(name)
    else:
        assert resolve_zone(name).key == zone
