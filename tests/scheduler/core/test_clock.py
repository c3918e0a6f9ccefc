"""A node follows the database's clock."""

from datetime import UTC, datetime, timedelta

import pytest
from targcc_scheduler.core import clock
from targcc_scheduler.core.clock import DatabaseClock, ManualClock

NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def since_start(monkeypatch):
    """Replace the monotonic clock by one number in a list."""
    seconds = [0.0]
    monkeypatch.setattr(clock, "uptime", lambda: seconds[0])
    return seconds


def test_until_the_database_has_answered_it_shows_the_machines_time():
    assert DatabaseClock(ManualClock(NOON)).now() == NOON


def test_it_shows_what_the_database_said_half_way_of_the_answer_and_the_time_since(since_start):
    own = ManualClock(NOON)
    clock = DatabaseClock(own)
    clock.follow(NOON + HOUR, 10.0, 12.0)
    since_start[0] = 21.0
    own.set(NOON - HOUR)  # an administrator sets the machine's clock
    assert clock.now() == NOON + HOUR + timedelta(seconds=10)
    assert clock.offset == -2 * HOUR - timedelta(seconds=10)


def test_it_follows_a_step_of_the_database_and_not_the_doubt_of_an_answer():
    clock = DatabaseClock(ManualClock(NOON))
    clock.follow(NOON, 0.0, 0.0)
    clock.follow(NOON + timedelta(seconds=0.9), 0.0, 2.0)
    assert clock.now() == NOON
    clock.follow(NOON + HOUR, 0.0, 0.0)
    assert clock.now() == NOON + HOUR
