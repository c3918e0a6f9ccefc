"""Jobs of an imported project, as its targcc.yaml has them; each run appends its slot to the file of both sides."""

import os
from collections.abc import Callable
from datetime import UTC
from pathlib import Path

from targcc_gen.spec import load_spec
from targcc_scheduler import JobContext, JobResult, job

_SPEC = load_spec(Path(os.environ["AGENT_PROJECT"]) / "targcc.yaml")


def _noting(key: str) -> Callable[[JobContext], JobResult]:
    def run(ctx: JobContext) -> JobResult:
        slot = ctx.scheduled_for.astimezone(UTC).isoformat()
        with Path(os.environ["RECORD"]).open("a", encoding="utf-8") as file:
            file.write(f"new {key} {slot}\n")
        return JobResult.success("done")

    run.__name__ = run.__qualname__ = key
    return run


for _key, _job in _SPEC.jobs.items():
    globals()[_key] = job(
        _job.cron,
        name=_SPEC.stable_name(_key),
        timezone=_SPEC.project.timezone,
        retries=_job.retries,
        misfire=_job.misfire.policy,
        paused=_job.paused,
    )(_noting(_key))
