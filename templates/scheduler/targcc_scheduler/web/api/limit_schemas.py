"""Schemas of limits by key."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from .schema import Schema


class LimitKeyOut(Schema):
    """A key of a limit, its used capacity and its waiting runs."""

    key: str = Field(
        description="Begins with the job's name or a former name. A digest replaces a long or secret value."
    )
    job: str
    running: int = Field(
        description="Runs of the key that run, or hold capacity until a worker claims them."
    )
    used: int = Field(description="Total weight of these runs.")
    most: int | None = Field(description="Maximum total weight; null: no maximum.")
    tokens: int | None = Field(
        description="Attempts that may start now; null: the limit has no rate."
    )
    burst: int | None = Field(description="Maximum number of saved tokens.")
    full_at: datetime | None = Field(
        description="When the token bucket is full again; null: the bucket is full, or the limit has no rate."
    )
    waiting: int = Field(description="Runs that wait for capacity or for a token.")
    oldest_due: datetime | None = Field(description="Earliest due time of the waiting runs.")
