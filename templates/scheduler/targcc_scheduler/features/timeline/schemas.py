"""What comes, as the API shows it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import Field

from ...schedules.dst import Kind
from ...web.api.schema import Schema
from .upcoming import Night, Plan


class MinuteOut(Schema):
    """Jobs with a slot in one minute."""

    at: datetime
    jobs: list[str]


class CrowdOut(MinuteOut):
    """A minute with many slots."""

    number: int
    frequent: int = Field(
        description="Number of slots of frequent jobs; these jobs are not listed in `jobs`."
    )


class HourOut(Schema):
    """Number of slots in one hour."""

    at: datetime
    number: int


class TouchedOut(Schema):
    """Effect of a clock change on a job."""

    job: str
    kind: Kind = Field(
        description="`moved`: the slot's time does not exist, the job runs right after; `skipped`: slots' times do not exist; `once`, `twice`: "
        "the slot's time comes twice, the job runs once or twice; `shifted`: the job counts elapsed hours."
    )
    words: str


class ClockChangeOut(Schema):
    """A clock change of a time zone."""

    zone: str
    at: datetime
    offset_before: float = Field(description="Offset from UTC before the change, in seconds.")
    offset_after: float
    words: str
    jobs: list[TouchedOut]


class ComingOut(Schema):
    """Upcoming slots."""

    start: datetime
    end: datetime
    number: int = Field(description="Number of slots, including slots of frequent jobs.")
    minutes: list[MinuteOut] = Field(
        description="Minutes with slots of jobs that are not frequent."
    )
    hours: list[HourOut]
    frequent: dict[str, int] = Field(
        description="Number of slots of each frequent job: a job with more than 24 slots a day."
    )
    crowded: list[CrowdOut] = Field(description="Minutes with the most slots, in order.")
    clock_changes: list[ClockChangeOut]
    paused: list[str] = Field(description="Names of jobs that are paused without an end.")
    elsewhere: list[str] = Field(description="Names of jobs that the old server runs.")
    after_run: list[str] = Field(
        description="Names of jobs whose interval counts from the last run."
    )


def coming_out(plan: Plan, nights: Iterable[Night]) -> ComingOut:
    """What comes, with what the clock changes do."""
    base = plan.start.replace(minute=0, second=0, microsecond=0)
    return ComingOut(
        start=plan.start,
        end=plan.end,
        number=plan.number,
        minutes=[MinuteOut.model_validate(item) for item in plan.minutes],
        hours=[
            HourOut(at=base + n * timedelta(hours=1), number=number)
            for n, number in enumerate(plan.hours)
        ],
        frequent=dict(plan.frequent),
        crowded=[CrowdOut.model_validate(item) for item in plan.crowded],
        clock_changes=[_change(item) for item in nights],
        paused=list(plan.paused),
        elsewhere=list(plan.elsewhere),
        after_run=list(plan.after_run),
    )


def _change(night: Night) -> ClockChangeOut:
    return ClockChangeOut(
        zone=night.zone,
        at=night.change.at,
        offset_before=night.change.before.total_seconds(),
        offset_after=night.change.after.total_seconds(),
        words=str(night.change),
        jobs=[
            TouchedOut(job=touched.job, kind=touched.effect.kind, words=touched.effect.words)
            for touched in night.jobs
        ],
    )
