"""What comes, as the API shows it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import Field

from ...schedules.dst import Kind
from ...web.api.schema import Schema
from .upcoming import Night, Plan


class MinuteOut(Schema):
    """The jobs with a slot in one minute."""

    at: datetime
    jobs: list[str]


class CrowdOut(MinuteOut):
    """A minute with many slots."""

    number: int
    frequent: int = Field(description="How many of them are of frequent jobs, not named here.")


class HourOut(Schema):
    """One hour."""

    at: datetime
    number: int


class TouchedOut(Schema):
    """What a clock change does to a job."""

    job: str
    kind: Kind = Field(
        description="`moved`: its time is left out, it runs right after; `skipped`: times are left out; `once`, `twice`: "
        "the time comes twice; `shifted`: it counts hours that pass."
    )
    words: str


class ClockChangeOut(Schema):
    """A change of the clock of a zone."""

    zone: str
    at: datetime
    offset_before: float = Field(description="Seconds ahead of UTC until then.")
    offset_after: float
    words: str
    jobs: list[TouchedOut]


class ComingOut(Schema):
    """What comes."""

    start: datetime
    end: datetime
    number: int = Field(description="Slots, those of frequent jobs too.")
    minutes: list[MinuteOut] = Field(description="Of jobs that are not frequent.")
    hours: list[HourOut]
    frequent: dict[str, int] = Field(
        description="Jobs with more than 24 slots a day, and how many they have."
    )
    crowded: list[CrowdOut] = Field(description="The fullest minutes, in order.")
    clock_changes: list[ClockChangeOut]
    paused: list[str] = Field(description="Jobs that are paused without an end.")
    elsewhere: list[str] = Field(description="Jobs that the old server runs.")
    after_run: list[str] = Field(description="Jobs that count from their last run.")


def coming_out(plan: Plan, nights: Iterable[Night]) -> ComingOut:
    """What comes, with what the clock changes do."""
    base = plan.start.replace(minute=0, second=0, microsecond=0)
    return ComingOut(
        start=plan.start,
        end=plan.end,
        number=plan.number,
        minutes=[MinuteOut.model_validate(one) for one in plan.minutes],
        hours=[
            HourOut(at=base + n * timedelta(hours=1), number=number)
            for n, number in enumerate(plan.hours)
        ],
        frequent=dict(plan.frequent),
        crowded=[CrowdOut.model_validate(one) for one in plan.crowded],
        clock_changes=[_change(one) for one in nights],
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
            TouchedOut(job=one.job, kind=one.effect.kind, words=one.effect.words)
            for one in night.jobs
        ],
    )
