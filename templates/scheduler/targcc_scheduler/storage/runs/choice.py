"""What a claim has chosen, and what stood in the way of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from ..ties.limit_keys.claims import KeyRooms
from .values import POISON_AFTER, Misfit

MOST_MISFITS = 200
"""Runs that one claim may refuse; the next claim follows at once."""


@dataclass
class Choice:
    """The runs that a claim takes, and what stands in the way of more.

    Args:
        limits: How many runs of a job may be running at once; a job that is not named has no limit.
        busy: How many are.
        poison: Whether a poison run is on this node.
        fits: See :class:`~.values.ClaimTerms`.
        now: The present instant.
        room: How many more runs may start in a queue; one that is not named has no limit.
        misfits: The runs that the node cannot perform.
        expired: The runs whose time is over.
        later: The runs in whose way something is of which nobody tells when it is not there any more.
        keys: What is left of the keys of limits.
    """

    limits: Mapping[str, int]
    busy: Counter[str]
    poison: bool
    fits: Callable[[str, str | None, int], str | None]
    now: datetime
    keys: KeyRooms
    room: dict[str, int] = field(default_factory=dict)
    run_ids: list[int] = field(default_factory=list)
    misfits: list[Misfit] = field(default_factory=list)
    expired: list[int] = field(default_factory=list)
    later: list[Any] = field(default_factory=list)
    _reasons: dict[int, str | None] = field(default_factory=dict)

    @property
    def goes_on(self) -> bool:
        """Whether this claim may look at more runs; else the next one does."""
        return self.keys.more and len(self.misfits) + len(self.expired) < MOST_MISFITS

    def full(self) -> list[str]:
        """The jobs at their limit."""
        return [name for name, limit in self.limits.items() if self.busy[name] >= limit]

    async def look(self, connection: AsyncConnection, rows: Iterable[Any]) -> None:
        """See what is left of the keys of runs; but for those that the node cannot perform, as it does not know what their jobs say of keys."""
        await self.keys.look(connection, [row for row in rows if self._why_not(row) is None])

    def _why_not(self, row: Any) -> str | None:
        if row.Id not in self._reasons:
            self._reasons[row.Id] = self.fits(row.JobName, row.ArgumentsJson, row.Id)
        return self._reasons[row.Id]

    def take(self, row: Any) -> bool:
        """Take a run if nothing is in its way, and say whether."""
        if row.ExpiresAt is not None and row.ExpiresAt <= self.now and row.Attempt == 0:
            self.expired.append(row.Id)
            return False
        why = self._why_not(row)
        if why is not None:
            self.misfits.append(Misfit(row.Id, row.JobName, why))
            return False
        limit, poison = self.limits.get(row.JobName), row.LostWorkers >= POISON_AFTER
        if limit is not None and self.busy[row.JobName] >= limit:
            return False
        if (poison and self.poison) or self.keys.is_held_up(row):
            self.later.append(row)
            return False
        if self.room.get(row.Queue, 1) < 1 or not self.keys.take(row):
            return False
        if row.Queue in self.room:
            self.room[row.Queue] -= 1
        self.busy[row.JobName] += 1
        self.poison = self.poison or poison
        self.run_ids.append(row.Id)
        return True
