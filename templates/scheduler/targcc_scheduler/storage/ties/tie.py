"""The kinds of ties, as the column ``Ties`` of ``c_JobRun`` has them."""

from __future__ import annotations

from enum import IntFlag


class Tie(IntFlag):
    """What hangs on a run: its end, or its way there, has consequences for others."""

    FOLLOWED = 1  # runs wait for it
    FOLLOWS = 2  # it waits, or has waited, for others
    LIMITED = 8  # it takes room under a limit
    BATCH = 16  # it is of a batch or a flow
    DELAYED = 64  # its delay counts from when it may go
    ASKS = 128  # it waits, or has waited, for its unique key, or for room under its limit, and for no other run to end as it asks
    KEYED = 256  # runs wait, or have waited, for its unique key, or it has waited for that


ANY_TIE = -1
"""All ties, also those of later releases."""
LIMITED, NO_LIMIT = int(Tie.LIMITED), ~int(Tie.LIMITED)
"""That of a limit, and all others; as numbers, since each run is asked for them, and flags take microseconds."""
