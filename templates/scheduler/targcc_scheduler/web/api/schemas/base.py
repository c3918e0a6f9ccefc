"""What the API's schemas share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ....queries.models import Pause


class Schema(BaseModel):
    """What all of them share: they are read from the values of ``records.py`` by attribute."""

    model_config = ConfigDict(from_attributes=True)


class PauseOut(Schema):
    """Who paused it, when, why, until when."""

    by: str
    at: datetime
    reason: str | None
    until: datetime | None


class PauseIn(BaseModel):
    """Why, and until when."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=500)] | None = None
    until: datetime | None = Field(
        default=None, description="With a zone; null is until it is resumed."
    )


class DoneOut(Schema):
    """What has been done."""

    message: str


class ProblemOut(Schema):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


def pause_out(pause: Pause | None) -> PauseOut | None:
    """A pause as the API shows it."""
    return PauseOut.model_validate(pause) if pause is not None else None
