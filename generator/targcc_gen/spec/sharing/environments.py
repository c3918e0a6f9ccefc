"""What is different where a project runs in a certain environment, such as staging."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool, StrictInt

from targcc_gen.spec.parts import Frozen
from targcc_gen.spec.pools.models import MODELS as POOL_MODELS
from targcc_gen.spec.pools.models import EnvironmentPool
from targcc_gen.spec.ties.values import OnDuplicate, UniqueScope
from targcc_gen.spec.times import Aging, Duration, TimeLimit
from targcc_gen.spec.values import JobKey, QueueName


class EnvironmentQueue(Frozen):
    """A queue in an environment; what is not said is as in `queues`."""

    workers: StrictInt | None = Field(
        default=None, ge=1, le=1000, description="How many of its runs go on at once on each node."
    )
    concurrency: StrictInt | None = Field(
        default=None, ge=1, le=1000, description="At most so many runs at once on all nodes."
    )
    aging: Aging | None = Field(
        default=None, description="What time of waiting counts as one point of priority."
    )
    isolation: Literal["thread", "process"] | None = Field(
        default=None, description="Whether its jobs run in processes of their own."
    )


class EnvironmentDefaults(Frozen):
    """What a job gets in an environment when it says nothing else."""

    retries: StrictInt | None = Field(
        default=None, ge=0, le=100, description="New attempts after a failed one."
    )
    backoff: Duration | None = Field(
        default=None, description="The wait before the first new attempt."
    )
    timeout: Duration | None = Field(
        default=None, description="How long an attempt may take before it is stopped."
    )
    queue: QueueName | None = Field(default=None, description="The queue of jobs that name none.")


class EnvironmentJob(Frozen):
    """A job in an environment; what is said here counts more than what the job itself says."""

    queue: QueueName | None = Field(default=None, description="The queue it waits in.")
    priority: StrictInt | None = Field(
        default=None, ge=-1000, le=1000, description="In its queue, a higher priority goes first."
    )
    retries: StrictInt | None = Field(
        default=None, ge=0, le=100, description="New attempts after a failed one."
    )
    backoff: Duration | None = Field(
        default=None, description="The wait before the first new attempt."
    )
    timeout: TimeLimit | None = Field(
        default=None, description="How long an attempt may take, or `none`."
    )
    overlap: Literal["skip", "queue", "allow"] | None = Field(
        default=None, description="When a slot comes while the job still runs."
    )
    concurrency: StrictInt | None = Field(
        default=None, ge=1, le=1000, description="At most so many of its runs on all nodes."
    )
    unique_scope: UniqueScope | None = Field(
        default=None, description="Of a job with `unique`: until when another run is a duplicate."
    )
    on_duplicate: OnDuplicate | None = Field(
        default=None, description="Of a job with `unique`: what becomes of the second run."
    )
    expires_in: TimeLimit | None = Field(
        default=None,
        description="After how long a run is cancelled instead of starting, or `none`.",
    )
    paused: StrictBool | None = Field(
        default=None, description="Whether the job starts out paused there."
    )


class EnvironmentFlow(Frozen):
    """A flow in an environment; what is said here counts more than what the flow itself says."""

    queue: QueueName | None = Field(default=None, description="The queue in which its start waits.")
    overlap: Literal["skip", "allow"] | None = Field(
        default=None, description="When its slot comes while it is under way."
    )
    paused: StrictBool | None = Field(
        default=None, description="Whether it starts out paused there."
    )


class EnvironmentSpec(Frozen):
    """An environment: what is different where `TARGCC_ENVIRONMENT` names it. It may be empty."""

    defaults: EnvironmentDefaults = Field(
        default_factory=EnvironmentDefaults, description="Defaults that are different there."
    )
    queues: dict[QueueName, EnvironmentQueue] = Field(
        default_factory=dict, description="Queues that are different there."
    )
    pools: dict[QueueName, EnvironmentPool] = Field(
        default_factory=dict, description="Pools that are different there."
    )
    jobs: dict[JobKey, EnvironmentJob] = Field(
        default_factory=dict, description="Jobs that are different there."
    )
    flows: dict[JobKey, EnvironmentFlow] = Field(
        default_factory=dict, description="Flows that are different there."
    )


MODELS: dict[str, type[Frozen]] = {
    **POOL_MODELS,
    "environment": EnvironmentSpec,
    "environment defaults": EnvironmentDefaults,
    "environment queue": EnvironmentQueue,
    "environment job": EnvironmentJob,
    "environment flow": EnvironmentFlow,
}
"""The kinds of mapping that environments add to a spec."""
