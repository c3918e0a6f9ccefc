# Managed by targcc-gen: regenerate merges edits; `targcc-gen eject PATH` makes it yours
"""The scheduler of this project: settings from targcc.yaml, public names."""

from typing import TYPE_CHECKING, Any

import targcc_scheduler
from targcc_scheduler import Project, configure

if TYPE_CHECKING:  # pragma: no cover
    from targcc_scheduler import *  # noqa: F403 - editors and mypy see every name

    _ = job  # noqa: F405 - to flake8, the import is used
else:

    def __getattr__(name: str) -> Any:
        """Import a public name at its first use, which keeps the start fast."""
        return getattr(targcc_scheduler, name)


__all__ = targcc_scheduler.__all__

configure(
    Project(
        name="heartbeat-jobs",
        package="heartbeat_jobs",
        timezone="UTC",
        database_url="sqlite:///heartbeat_jobs.db",
        queues={"default": 5},
        queue="default",
        retries=3,
        backoff="30s",
        timeout=None,
    )
)

if __name__ == "__main__":  # pragma: no cover
    targcc_scheduler.main(prog_name="targcc")
