"""Shows what a decorator can say."""

from golden_jobs.scheduler import Alerts, JobContext, JobResult, job


@job(
    "0 2 * * *",
    timezone="Europe/London",
    display_name='The "Every" Option',
    name="SP_Every Option",
    queue="slow",
    priority=5,
    retries=0,
    backoff="1m30s",
    timeout="1h30m",
    overlap="queue",
    misfire="run_all",
    misfire_grace="2d",
    concurrency=2,
    alerts=Alerts(
        on=("failure", "success", "missed", "slower than 5m"),
        email=("a@example.com", "b@example.com"),
        slack="https://hooks.example.com/a",
        teams="${TEAMS_URL}",
        webhook="file:/run/secrets/hook",
        max_per_hour=6,
    ),
    paused=True,
)
class EveryOptionJob:
    """Shows what a decorator can say."""

    async def execute(self, ctx: JobContext) -> JobResult:
        ctx.log.info("Nothing to do yet", attempt=ctx.attempt)
        return JobResult.success()
