"""Base classes and types of the API's schemas."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ...core.numbers import LEAST_RATE, MOST_INT, MOST_RATE

Priority = Annotated[int, Field(ge=-MOST_INT, le=MOST_INT)]
Rate = Annotated[float, Field(ge=LEAST_RATE, le=MOST_RATE, allow_inf_nan=False)]
"""Rate in runs per minute."""


class Schema(BaseModel):
    """What all of them share: they may be read from frozen values by attribute."""

    model_config = ConfigDict(from_attributes=True)


class PauseIn(BaseModel):
    """Reason and end of a pause."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"reason": "the ledger is down", "until": "2026-12-31T08:00:00Z"}
        },
    )

    reason: Annotated[str, Field(max_length=500)] | None = None
    until: datetime | None = Field(
        default=None, description="End of the pause, with a time zone; null: until resumed."
    )


class DoneOut(Schema):
    """Result of an action."""

    message: str = Field(examples=["Daily Report is paused"])


class ErrorOut(Schema):
    """An error in one value of a request."""

    where: str = Field(description="Location of the value, such as query.limit or body.arguments.")
    message: str


class ProblemOut(Schema):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:targcc:problem:no-such-job",
                "title": "No such job",
                "status": 404,
                "detail": "there is no job DialyReport; did you mean DailyReport?",
                "code": "TS102",
                "manual": "reference/errors.html#ts102",
            }
        }
    )

    type: str = Field(
        description="`urn:targcc:problem:` and the name of the problem. Stable across releases."
    )
    title: str
    status: int
    detail: str
    code: str = Field(
        default="",
        description="Code of the kind of error, such as `TS102`; keeps its meaning across releases. `targcc explain TS102` prints what it means.",
    )
    manual: str = Field(
        default="",
        description="Address of the code in the manual; relative to the manual unless `TARGCC_MANUAL_URL` names its place.",
    )
    errors: list[ErrorOut | str] = Field(
        default=[], description="With status 422: each invalid value."
    )
