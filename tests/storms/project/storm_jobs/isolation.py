"""Where the jobs of a storm run: in the node's threads, or each in a worker process of its own."""

import os
from typing import Any

from targcc_scheduler.kernel.jobs.declaration import JobOptions


def isolated() -> dict[str, Any]:
    """The options of ``@job`` that the storm asks for."""
    wanted = os.environ.get("STORM_ISOLATION", "thread")
    return {"isolation": wanted} if "isolation" in JobOptions.__optional_keys__ else {}
