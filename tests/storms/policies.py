"""What the storm's project promises of each job; the checker holds the tables and the record against it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """What may become of the runs of a job.

    Args:
        ends: The state in which a run ends that no fault hit too often.
        retries: How many of its own failures are tried again; lost workers do not count.
        every: Seconds between two slots of a recurring job; several when a release changes the schedule.
        overlap: What becomes of a slot that comes while the job is busy.
        at_once: How many of its runs may be performed at once, on all nodes together.
        releases: The releases that know it.
        queue: Where they wait.
        priority: What they have of it.
        writes: Whether it writes the record; the job of a flow, which only starts that, does not.
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
"""How often the submitter asks for each of the jobs that have no schedule: for a follower with what it waits for, for a batch that is finished,
for a flow by its own name or its job's, and for what shares its workers or its queue beside many of those."""
POOL_WORKERS = 2
"""How many runs of the queues of the pool go on at once on each node."""
POOL = ("urgent", "bulk")
"""The queues that share workers, the higher one first where their order is strict."""
AGING, AGING_SECONDS = "aging", 2
"""The queue in which waiting counts, and how long a run waits there for a point of priority."""
PARENTS = ["Token", "Flaky", "Hopeless", "Refusing", "Plain"]
"""What a follower waits for, and what batches are of: some succeed at once or in the end, others fail."""
ONE_SCHEDULE = [name for name, policy in POLICIES.items() if len(policy.every) == 1]
"""The recurring jobs whose schedule no release changes."""
