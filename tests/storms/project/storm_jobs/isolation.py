"""Isolation of the storm's jobs: threads of the node, or a worker process for each."""

import os
from typing import Any

from targcc_scheduler.kernel.jobs.declaration import JobOptions


def isolated() -> dict[str, Any]:
    """Return the options of ``@job`` for the storm's isolation."""
    wanted = os.environ.get("STORM_ISOLATION", "thread")
    return {"isolation": wanted} if "isolation" in JobOptions.__optional_keys__ else {}
