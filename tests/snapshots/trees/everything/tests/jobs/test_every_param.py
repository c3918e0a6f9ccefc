from golden_jobs.jobs.every_param import EveryParamJob
from golden_jobs.scheduler import run_job


async def test_succeeds() -> None:
    outcome = await run_job(EveryParamJob(), text="text", numbers=[1])

    assert outcome.result.ok
