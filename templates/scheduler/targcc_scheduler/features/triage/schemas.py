"""What the API shows and takes of the inbox, of reasons, and of operations on many runs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ...core.states import RunState
from ...web.api.schema import Priority, Rate, Schema


class FailureOut(Schema):
    """Runs of a job that failed of the same cause."""

    cause: str
    job: str
    kind: str
    place: str
    message: str
    title: Annotated[str, Field(description="What failed, in one line.")]
    sample: str
    standing: Literal["open", "snoozed", "muted", "done"]
    open: int
    in_hand: Annotated[int, Field(description="Runs that are being done again.")]
    total: int
    first_at: AwareDatetime
    last_at: AwareDatetime
    trend: Annotated[
        list[int], Field(description="How many in each of the last days, oldest first.")
    ]
    first_release: str | None
    newest_run: int | None
    works_since: AwareDatetime | None
    snoozed_by: str | None
    snoozed_until: AwareDatetime | None
    note: str | None
    muted_by: str | None
    muted_at: AwareDatetime | None
    assignee: str | None
    ticket: str | None


class FailedRunOut(Schema):
    """A run that failed of a cause."""

    id: int
    job: str
    happened_at: AwareDatetime
    message: str | None
    done_since: Annotated[
        bool, Field(description="A later run of the job with the same arguments succeeded.")
    ]


class SeenIn(BaseModel):
    """Something that a person has looked at."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"kind": "node", "subject": "web-2"}},
    )

    kind: Literal["node", "alert"]
    subject: Annotated[str, Field(max_length=500)]


class ConcernOut(Schema):
    """Something that is wrong."""

    kind: str
    subject: str
    title: str
    detail: str
    since: AwareDatetime | None
    serious: bool
    number: int


class InboxOut(Schema):
    """What needs a person; there is nothing of it when the overview is green."""

    failures: list[FailureOut]
    concerns: Annotated[list[ConcernOut], Field(description="Worst first.")]


class FailureActIn(BaseModel):
    """What to do about a failure."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "action": "acknowledge",
                "note": "the bank knows",
                "until": "2026-12-31T08:00:00Z",
            }
        },
    )

    action: Literal["acknowledge", "discard", "mute", "reopen", "assign", "link"]
    runs: Annotated[
        list[int], Field(max_length=10_000, description="Only these; all open ones by default.")
    ] = []
    note: Annotated[str, Field(max_length=1000)] | None = None
    until: AwareDatetime | None = None
    assignee: Annotated[str, Field(max_length=100)] | None = None
    ticket: Annotated[str, Field(max_length=500)] | None = None


class ReasonOut(Schema):
    """One reason why something does not run."""

    kind: str
    text: str
    runs: list[int]


class AnswerOut(Schema):
    """Why a job or a run does not run; the reason that decides comes first."""

    subject: str
    reasons: list[ReasonOut]


class BackfillIn(BaseModel):
    """Which slots of the past to run."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "since": "2026-11-01T00:00:00Z",
                "until": "2026-11-08T00:00:00Z",
                "rate": 10,
                "dry_run": True,
            }
        },
    )

    since: AwareDatetime
    until: AwareDatetime
    rate: Annotated[
        Rate | None, Field(description="So many runs a minute; null: as fast as it goes.")
    ] = None
    priority: Priority | None = None
    followers: Annotated[
        bool, Field(description="Whether the runs of the jobs that follow the job come too.")
    ] = True
    dry_run: bool = False


class BackfillOut(Schema):
    """The slots of the range, those without a run (before), and how many runs were made."""

    job: str
    slots: int
    there: Annotated[
        dict[str, int],
        Field(description="The states of the runs that slots have, which they keep."),
    ]
    missing: list[datetime]
    created: int


class RunFilterIn(BaseModel):
    """Which runs."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"q": "job:Import* state:failed since:12h"}},
    )

    q: Annotated[
        str, Field(max_length=2_000, description="A search; the others say the same as its terms.")
    ] = ""
    states: list[RunState] = []
    job: str | None = None
    queue: str | None = None
    cause: str | None = None
    open: bool = False
    text: str = ""
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    runs: Annotated[list[int], Field(max_length=10_000)] = []


class BulkIn(BaseModel):
    """What to do to many runs."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "action": "retry",
                "filter": {"q": "job:Import* state:failed since:12h"},
                "rate": 100,
            }
        },
    )

    action: Literal["retry", "cancel", "delete", "run-now", "pause", "queue", "priority", "discard"]
    filter: RunFilterIn
    queue: Annotated[str, Field(max_length=50)] | None = None
    priority: Priority | None = None
    rate: Annotated[
        Rate | None,
        Field(description="Of retry and run-now: so many a minute; null is all at once."),
    ] = None
    newest_first: bool = False
    note: Annotated[str, Field(max_length=400)] | None = None
    at_most: Annotated[
        int | None, Field(description="Begin nothing if more runs than that fit: what was counted.")
    ] = None


class CountOut(Schema):
    """The runs that fit."""

    total: int
    states: dict[str, int]
    jobs: dict[str, int]


class BulkOut(Schema):
    """An operation on many runs, and how far it is."""

    id: int
    action: str
    filter: str
    options: dict[str, Any]
    state: Literal["running", "done", "stopped", "failed"]
    total: int
    done: int
    refused: int
    by: str
    started_at: AwareDatetime
    ended_at: AwareDatetime | None
    undoes: int | None
    undone_by: int | None
    can_be_undone: bool
    message: str | None
