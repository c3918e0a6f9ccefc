"""Texts of durations."""

from datetime import timedelta

import pytest
from targcc_scheduler.schedules.errors import CronError
from targcc_scheduler.schedules.words import duration_words, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds", "written", "words"),
    [
        ("90s", 90, "1m30s", "1 minute and 30 seconds"),
        ("15m", 900, "15m", "15 minutes"),
        ("1h30m", 5400, "1h30m", "1 hour and 30 minutes"),
        ("2d", 172800, "2d", "2 days"),
        ("1w", 604800, "7d", "7 days"),
        ("500ms", 0.5, "500ms", "500 milliseconds"),
        ("0s", 0, "0s", "0 seconds"),
        (
            "1d2h3m4s5ms",
            93784.005,
            "1d2h3m4s5ms",
            "1 day, 2 hours, 3 minutes, 4 seconds and 5 milliseconds",
        ),
    ],
)
def test_a_duration_reads_and_writes(text, seconds, written, words):
    duration = parse_duration(text)
    assert duration == timedelta(seconds=seconds)
    assert format_duration(duration) == written
    assert duration_words(duration) == words


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("90", 1),
        ("", 1),
        ("1h 30m", 3),
        ("30m1h", 4),
        ("1.5h", 1),
        ("-5m", 1),
        ("1h1h", 3),
        ("5min", 3),
    ],
)
def test_a_duration_that_is_none_is_refused_where_it_goes_wrong(text, column):
    with pytest.raises(CronError) as caught:
        parse_duration(text)
    assert caught.value.column == column
    assert "1h30m" in caught.value.allowed


def test_a_duration_has_an_end():
    with pytest.raises(CronError, match="longer than a hundred years"):
        parse_duration("999999999w")
