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
    """Why, and until when."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"reason": "the ledger is down", "until": "2026-12-31T08:00:00Z"}
        },
    )

    reason: Annotated[str, Field(max_length=500)] | None = None
    until: datetime | None = Field(
        default=None, description="With a zone; null is until it is resumed."
    )


class DoneOut(Schema):
    """What has been done."""

    message: str = Field(examples=["Daily Report is paused"])


class ErrorOut(Schema):
    """What is wrong with one value of a request."""

    where: str = Field(description="Its place, such as query.limit or body.arguments.")
    message: str


class ProblemOut(Schema):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:targcc:problem:no-such-job",
                "title": "No such job",
                "status": 404,
                "detail": "there is no job DialyReport; did you mean DailyReport?",
            }
        }
    )

    type: str = Field(description="urn:targcc:problem: and the title in small letters; it stays.")
    title: str
    status: int
    detail: str
    errors: list[ErrorOut | str] = Field(
        default=[], description="With 422: each value that does not fit."
    )
