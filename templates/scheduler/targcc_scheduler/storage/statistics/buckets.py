"""Classes of durations, from which percentiles follow within five per cent.

Class ``n`` up to 20 holds ``n`` milliseconds; above that, class ``20 + n`` holds what is more than ``20 * GROWTH ** (n - 1)`` and at most
``20 * GROWTH ** n``. So a class is the same on every node and in every quarter of an hour: counts of the same class are added, and nothing
is lost by that. The logarithmic mapping is that of DDSketch (Masson, Rim, Lee: "DDSketch", VLDB 2019).
"""

from __future__ import annotations

import math

GROWTH = 1.09
"""The ratio of a logarithmic class's bounds: its middle is at most 4.4 % from each duration in it, 5 % as whole milliseconds."""
NO_DURATION = -1
"""The class of what has no duration."""

_EXACT = 20
_STEP = math.log(GROWTH)


def bucket_of(milliseconds: int | None) -> int:
    """The class of a duration."""
    if milliseconds is None:
        return NO_DURATION
    if milliseconds <= _EXACT:
        return max(milliseconds, 0)
    return _EXACT + math.ceil(math.log(milliseconds / _EXACT) / _STEP)


def duration_of(bucket: int) -> int:
    """The milliseconds that stand for a class: where the error is the same share at both bounds."""
    if bucket <= _EXACT:
        return max(bucket, 0)
    return round(2 * _EXACT * GROWTH ** (bucket - _EXACT) / (GROWTH + 1))
