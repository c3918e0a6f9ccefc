"""Batches, as the API shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from ...web.api.schema import DoneOut, Schema
from .model import BatchState


class BatchOut(Schema):
    """A batch with its member counts."""

    id: int
    name: str = Field(examples=["month end"])
    state: BatchState
    created_by: str
    created_at: datetime
    completed_at: datetime | None
    cancelled_by: str | None
    parent: int | None = Field(description="Id of the outer batch.")
    total: int = Field(description="Number of members: runs and inner batches.")
    pending: int = Field(description="Number of members that have not ended.")
    failed: int = Field(description="Number of members that ended without success.")


class BatchDetailOut(BatchOut):
    """A batch with its run counts, inner batches and callbacks."""

    runs: dict[str, int] = Field(
        description="Number of the batch's own runs in each state, without pruned runs."
    )
    inner: tuple[int, ...] = Field(description="Ids of the inner batches, 100 at most.")
    callbacks: tuple[int, ...] = Field(
        description="Ids of the batch's dependents, waiting or settled, callbacks first; 100 at most."
    )


class BatchDoneOut(DoneOut):
    """Result of an action on the runs of a batch and of its inner batches."""

    message: str = Field(examples=["41 runs of batch 3 are cancelled, or told to stop"])
    runs: int = Field(description="Number of changed runs.")
