"""Jobs of an imported project, as its targcc.yaml has them; each run appends its slot to the file of both sides.

A run of the first step of a flow stands for the flow; later steps have a file of their own. ``CloseSum`` fails.
"""

import os
from collections.abc import Callable
from datetime import UTC
from pathlib import Path

from targcc_gen.spec import load_spec
from targcc_scheduler import JobContext, JobResult, JobType, job

_SPEC = load_spec(Path(os.environ["AGENT_PROJECT"]) / "targcc.yaml")
_STEPS = {step.job for flow in _SPEC.flows.values() for step in flow.steps.values()}
_FIRST_STEPS = {
    step.job: key
    for key, flow in _SPEC.flows.items()
    for step in flow.steps.values()
    if not step.after
}
"""The flow of each job that is its first step: the run of the step stands for the slot of the flow."""


def _noting(key: str) -> Callable[[JobContext], JobResult]:
    def run(ctx: JobContext) -> JobResult:
        slot = ctx.scheduled_for.astimezone(UTC).replace(second=0, microsecond=0).isoformat()
        is_later = key in _STEPS and key not in _FIRST_STEPS
        record = Path(os.environ["RECORD"])
        with (record.with_suffix(".steps") if is_later else record).open(
            "a", encoding="utf-8"
        ) as file:
            file.write(f"new {_FIRST_STEPS.get(key, key)} {slot}\n")
        return JobResult.failure("the disk was full") if key == "CloseSum" else JobResult.success()

    run.__name__ = run.__qualname__ = key
    return run


for _key, _job in _SPEC.jobs.items():
    globals()[_key] = job(
        _job.cron or JobType.MANUAL,
        name=_SPEC.stable_name(_key),
        timezone=_SPEC.project.timezone,
        retries=_job.retries,
        misfire=_job.misfire.policy if _job.misfire else "run_once",
        paused=_job.paused,
    )(_noting(_key))
