"""Who runs a job, as ``c_JobOwner`` says it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Owner(StrEnum):
    """Who runs a job."""

    OLD = "old"
    """The old server; here no slot becomes a run, and no run is claimed."""
    NEW = "new"
    """This scheduler; so is every job without a row."""
    SHADOW = "shadow"
    """The old server, while this one writes down when it would have run the job."""


class Step(StrEnum):
    """What has been begun with a job and is not finished: until it is, the job runs on neither side."""

    TAKING = "taking"
    """From the old server: its row is being switched off."""
    RETURNING = "returning"
    """Back to the old server: its row is being switched on."""

    @property
    def command(self) -> str:
        """What finishes it."""
        return "targcc cutover start" if self is Step.TAKING else "targcc cutover back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """One row.

    Args:
        job: The job's name.
        owner: Who runs it.
        old_key: The ID of its row in the old ``c_Job``.
        runner: The old server's process that runs or ran it; those of one runner change sides together.
        since: Since when.
        by: Who said so.
        reason: What they gave as reason.
        step: What is not finished.
        mark: What stands in the old row while it is switched off; it names the one change of sides that it belongs to.
        next_slot: The first slot that the side which takes over has to run.
        waiting: How many runs wait here for the job to come here.
    """

    job: str
    owner: Owner
    old_key: str | None
    runner: str | None
    since: datetime
    by: str
    reason: str | None
    step: Step | None
    mark: str | None
    next_slot: datetime | None
    waiting: int = 0
