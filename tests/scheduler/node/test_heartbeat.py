"""The heartbeat waits only for its own statement."""

from datetime import timedelta

import sqlalchemy as sa
from rt_tools import QUICK, until
from targcc_scheduler import JobType, Scheduler, Settings, job
from targcc_scheduler.db.tables import job_run, job_server


@job(JobType.MANUAL)
async def later() -> None:
    """Job whose run becomes due."""


async def test_a_node_stays_alive_while_somebody_has_a_due_run_locked(migrated_postgresql_url):
    """The locked row delays staging of the run but must not delay the heartbeat."""
    settings = Settings(_env_file=None, database_url=migrated_postgresql_url, **QUICK)
    scheduler = Scheduler(settings, jobs_package=__name__)
    run_id = await scheduler.schedule("Later", delay=timedelta(seconds=0.1))
    engine = sa.create_engine(
        sa.make_url(migrated_postgresql_url).set(drivername="postgresql+psycopg")
    )
    with engine.begin() as locking:
        locking.execute(sa.select(job_run).where(job_run.c.Id == run_id).with_for_update())
        await scheduler.start(schedule=False)
        seen = set()

        def beats():
            with engine.begin() as looking:
                seen.add(looking.scalar(sa.select(job_server.c.HeartbeatAt)))
            return len(seen) >= 20

        await until(beats)
    assert await scheduler.wait(run_id, 40) == "succeeded"
    await scheduler.stop()
    engine.dispose()
