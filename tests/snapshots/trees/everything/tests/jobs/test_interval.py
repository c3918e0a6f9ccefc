from golden_jobs.jobs.interval import IntervalJob
from golden_jobs.scheduler import run_job


async def test_succeeds() -> None:
    outcome = await run_job(IntervalJob())

    assert outcome.result.ok
