# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""What this project said in targcc.yaml when it was generated."""

NAME = "golden-jobs"
PACKAGE = "golden_jobs"
DESCRIPTION = 'Says "hello", C:\\temp, {{ braces }} and שלום'
TIMEZONE = "America/New_York"
"""The zone of jobs that name none."""

DATABASE_URL = "postgresql://localhost/golden_jobs"
"""Where TARGCC_DATABASE_URL says nothing else."""

QUEUES: dict[str, int] = {
    "default": 3,
    "slow": 1,
}
"""Queues by name, with the number of runs that go on at once on each node."""

QUEUE = "default"
RETRIES: int = 2
BACKOFF = "1m"
TIMEOUT: str | None = "30m"
"""What jobs get that say nothing else; a timeout of None is no limit."""

GENERATOR_VERSION = "0.1.0"
