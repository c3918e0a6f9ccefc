"""Batches, as the API shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from ...web.api.schema import DoneOut, Schema
from .model import BatchState


class BatchOut(Schema):
    """A batch, and how many of its members are over."""

    id: int
    name: str = Field(examples=["month end"])
    state: BatchState
    created_by: str
    created_at: datetime
    completed_at: datetime | None
    cancelled_by: str | None
    parent: int | None = Field(description="The batch that it is in.")
    total: int = Field(description="Its members: its runs, and the batches in it.")
    pending: int = Field(description="Members that are not over.")
    failed: int = Field(description="Members that did not succeed.")


class BatchDetailOut(BatchOut):
    """A batch with what is in it and what waits for it."""

    runs: dict[str, int] = Field(
        description="How many of its own runs are in each state; those that were pruned are not counted."
    )
    inner: tuple[int, ...] = Field(description="The batches in it, 100 at most.")
    callbacks: tuple[int, ...] = Field(
        description="The runs that wait for it, or waited: its callbacks first; 100 at most."
    )


class BatchDoneOut(DoneOut):
    """What was done to the runs of a batch, and of those in it."""

    message: str = Field(examples=["41 runs of batch 3 are cancelled, or told to stop"])
    runs: int = Field(description="To how many runs.")
