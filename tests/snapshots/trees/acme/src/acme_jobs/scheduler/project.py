# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""What this project said in targcc.yaml when it was generated."""

NAME = "acme-jobs"
PACKAGE = "acme_jobs"
DESCRIPTION = "Reports, clean-ups and syncs of Acme Garden Tools"
TIMEZONE = "Asia/Jerusalem"
"""The zone of jobs that name none."""

DATABASE_URL = "sqlite:///acme_jobs.db"
"""Where TARGCC_DATABASE_URL says nothing else."""

QUEUES: dict[str, int] = {
    "default": 5,
    "critical": 2,
}
"""Queues by name, with the number of runs that go on at once on each node."""

QUEUE = "default"
RETRIES: int = 3
BACKOFF = "30s"
TIMEOUT: str | None = "1h"
"""What jobs get that say nothing else; a timeout of None is no limit."""

GENERATOR_VERSION = "0.1.0"
