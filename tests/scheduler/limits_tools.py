"""Runs of limits as a claim leaves them, without a worker."""

import sqlalchemy as sa
from targcc_scheduler import Scheduler
from targcc_scheduler.storage.tables import job_run
from targcc_scheduler.storage.ties.limit_keys.claims import KeyRooms
from targcc_scheduler.worker.claiming.staging import terms_of


async def let_some_have_room(scheduler: Scheduler, job: str) -> None:
    """As many of a job's runs that wait for a worker have room from now on as its limit allows; the others ask for it."""
    c = job_run.c
    waiting = sa.select(job_run).where(c.JobName == job, c.State == "enqueued")
    waiting = waiting.order_by(c.Priority.desc(), c.DueAt, c.Id).with_for_update()

    async def work(call):
        rows = (await call.connection.execute(waiting)).all()
        keys = KeyRooms(terms_of(scheduler.definitions), call.now)
        await keys.look(call.connection, rows)
        have = [row.Id for row in rows if keys.take(row)]
        await keys.ask(call.connection)
        kept = sa.update(job_run).where(c.Id.in_(have)).values(RoomAt=call.now)
        await call.connection.execute(kept)
        await keys.close(call.connection)

    await scheduler.operate(work, None)
