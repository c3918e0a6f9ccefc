from acme_jobs.jobs.heartbeat import HeartbeatJob
from acme_jobs.scheduler import run_job


async def test_succeeds() -> None:
    outcome = await run_job(HeartbeatJob())

    assert outcome.result.ok
