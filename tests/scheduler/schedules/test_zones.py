"""Names of time zones."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from targcc_scheduler.schedules.errors import CronError
from targcc_scheduler.schedules.zones import parse_zone

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Asia/Jerusalm", 'did you mean "Asia/Jerusalem"?'),
        ("jerusalem", 'did you mean "Asia/Jerusalem"?'),
        ("Isreal Standard Time", 'did you mean "Israel Standard Time"?'),
        ("Europe/Londn", 'did you mean "Europe/London"?'),
        ("America/new york", 'did you mean "America/New_York"?'),
        ("ho chi min", 'did you mean "Asia/Ho_Chi_Minh"?'),
        ("", "Write an IANA name such as Europe/London."),
        ("../../etc/passwd", "Write an IANA name such as Europe/London."),
        ("Europe", "Write an IANA name such as Europe/London."),
        ("+05:30", 'A zone of half an hour has the name of a place: for example "Asia/Kolkata".'),
        ("utc+0", 'did you mean "UTC"?'),
        ("GMT+15", 'did you mean "Etc/GMT+5"?'),
        ("a\x00b", "Write an IANA name such as Europe/London."),
    ],
)
def test_a_zone_that_is_none_gets_the_nearest_name(name, suggestion):
    with pytest.raises(CronError, match="no time zone") as caught:
        parse_zone(name)
    assert caught.value.allowed == suggestion


@pytest.mark.parametrize(
    ("name", "zone", "hours"), [("GMT+2", "Etc/GMT-2", 2), ("UTC-05:00", "Etc/GMT+5", -5)]
)
def test_an_offset_is_answered_with_the_zone_of_that_offset_and_why(name, zone, hours):
    with pytest.raises(CronError) as caught:
        parse_zone(name)
    assert caught.value.allowed.startswith(
        f'did you mean "{zone}"? Its sign is the other way round'
    )
    assert datetime(2026, 7, 1, tzinfo=parse_zone(zone)).utcoffset() == timedelta(hours=hours)


@pytest.mark.parametrize(
    "name", ["Israel Standard Time", "israel  standard time", "Israel Standard Time_dstoff"]
)
def test_a_windows_name_gives_the_iana_zone(name):
    assert parse_zone(name) == ZoneInfo("Asia/Jerusalem")


def test_utc_stays_utc():
    assert parse_zone("UTC").key == "UTC"


def test_a_zone_is_found_by_its_name():
    assert parse_zone(BERLIN) == ZoneInfo(BERLIN)
