"""Policies of the storm project's jobs; the checker compares tables and record with them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """Allowed outcomes of a job's runs.

    Args:
        ends: The final state of a run that faults did not hit too often.
        retries: How many of its own failures are retried; lost workers do not count.
        every: Seconds between two slots of a recurring job; several when a release changes the schedule.
        overlap: The handling of a slot while the job is busy.
        at_once: The limit of concurrent runs across all nodes.
        releases: The releases that know the job.
        queue: The queue of its runs.
        priority: The priority of its runs.
        writes: Whether the job writes the record; the job that only starts a flow does not.
    """

    ends: str = "succeeded"
    retries: int = 0
    every: tuple[int, ...] = ()
    overlap: str = "allow"
    at_once: int | None = None
    releases: tuple[int, ...] = (1, 2, 3)
    queue: str = "default"
    priority: int = 0
    writes: bool = True


POLICIES = {
    "Tick": Policy(every=(1,)),
    "Busy": Policy(every=(2,), overlap="skip"),
    "Turns": Policy(every=(3,), overlap="queue", at_once=1),
    "Minute": Policy(every=(60,)),
    "Shifting": Policy(every=(3, 4)),
    "Token": Policy(),
    "Flaky": Policy(retries=2),
    "Hopeless": Policy(ends="failed", retries=1),
    "Refusing": Policy(ends="failed"),
    "Stepped": Policy(),
    "Long": Policy(),
    "Plain": Policy(),
    "Limited": Policy(retries=2, at_once=2),
    "Follower": Policy(),
    "Gathered": Policy(),
    "Finished": Policy(),
    "Single": Policy(retries=5),
    "Pending": Policy(),
    "Brief": Policy(),
    "Fan": Policy(writes=False),
    "Split": Policy(retries=5),
    "Part": Policy(retries=5),
    "Join": Policy(),
    "Branch": Policy(),
    "Urgent": Policy(queue="urgent"),
    "Bulk": Policy(queue="bulk"),
    "Eager": Policy(queue="aging", priority=4),
    "Patient": Policy(queue="aging"),
    "Retiring": Policy(releases=(1, 2)),
    "Newcomer": Policy(releases=(2, 3)),
    "Handled": Policy(retries=1),
    "Settled": Policy(),
    "Prompt": Policy(queue="prompt"),
}
WEIGHTS = {
    "Token": 4,
    "Flaky": 2,
    "Hopeless": 1,
    "Refusing": 1,
    "Stepped": 4,
    "Long": 1,
    "Plain": 2,
    "Limited": 5,
    "Follower": 4,
    "Finished": 2,
    "Single": 4,
    "Pending": 3,
    "Brief": 3,
    "Fan": 3,
    "Bulk": 1,
    "Patient": 1,
    "Retiring": 1,
    "Newcomer": 2,
}
"""Frequency with which the submitter requests each job without a schedule. A follower comes with its parents, a batch with its runs,
a flow by its name or its job, and a job of a shared pool or queue beside many other runs there.
"""
POOL_WORKERS = 2
"""Concurrent runs of the pool's queues on each node."""
POOL = ("urgent", "bulk")
"""Queues that share workers; in strict order the first queue is the highest."""
AGING, AGING_SECONDS = "aging", 2
"""The queue that counts waiting time, and the seconds of waiting for a point of priority."""
PARENTS = ["Token", "Flaky", "Hopeless", "Refusing", "Plain"]
"""Jobs used as parents and batch members: some succeed at once or after retries, others fail."""
HANDLED = "Handled"
"""The job whose runs people cancel, delete and retry."""
PROMPT, PROMPT_SECONDS = "Prompt", 1
"""The job with the expectation that its runs start within these seconds."""
ONE_SCHEDULE = [name for name, policy in POLICIES.items() if len(policy.every) == 1]
"""Recurring jobs with the same schedule in every release."""
