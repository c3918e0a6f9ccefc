"""Time zones for tests that compare the runs of thirteen months. Ring 1 compares in one zone, ring 2 in the three others."""

import pytest

ZONES = (
    "America/New_York",
    *(
        pytest.param(zone, marks=pytest.mark.slow)
        for zone in ("Asia/Jerusalem", "Europe/London", "UTC")
    ),
)
