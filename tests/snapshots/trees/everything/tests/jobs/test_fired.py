from golden_jobs.jobs.fired import FiredJob
from golden_jobs.scheduler import run_job


async def test_succeeds() -> None:
    outcome = await run_job(FiredJob(), user_id=1)

    assert outcome.result.ok
