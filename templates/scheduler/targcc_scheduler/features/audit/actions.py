"""Verify the audit, and adopt rows of an earlier release into its chain."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.actor import Actor
from ...core.errors import AuditError
from ...kernel import audit_chain as chain
from ...kernel.audit import audit
from ...kernel.audit_chain import Link
from ...scheduler import Scheduler
from .queries import Verdict, verify


async def verified(scheduler: Scheduler, noted: str = "") -> Verdict:
    """Seal unsealed rows, then verify the audit.

    Args:
        scheduler: The scheduler.
        noted: The chain's head from an earlier verification; empty for none.

    Raises:
        AuditError: the noted head is malformed, or retention has removed its row.
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
    """Adopt rows without hash, which a node of an earlier release wrote, into the chain. A person must have reviewed the rows.

    Returns:
        Ids of the adopted rows.
    """
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
