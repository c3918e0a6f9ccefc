from golden_jobs.jobs.every_option import EveryOptionJob
from golden_jobs.scheduler import run_job


async def test_succeeds() -> None:
    outcome = await run_job(EveryOptionJob())

    assert outcome.result.ok
