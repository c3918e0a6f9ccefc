"""Strays: runs that are this node's by the tables, and of which it knows nothing.

A claim whose answer is lost may be committed after the node has looked for what it took: the server goes on with a statement whose
sender is gone. Nobody would perform such a run before the node ends. So each look at the tables compares what is the node's there with
what it has.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet

from sqlalchemy.ext.asyncio import AsyncConnection

from ...engine.handover import hand_over
from ...jobs.definition import JobDefinition
from ...storage.runs.claim import give_back
from ...storage.runs.values import ClaimKey, Settlement
from ..node_services import NodeServices

log = logging.getLogger("targcc.worker.claiming.strays")

_NOTE = "released: nobody heard that it was claimed"


class Strays:
    """Compares the tables with what a node has, and gives back what it does not know of.

    A run is one when two looks have found it running here in the same claim, this node had it at neither, and every claim that was under
    way at the first has ended.

    Args:
        services: Database, engine and clock.
        definitions: The jobs.
        held: The claims that this node performs or settles; it changes.
        under_way: Stands for the claims, and returns of claims, whose end is not known yet; it changes.
    """

    def __init__(
        self,
        services: NodeServices,
        definitions: Mapping[str, JobDefinition],
        held: Mapping[ClaimKey, object],
        under_way: AbstractSet[object],
    ) -> None:
        self._services = services
        self._definitions = definitions
        self._held = held
        self._under_way = under_way
        self._before: frozenset[ClaimKey] = frozenset()
        self._suspects: dict[ClaimKey, frozenset[object]] = {}

    def look(self) -> None:
        """The tables are about to be read."""
        self._before = frozenset(self._held)

    def among(self, running: Collection[ClaimKey]) -> list[ClaimKey]:
        """Those of the runs that are strays.

        Args:
            running: What is this node's by the tables, as read since :meth:`look`.
        """
        unknown = [key for key in running if key not in self._before and key not in self._held]
        now = frozenset(self._under_way) if unknown else frozenset()
        before, self._suspects = self._suspects, {}
        for key in unknown:
            self._suspects[key] = before.get(key, now)
        return [key for key in unknown if key in before and before[key].isdisjoint(now)]

    async def give_back(self, server_id: str, strays: Collection[ClaimKey]) -> list[Settlement]:
        """Let strays wait again, unharmed; what became of them. Tried once: what fails is found again by the next look.

        Raises:
            sqlalchemy.exc.DBAPIError: the database is unavailable.
        """
        services = self._services
        limits = {job.name: job.limit for job in self._definitions.values() if job.limit}

        async def work(connection: AsyncConnection) -> list[Settlement]:
            now = services.clock.now()
            returned = await give_back(connection, server_id, strays, limits, now, note=_NOTE)
            await hand_over(services.engine, connection, returned, now)
            return returned

        returned = await services.store.change(work)
        for item in returned:
            claim = item.claim
            log.warning("run %d (%s) is %s: %s", claim.run_id, claim.job_name, item.state, _NOTE)
        services.engine.wake()
        return returned
