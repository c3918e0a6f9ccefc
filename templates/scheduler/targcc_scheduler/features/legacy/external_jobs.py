"""Create the follower of the old server's job table, if the settings name a database."""

from __future__ import annotations

from ...core.clock import Clock
from ...settings import Settings
from .source import SourceFollower


def external_jobs(settings: Settings, clock: Clock) -> SourceFollower | None:
    """Return the follower of the old server's job table; ``None`` if ``legacy_url`` is empty.

    Without ``legacy_url`` the modules that read the table are not imported.
    """
    if not settings.legacy_url:
        return None
    from .c_job import CJobSource

    return SourceFollower(CJobSource(settings, clock), settings.legacy_poll_seconds)
