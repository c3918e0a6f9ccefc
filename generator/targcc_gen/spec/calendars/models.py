"""A calendar as a frozen model."""

from __future__ import annotations

from pydantic import Field

from targcc_gen.spec.calendars.values import Blackouts, CalendarFile, CalendarNames, Dates, DaysOff
from targcc_gen.spec.parts import Frozen
from targcc_gen.spec.values import Text


class CalendarSpec(Frozen):
    """A calendar: when nothing starts by itself. Runs that people or code ask for start all the same."""

    description: Text = Field(default="", description="One sentence for people.")
    off: DaysOff = Field(
        default=(),
        description="Days off: `2026-09-21`, `2026-12-24 to 2027-01-02`, `12-25` (each year), `saturday`, `second tuesday`,"
        " `last friday of december`; a name may follow in parentheses.",
    )
    work: Dates = Field(
        default=(), description="Days of work, whatever `off`, `ics` and `include` say of them."
    )
    blackouts: Blackouts = Field(
        default=(),
        description='Times in which nothing starts, by the clock of each job: `"22:00-23:30"` each day, or'
        ' `"2026-12-24 18:00 to 2026-12-27 06:00"`.',
    )
    ics: CalendarFile | None = Field(
        default=None,
        description="An iCalendar file in the folder of the package: its events of whole days are days off, those with a"
        " time are blackouts.",
    )
    include: CalendarNames | None = Field(
        default=None, description="Other calendars: what closes one of them closes this one."
    )
