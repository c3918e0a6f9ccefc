from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from targcc_scheduler.core import humanize
from targcc_scheduler.core.masking import mask
from targcc_scheduler.web.dashboard import rendering

NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)
JERUSALEM = ZoneInfo("Asia/Jerusalem")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 ms"),
        (0.34, "340 ms"),
        (4.21, "4.2 s"),
        (59, "59 s"),
        (60, "1 min"),
        (192, "3 min 12 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (360_000, "4 d 4 h"),
        (-1, "0 ms"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, said: str):
    assert humanize.duration(timedelta(seconds=seconds)) == said
    assert humanize.duration(seconds) == said


@pytest.mark.parametrize(
    ("away", "said"),
    [
        (timedelta(), "now"),
        (timedelta(seconds=12), "in 12 s"),
        (timedelta(minutes=-90), "1 h ago"),
        (timedelta(days=3), "in 3 d"),
        (timedelta(hours=2, microseconds=-1), "in 2 h"),
        (timedelta(seconds=-0.4), "now"),
    ],
)
def test_relative_times(away: timedelta, said: str):
    assert humanize.relative(NOW + away, NOW) == said


@pytest.mark.parametrize(
    ("instant", "said"),
    [
        (NOW, "10:00"),
        (NOW - timedelta(days=1), "Tue 10:00"),
        (NOW + timedelta(days=9), "4 Dec 10:00"),
        (NOW + timedelta(days=90), "23 Feb 2027"),
    ],
)
def test_an_instant_is_as_short_as_it_stays_clear(instant: datetime, said: str):
    assert humanize.clock(instant, NOW, JERUSALEM) == said


def test_the_whole_of_an_instant_names_zone_and_utc():
    midnight = datetime(2026, 11, 24, 22, tzinfo=UTC)
    assert (
        humanize.full(midnight, JERUSALEM) == "Wed 25 Nov 2026 00:00:00 +02:00 (Tue 22:00:00 UTC)"
    )


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (1, "100%"),
        (0.9999, "99%"),
        (0.001, "1%"),
        (0, "0%"),
        (0.5, "50%"),
        (None, humanize.NOTHING),
    ],
)
def test_a_share_is_never_rounded_to_all_or_nothing(share: float | None, said: str):
    assert humanize.percent(share) == said


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["A"], "A"),
        (["A", "B"], "A and B"),
        (["A", "B", "C"], "A, B and C"),
        (["A", "B", "C", "D", "E"], "A, B and 3 more"),
    ],
)
def test_names_in_a_sentence(names: list[str], said: str):
    assert humanize.listed(names) == said


def test_an_actor_for_people():
    assert humanize.who("Manual (dana)") == "dana"
    assert humanize.who("API (shop)") == "shop by API"
    assert humanize.who("System") == "System"


def test_a_times_tag_cannot_be_broken_out_of():
    assert rendering.time_tag(None, NOW, JERUSALEM) == '<span class="nothing">\N{EN DASH}</span>'
    tag = rendering.time_tag(NOW, NOW, JERUSALEM, "both")
    assert tag.count("<time") == 2
    assert "data-relative" in tag


@pytest.mark.parametrize(
    "text",
    [
        "GET /jobs/login?token=SECRET&x=1",
        "postgresql://acme:SECRET@host/db",
        "Authorization: Bearer SECRET",
        "password=SECRET",
    ],
)
def test_logs_hold_no_secrets(text: str):
    assert "SECRET" not in mask(text)
    assert "••••••" in mask(text)
