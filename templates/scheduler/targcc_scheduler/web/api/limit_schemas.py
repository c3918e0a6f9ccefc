"""Schemas of limits by key."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from .schema import Schema


class LimitKeyOut(Schema):
    """A key of a limit, what is taken of it, and who waits."""

    key: str = Field(
        description="It begins with the job's name, or with one that the job had; of a long or secret value it has a digest."
    )
    job: str
    running: int = Field(
        description="Runs of the key that are running, or keep room until a worker comes."
    )
    used: int = Field(description="What they weigh.")
    most: int | None = Field(description="What they may weigh; null: any.")
    tokens: int | None = Field(
        description="Attempts that may start at once; null: the limit has no rate."
    )
    burst: int | None = Field(description="Tokens that are saved up at most.")
    full_at: datetime | None = Field(
        description="When all tokens are there again; null: they are, or the limit has no rate."
    )
    waiting: int = Field(description="Runs that wait for room, or for a token.")
    oldest_due: datetime | None = Field(description="When the longest due of them was due.")
