"""Calendars and maintenance windows, as the API shows them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ...kernel.pauses import Window
from ...web.api.schema import Schema
from .queries import CalendarYear


class CalendarOut(Schema):
    """A calendar."""

    name: str
    description: str
    jobs: list[str] = Field(
        description="Jobs that use the calendar, by their own options or through their queue."
    )


class DayOffOut(Schema):
    """A day off with its name."""

    day: date
    name: str


class CalendarYearOut(Schema):
    """A calendar in one year."""

    name: str
    description: str
    year: int
    includes: list[str] = Field(
        description="Included calendars: their days off and blackouts count here too."
    )
    weekly: list[str] = Field(description="Weekdays that are off each week.")
    days: list[DayOffOut] = Field(description="Other days off.")
    blackouts: list[str] = Field(
        description="Times in which no slot starts, in the time zone of each job."
    )


class MaintenanceIn(BaseModel):
    """A maintenance window to plan."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"ends_at": "2026-12-31T08:00:00Z", "reason": "new disk for the ledger"}
        },
    )

    starts_at: AwareDatetime | None = Field(default=None, description="Default: now.")
    ends_at: AwareDatetime
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    queues: list[str] = Field(
        default_factory=list, max_length=50, description="Affected queues; empty: all queues."
    )


class MaintenanceOut(Schema):
    """A maintenance window."""

    id: int
    starts_at: datetime
    ends_at: datetime
    queues: list[str] = Field(description="Affected queues; empty: all queues.")
    reason: str
    planned_by: str
    planned_at: datetime
    ended_by: str | None = Field(description="Person or program that ended the window early.")
    active: bool


def year_out(found: CalendarYear, year: int) -> CalendarYearOut:
    """A calendar in one year."""
    return CalendarYearOut(
        name=found.name,
        description=found.description,
        year=year,
        includes=list(found.includes),
        weekly=list(found.weekly),
        days=[DayOffOut(day=day_off.day, name=day_off.name) for day_off in found.days],
        blackouts=list(found.blackouts),
    )


def window_out(window: Window, now: datetime) -> MaintenanceOut:
    """A maintenance window."""
    return MaintenanceOut(
        id=window.id,
        starts_at=window.starts_at,
        ends_at=window.ends_at,
        queues=list(window.queues),
        reason=window.reason,
        planned_by=window.by,
        planned_at=window.planned_at,
        ended_by=window.ended_by,
        active=window.is_active(now),
    )
