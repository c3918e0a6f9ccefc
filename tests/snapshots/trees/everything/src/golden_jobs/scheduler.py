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
        name="golden-jobs",
        package="golden_jobs",
        timezone="America/New_York",
        database_url="postgresql://localhost/golden_jobs",
        queues={"default": 3, "slow": 1},
        queue="default",
        retries=2,
        backoff="1m",
        timeout="30m",
        features=("golden_jobs.features.notes",),
    )
)

if __name__ == "__main__":  # pragma: no cover
    targcc_scheduler.main(prog_name="targcc")
