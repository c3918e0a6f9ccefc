"""The audit as a whole: verified, and rows of an earlier release taken into its chain."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor
from ...core.errors import AuditError
from ...kernel.audit import audit
from ...scheduler import Scheduler
from . import chain
from .chain import Link
from .queries import Verdict, verify


async def verified(scheduler: Scheduler, noted: str = "") -> Verdict:
    """Whether the audit is what was written; rows that have no place yet get one first.

    Args:
        scheduler: Whose.
        noted: The head of the chain as it was noted some time ago; empty for none.

    Raises:
        AuditError: what was noted is no such head, or says nothing any more.
    """
    try:
        head = Link.parse(noted) if noted else None
    except ValueError as error:
        raise AuditError(str(error)) from None
    await _seal(scheduler)
    verdict = await verify(scheduler.read, head)
    if verdict.too_old and verdict.fault is None:
        raise AuditError("the row of the head that was noted has been removed for its age")
    return verdict


async def adopt(scheduler: Scheduler, by: Actor) -> list[int]:
    """Take rows into the chain that a node of an earlier release wrote, after a person has looked at them; their ids."""
    now = scheduler.clock.now()

    async def work(db: AsyncConnection) -> list[int]:
        ids = await db.run_sync(chain.adopt)
        if ids:
            detail = f"{len(ids)} rows without a hash: {', '.join(map(str, ids))}"
            await audit(db, by, "adopt audit rows", now, detail=detail)
        return ids

    return await scheduler.change(work)


async def _seal(scheduler: Scheduler) -> None:
    more = True
    while more:
        more = await scheduler.change(lambda db: db.run_sync(chain.seal))
