"""What can be done with batches that exist: ``scheduler.batches``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from ...core.actor import SYSTEM, Actor
from ...hosting import Connection, Host
from ...jobs.definition import JobDefinition, JobType
from ...jobs.registry import JobRef
from ...operations import Call
from ..asked import new_runs
from . import operate

Begin = Callable[[Call, int, Actor], Awaitable[operate.Members]]


class Batches:
    """Cancels batches, has what failed of them done again, and adds to them.

    Args:
        host: Where they are.
        find: Finds a job.
    """

    def __init__(self, host: Host, find: Callable[[JobRef], JobDefinition]) -> None:
        self._host = host
        self._find = find

    async def cancel(self, batch_id: int, *, by: Actor) -> int:
        """Cancel all runs of a batch, and of those in it: those that wait at once, the others are told. How many.

        It is done in steps of 1,000 runs; nothing can be added from the first on.

        Raises:
            UnknownBatch: there is none with this id.
            BatchError: it is over.
        """
        return await self._all(operate.begin_cancel, operate.cancel_some, batch_id, by)

    async def retry_failed(self, batch_id: int, *, by: Actor) -> int:
        """Do the runs of a batch again that have failed or were cancelled; how many. The new runs take their places in the batch.

        It is done in steps of 1,000 runs.

        Raises:
            UnknownBatch: there is none with this id.
            BatchError: none has failed, or been cancelled.
        """
        return await self._all(operate.begin_retry, operate.retry_some, batch_id, by)

    async def add(
        self,
        batch_id: int,
        job: JobRef,
        many: Iterable[Mapping[str, Any]],
        *,
        by: Actor = SYSTEM,
        session: Connection | None = None,
    ) -> list[int]:
        """Add runs to a batch that is not over, as from one of its runs; their ids.

        Raises:
            UnknownBatch: there is none with this id.
            BatchError: it is over, or being cancelled.
            ArgumentsError: the arguments do not fit the job.
        """
        definition, now, kind = self._find(job), await self._host.now(), JobType.FIRE_AND_FORGET
        runs = new_runs(definition, kind, many, by, now)
        return await self._host.operate(operate.add, session, batch_id, runs)

    async def _all(self, begin: Begin, doing: operate.Doing, batch_id: int, by: Actor) -> int:
        members = await self._host.operate(begin, None, batch_id, by)
        total, after, more = 0, 0, True
        while more:
            after, count = await self._host.operate(operate.step, None, members, by, doing, after)
            total, more = total + count, after > 0
        return total
