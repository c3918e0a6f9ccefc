"""Maintenance by a node: sweep dependencies, expired runs and limits; keep the text index up to date."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from .. import limits, on_settled, releases, text_index
from ..engine.submit import hand_on
from ..throttle import Throttle
from ..worker import claimer
from .loops import Every, NodeContext, WhenSeen

# Text index: also tell the features of ended runs, with low priority.

_TEXT_SECONDS = 3.0
_MANY = 50
"""Number of waiting runs that marks a busy database."""
_BESIDE_WORK = 30.0
"""Pause after a step of a busy database, in multiples of the step's duration.

The index may fall behind by :data:`.text_index.BEHIND` runs: searches read unindexed runs directly.
"""
_LEAST_AT_ONCE = 1_000
"""Least number of runs in a transaction on PostgreSQL. Their texts are split on the event loop, in about 30 ms."""
_STEPS = 50
"""Number of steps between two looks whether the index is behind."""
_BEHIND = 2.0
"""Pause after a step of an index that is behind, in multiples of the usual pause."""


def pause_after(waits: int, usual: float, *, behind: bool) -> float:
    """Return the pause after a step of the index, as a share of the step's duration.

    A loaded million of runs is indexed in minutes, beside other work. A burst of runs is indexed after the burst.

    Args:
        waits: The number of ended runs that wait for the index.
        usual: The usual pause on this database.
        behind: Whether many more runs wait than a burst leaves, or runs from before the index are not indexed yet.
    """
    if waits < _MANY:
        return usual
    return usual * _BEHIND if behind else _BESIDE_WORK


class TextKeeper:
    """Runs the steps of the text index.

    Args:
        context: The node, with the features that take note of ended runs.
    """

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._store = context.services.store
        self._pace = Throttle.on(self._store)
        # Where writers do not wait for each other, a longer transaction of a deletion delays nobody.
        if self._store.dialect.many_writers:
            self._pace.least = _LEAST_AT_ONCE
        self._usual = self._pace.pause

    async def once(self) -> None:
        """Run steps until no work is left or the node stops."""
        context, more, behind, steps = self._context, True, False, 0
        while more and not context.ending.is_set():
            async with self._store.read() as connection:
                work = await text_index.look(connection, context.services.clock.now())
                if steps % _STEPS == 0:
                    behind = await text_index.is_behind(connection)
            steps += 1
            if work.sends:
                for listener in context.ended_runs:
                    listener.wake()
            self._pace.pause = pause_after(
                work.waits, self._usual, behind=behind or work.unseen > 0
            )
            more = work.waits > 0 and await self._step(self._index)
            if work.unseen:
                more = await self._step(text_index.catch_up) or more

    async def _index(self, connection: AsyncConnection, most: int) -> int:
        return await text_index.step(connection, most, self._tell)

    async def _tell(self, connection: AsyncConnection, run_ids: Sequence[int]) -> None:
        for listener in self._context.ended_runs:
            await listener.note(connection, run_ids)

    async def _step(self, step: Callable[[AsyncConnection, int], Awaitable[int]]) -> bool:
        started = time.monotonic()
        async with self._store.write() as connection:
            taken = await step(connection, self._pace.size)
        await self._context.pause(self._pace.learn(time.monotonic() - started))
        return taken > 0


# Sweeps.

_TIE_SECONDS = 30.0


class Maintenance:
    """Runs the maintenance of a node.

    Args:
        context: The node.
    """

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._texts = TextKeeper(context)
        self.sweep = Every(context, "looking after ties", self.sweep_once, _TIE_SECONDS)
        self.index = WhenSeen(
            context, "indexing texts", lambda seen: seen.texts, self.index_once, _TEXT_SECONDS
        )

    async def index_once(self) -> None:
        """Index all texts that wait for indexing."""
        await self._texts.once()

    async def sweep_once(self) -> None:
        """Apply missed effects of settled runs, end expired runs, and admit runs that still wait although their limit has capacity."""
        await self._sweep_ties()
        await self._sweep_limits()

    async def _sweep_ties(self) -> None:
        services, ending = self._context.services, self._context.ending
        # On SQLite, the engine reads in a thread of its own, as this may read many runs.
        async with services.store.engine.connect() as connection:
            sweeps = await on_settled.missed(connection, services.clock.now())
        more = bool(sweeps)
        while more and not ending.is_set():
            async with services.store.write() as connection:
                now = services.clock.now()
                effects = await on_settled.sweep(connection, sweeps, now)
                await hand_on(services.engine, connection, effects, now)
            services.engine.wake()
            more = bool(effects.settled)

    async def _sweep_limits(self) -> None:
        """Sweep limits if this node's release decides; the sweep also applies limits that the release changed."""
        context = self._context
        async with context.services.store.read() as connection:
            if not await limits.are_used(connection):
                return
            first = releases.deciding(await releases.load(connection))
        if first is not None and first.name == context.release():
            await claimer.sweep(context.services, context.definitions)
