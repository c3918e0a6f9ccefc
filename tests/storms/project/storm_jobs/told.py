"""Channel that writes each alert into the record of the jobs."""

from storms.record import note
from targcc_scheduler import Notice, Settings


class Told:
    """Notes the alert's kind, job and key."""

    name = "note"

    def __init__(self, settings: Settings) -> None:
        """Take nothing of the settings."""

    async def send(self, message: Notice, target: str) -> None:  # noqa: ARG002 - one target
        """Note one alert."""
        note("told", kind=message.kind, job=message.job, key=message.key)
