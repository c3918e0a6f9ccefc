"""Schedule rows of jobs, by tables, without a database."""

from datetime import UTC, datetime, timedelta

import pytest
from targcc_scheduler.kernel.node.slots import ScheduleRow

NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def _row(text=None, paused_at=None, paused_until=None):
    return ScheduleRow(NOW, text, paused_at, paused_until, "1.0")


@pytest.mark.parametrize(
    ("at", "until", "paused"),
    [
        (None, None, False),
        (None, NOW + SECOND, False),  # the rest of an earlier pause
        (NOW - SECOND, None, True),
        (NOW - SECOND, NOW + SECOND, True),
        (NOW - SECOND, NOW, False),
        (NOW - 2 * SECOND, NOW - SECOND, False),
    ],
)
def test_a_pause_lasts_until_its_end(at, until, paused):
    assert _row(None, at, until).is_paused(NOW) is paused


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (None, None),
        ("0 2 * * *", None),
        ("renamed to Report", "Report"),
        ("renamed to renamed to", "renamed to"),
    ],
)
def test_a_row_points_to_the_other_name(text, name):
    assert _row(text).renamed_to == name
