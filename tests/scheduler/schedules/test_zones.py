"""How people name time zones."""

from zoneinfo import ZoneInfo

import pytest
from targcc_scheduler.schedules import CronError, parse_zone

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Asia/Jerusalm", 'did you mean "Asia/Jerusalem"?'),
        ("jerusalem", 'did you mean "Asia/Jerusalem"?'),
        ("Europe/Londn", 'did you mean "Europe/London"?'),
        ("America/new york", 'did you mean "America/New_York"?'),
        ("", "Write an IANA name such as Europe/London."),
        ("../../etc/passwd", "Write an IANA name such as Europe/London."),
        ("Europe", "Write an IANA name such as Europe/London."),
        ("a\x00b", "Write an IANA name such as Europe/London."),
    ],
)
def test_a_zone_that_is_none_gets_the_nearest_name(name, suggestion):
    with pytest.raises(CronError, match="no time zone") as caught:
        parse_zone(name)
    assert caught.value.allowed == suggestion


def test_a_zone_is_found_by_its_name():
    assert parse_zone(BERLIN) == ZoneInfo(BERLIN)
