"""Jobs that were renamed go on with what is kept under their earlier names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping

import sqlalchemy as sa

from ..core.outage import OUTAGES, Outage
from ..engine.handover import submission
from ..jobs.definition import JobDefinition
from ..storage.aliases import take_over
from ..storage.ties.limit_keys import renamed
from ..worker.node_services import NodeServices

log = logging.getLogger("targcc.node.aliases")

_MOST = 500
"""So many rows of a table change their name in one transaction."""


class Aliases:
    """Lets jobs take over what is kept under the names that they had before.

    Nodes of the release before may still write under the old names: it looks again as long as the jobs say that they had them.

    Args:
        services: Database, engine, clock and settings.
        definitions: The jobs; may grow.
        release: The release of this node, once it is known.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        release: Callable[[], str],
    ) -> None:
        self.taken: Callable[[], None] = lambda: None
        """Called when a job has taken over a schedule."""
        self._services = services
        self._definitions = definitions
        self._release = release
        self._outage = Outage(log, "taking over what renamed jobs had")

    async def start(self) -> None:
        """Take over what decides about runs, before any is created or taken.

        Raises:
            sqlalchemy.exc.DBAPIError: the database cannot be written.
        """
        for new, old in self._names():
            await self._carry_limits(new, old)
            await self._take_over(new, old)

    async def run(self) -> None:
        """Take the history over, and what comes later, until cancelled."""
        while True:
            try:
                await self.look()
                self._outage.over()
                wait = self._services.settings.heartbeat_seconds
            except (*OUTAGES, sa.exc.IntegrityError) as error:  # a node settled a run meanwhile
                wait = self._outage.failed(error).total_seconds()
            await asyncio.sleep(wait)

    async def look(self) -> None:
        """Take over all that is there."""
        for new, old in self._names():
            await self._take_over(new, old)
            there_is_more = True
            while there_is_more:
                there_is_more = await self._take_history(new, old)

    def _names(self) -> Iterator[tuple[str, str]]:
        """The jobs with each name that they had; one that another job has is that one's."""
        for name, definition in list(self._definitions.items()):
            for alias in definition.aliases:
                if alias not in self._definitions:
                    yield name, alias

    async def _carry_limits(self, new: str, old: str) -> None:
        """Before this node lets runs ask for room: all nodes that let some ask do so under one key by then."""
        if self._definitions[new].keyed_limit is None:
            return
        store, now = self._services.store, self._services.clock.now()
        await store.change(lambda connection: renamed.lead_on(connection, new, old, now))
        await store.change(lambda connection: renamed.carry(connection, new, old))

    async def _take_over(self, new: str, old: str) -> None:
        store, engine = self._services.store, self._services.engine
        async with store.read() as connection:
            if not await take_over.is_left(connection, new, old):
                return
        async with store.write() as connection:
            taken = await take_over.take_over(connection, new, old, self._release())
            if taken.refused:
                await engine.refer(connection, [submission(run) for run in taken.refused])
        if taken.schedule:
            log.info("%s goes on with the schedule and the pause of %s", new, old)
            self.taken()
        if taken.refused:
            engine.wake()

    async def _take_history(self, new: str, old: str) -> bool:
        async with self._services.store.write() as connection:
            return await take_over.take_history(connection, new, old, _MOST)
