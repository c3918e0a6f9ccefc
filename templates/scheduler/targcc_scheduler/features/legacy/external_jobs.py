"""The jobs that come from outside the code, where the settings name a source of them."""

from __future__ import annotations

from ...core.clock import Clock
from ...settings import Settings
from .source import SourceFollower


def external_jobs(settings: Settings, clock: Clock) -> SourceFollower | None:
    """What follows the jobs of the old server's table; ``None`` where the settings name none, and then its modules are not loaded."""
    if not settings.legacy_url:
        return None
    from .c_job import CJobSource

    return SourceFollower(CJobSource(settings, clock), settings.legacy_poll_seconds)
