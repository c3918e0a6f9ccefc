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


def test_the_correction_of_a_doubtful_reading_does_not_turn_the_time_back(since_start):
    clock = DatabaseClock(ManualClock(NOON))
    clock.follow(NOON + timedelta(seconds=0.4), 0.0, 0.0)  # a slow answer: 0.4 s too late
    since_start[0] = 1.0
    before = clock.now()
    clock.follow(NOON + timedelta(seconds=1), 1.0, 1.0)
    assert clock.now() == before
    since_start[0] = 1.3
    assert clock.now() == before
    since_start[0] = 1.5
    assert clock.now() == NOON + timedelta(seconds=1.5)
    clock.follow(NOON - HOUR, 1.5, 1.5)  # the database's clock is set
    assert clock.now() == NOON - HOUR


def test_it_follows_a_step_of_the_database_and_not_the_doubt_of_an_answer():
    clock = DatabaseClock(ManualClock(NOON))
    clock.follow(NOON, 0.0, 0.0)
    clock.follow(NOON + timedelta(seconds=0.9), 0.0, 2.0)
    assert clock.now() == NOON
    clock.follow(NOON + HOUR, 0.0, 0.0)
    assert clock.now() == NOON + HOUR
