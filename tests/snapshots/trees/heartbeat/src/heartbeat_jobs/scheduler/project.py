# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""What this project said in targcc.yaml when it was generated."""

NAME = "heartbeat-jobs"
PACKAGE = "heartbeat_jobs"
DESCRIPTION = ""
TIMEZONE = "UTC"
"""The zone of jobs that name none."""

DATABASE_URL = "sqlite:///heartbeat_jobs.db"
"""Where TARGCC_DATABASE_URL says nothing else."""

QUEUES: dict[str, int] = {
    "default": 5,
}
"""Queues by name, with the number of runs that go on at once on each node."""

QUEUE = "default"
RETRIES: int = 3
BACKOFF = "30s"
TIMEOUT: str | None = None
"""What jobs get that say nothing else; a timeout of None is no limit."""

GENERATOR_VERSION = "0.1.0"
