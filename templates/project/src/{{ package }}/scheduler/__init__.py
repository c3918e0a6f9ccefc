# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""The scheduler of this project: write a class with ``@job`` in the jobs package, and it runs."""

from .actor import SYSTEM, Actor, ActorKind
from .arguments import ArgumentsError
from .context import JobCancelled, JobContext, StepError
from .discovery import BrokenModule
from .job import Alerts, Job, JobDefinition, JobError, JobType, job
from .result import JobResult
from .scheduler import RunStateError, Scheduler, UnknownJob, UnknownRun
from .settings import Settings
from .states import RunState

__all__ = [
    "SYSTEM",
    "Actor",
    "ActorKind",
    "Alerts",
    "ArgumentsError",
    "BrokenModule",
    "Job",
    "JobCancelled",
    "JobContext",
    "JobDefinition",
    "JobError",
    "JobResult",
    "JobType",
    "RunState",
    "RunStateError",
    "Scheduler",
    "Settings",
    "StepError",
    "UnknownJob",
    "UnknownRun",
    "job",
]
