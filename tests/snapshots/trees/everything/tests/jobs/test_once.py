from golden_jobs.jobs.once import OnceJob
from golden_jobs.scheduler import run_job


async def test_succeeds() -> None:
    outcome = await run_job(OnceJob())

    assert outcome.result.ok
