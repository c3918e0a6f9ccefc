from golden_jobs.jobs.later import LaterJob
from golden_jobs.scheduler import run_job


async def test_succeeds() -> None:
    outcome = await run_job(LaterJob())

    assert outcome.result.ok
