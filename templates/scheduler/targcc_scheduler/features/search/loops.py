"""Update the text index and fill webhook messages for the same runs, with low priority."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from ...kernel import text_index as index_keeper
from ...kernel.throttle import Throttle
from ...kernel.worker.node_services import NodeServices
from ..events import model as event_model

_STEP_SECONDS = 0.03
"""Target duration of a step. Texts are split on the scheduler's event loop, which is blocked meanwhile."""
_MANY = 50
"""Number of waiting runs that marks a busy database."""
_BESIDE_WORK = 30.0
"""Pause after a step of a busy database, in multiples of the step's duration.

The index may fall behind: searches read unindexed runs directly.
"""


class TextKeeper:
    """Run the steps of the text index.

    Args:
        services: Database, clock and settings.
        pause: Wait for a number of seconds, or until the node stops.
        sends: Called when webhook messages are due.
    """

    def __init__(
        self,
        services: NodeServices,
        pause: Callable[[float], Awaitable[None]],
        sends: Callable[[], None],
    ) -> None:
        self._store = services.store
        self._clock = services.clock
        self._page = services.settings.dashboard_url
        self._sends = sends
        self._wait = pause
        self._usual = Throttle.on(services.store).pause
        self._pace = Throttle(_STEP_SECONDS, self._usual)

    async def once(self, ended: Callable[[], bool]) -> None:
        """Run steps until no work is left or the node stops."""
        more = True
        while more and not ended():
            now = self._clock.now()
            async with self._store.read() as connection:
                found = await index_keeper.look(connection, now)
            if found.sends:
                self._sends()
            self._pace.pause = _BESIDE_WORK if found.waits >= _MANY else self._usual
            tell = partial(event_model.fill, now=now, page=self._page)
            step = partial(index_keeper.step, tell=tell)
            more = found.waits > 0 and await self._step(step)
            if found.unseen:
                more = await self._step(index_keeper.catch_up) or more

    async def _step(self, step: Callable[[AsyncConnection, int], Awaitable[int]]) -> bool:
        started = time.monotonic()
        async with self._store.write() as connection:
            taken = await step(connection, self._pace.size)
        await self._wait(self._pace.learn(time.monotonic() - started))
        return taken > 0
