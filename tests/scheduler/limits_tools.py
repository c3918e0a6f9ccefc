"""Runs with limits in the state after a claim, without a worker."""

from dataclasses import replace

import sqlalchemy as sa
from engine_rig import Node
from targcc_scheduler import Scheduler
from targcc_scheduler.db.tables import job_limit, job_run
from targcc_scheduler.kernel.jobs.options import LimitPolicy
from targcc_scheduler.kernel.limit_claims import KeyCapacities
from targcc_scheduler.kernel.runs import claim as run_claim
from targcc_scheduler.kernel.runs.values import Offer, OfferedRun, Tie
from targcc_scheduler.kernel.worker.claimer import LimitPolicies


async def let_some_have_room(scheduler: Scheduler, job: str) -> None:
    """Give capacity to as many waiting runs of a job as its limit allows; mark the rest as waiting for capacity."""
    c = job_run.c
    waiting = sa.select(job_run).where(c.JobName == job, c.State == "enqueued")
    waiting = waiting.order_by(c.Priority.desc(), c.DueAt, c.Id).with_for_update()

    async def work(call):
        rows = (await call.connection.execute(waiting)).all()
        keys = KeyCapacities(LimitPolicies(scheduler.definitions), call.now)
        await keys.look(call.connection, rows)
        have = [row.Id for row in rows if keys.take(row)]
        await keys.ask(call.connection)
        kept = sa.update(job_run).where(c.Id.in_(have)).values(RoomAt=call.now)
        await call.connection.execute(kept)
        await keys.close(call.connection)

    await scheduler.operate(work, None)


async def change(node: Node, run_ids: list[int], **values: object) -> None:
    async with node.store.write() as connection:
        statement = sa.update(job_run).where(job_run.c.Id.in_(run_ids))
        await connection.execute(statement.values(**values))


async def keyed(node: Node, key: str, count: int = 1, **values: object) -> list[int]:
    ids = await node.create_many(count)
    await change(node, ids, LimitKey=f"Work k={key}", Ties=int(Tie.LIMITED), **values)
    return ids


async def add_key(node: Node, key: str, **values: object) -> None:
    row = {"LimitKey": f"Work k={key}", "JobName": "Work", "UpdatedAt": node.clock.now()}
    async with node.store.write() as connection:
        await connection.execute(sa.insert(job_limit), [row | values])


async def rows(node: Node, run_ids: list[int]) -> list[sa.Row]:
    query = sa.select(job_run).where(job_run.c.Id.in_(run_ids)).order_by(job_run.c.Id)
    async with node.store.read() as connection:
        return list((await connection.execute(query)).all())


async def claim(node: Node, run_ids: list[int], most: int = 1) -> list[int]:
    """Claim the runs with at most ``most`` concurrent runs per key; return the claimed ids."""
    terms = replace(node.terms(), keyed={"Work": LimitPolicy(most=most)})
    offer = Offer(runs=[OfferedRun(run_id, "Work") for run_id in run_ids])
    async with node.store.write() as connection:
        claimed = await run_claim.claim(connection, offer, terms)
    return [run.run_id for run in claimed.claims]
