"""The counts of jobs that run too often for bars, by parts of a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.states import FINAL, RunState
from ...storage.schema.elapsed import whole_seconds
from ...storage.statistics.endings import QUARTER, quarter_of
from ...storage.tables import job_stat

_MOST_BLOCKS = 24


@dataclass(frozen=True, slots=True)
class Block:
    """How many runs of a job ended that began in a part of the time, one or several quarters of an hour, by state."""

    at: datetime
    until: datetime
    ended: Mapping[RunState, int]


async def blocks_of(
    connection: AsyncConnection, names: Collection[str], since: datetime, until: datetime
) -> dict[str, list[Block]]:
    """The blocks of these jobs, by some quarters of an hour."""
    first = quarter_of(since)
    length = -(-(until - first) // (_MOST_BLOCKS * QUARTER)) * QUARTER
    statement = _counted(names, first, until, int(length.total_seconds()))
    counts: dict[tuple[str, int], dict[RunState, int]] = defaultdict(dict)
    for name, n, state, number in await connection.execute(statement):
        counts[name, n][RunState(state)] = int(number)
    found: dict[str, list[Block]] = defaultdict(list)
    for (name, n), ended in counts.items():
        begins = first + n * length
        found[name].append(Block(begins, begins + length, ended))
    return found


def _counted(
    names: Collection[str], first: datetime, until: datetime, seconds: int
) -> sa.Select[str, int, str, int]:
    c = job_stat.c
    since_first = whole_seconds(sa.literal(first, c.BeginsAt.type), c.BeginsAt)
    place = (since_first // seconds).label("Place")
    return (
        sa.select(c.JobName, place, c.Outcome, sa.func.sum(c.Count))
        .where(
            c.JobName.in_(names),
            c.BeginsAt >= first,
            c.BeginsAt < until,
            c.Outcome.in_(sorted(FINAL)),
        )
        .group_by(c.JobName, place, c.Outcome)
        .order_by(place)
    )
