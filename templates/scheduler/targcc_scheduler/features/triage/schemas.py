"""What the API shows and takes of the inbox, of reasons, and of operations on many runs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ...core.states import RunState
from ...web.api.schema import Priority, Rate, Schema


class FailureOut(Schema):
    """A failure: runs of a job that failed with the same cause."""

    cause: str
    job: str
    kind: str
    place: str
    message: str
    title: Annotated[str, Field(description="Summary in one line.")]
    sample: str
    standing: Literal["open", "snoozed", "muted", "done"]
    open: int
    in_hand: Annotated[int, Field(description="Number of runs with a retry in progress.")]
    total: int
    first_at: AwareDatetime
    last_at: AwareDatetime
    trend: Annotated[
        list[int],
        Field(description="Number of failed runs on each of the last days, oldest first."),
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
    """A failed run of a failure."""

    id: int
    job: str
    happened_at: AwareDatetime
    message: str | None
    done_since: Annotated[
        bool, Field(description="Whether a later run of the job with the same arguments succeeded.")
    ]


class SeenIn(BaseModel):
    """A problem that a person has seen."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"kind": "node", "subject": "web-2"}},
    )

    kind: Literal["node", "alert"]
    subject: Annotated[str, Field(max_length=500)]


class ConcernOut(Schema):
    """A problem that needs attention."""

    kind: str
    subject: str
    title: str
    detail: str
    since: AwareDatetime | None
    serious: bool
    number: int


class InboxOut(Schema):
    """Failures and problems that need attention. Both lists are empty when the overview is green."""

    failures: list[FailureOut]
    concerns: Annotated[list[ConcernOut], Field(description="Problems, worst first.")]


class FailureActIn(BaseModel):
    """Action on a failure."""

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
        list[int],
        Field(max_length=10_000, description="Ids of runs to act on. Default: all open runs."),
    ] = []
    note: Annotated[str, Field(max_length=1000)] | None = None
    until: AwareDatetime | None = None
    assignee: Annotated[str, Field(max_length=100)] | None = None
    ticket: Annotated[str, Field(max_length=500)] | None = None


class ReasonOut(Schema):
    """One reason why a job or run does not run."""

    kind: str
    text: str
    runs: list[int]


class AnswerOut(Schema):
    """Reasons why a job or run does not run. The deciding reason comes first."""

    subject: str
    reasons: list[ReasonOut]


class BackfillIn(BaseModel):
    """Range of past slots to run."""

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
        Rate | None, Field(description="Maximum runs per minute; null: no maximum.")
    ] = None
    priority: Priority | None = None
    followers: Annotated[
        bool, Field(description="Whether to create the runs of jobs that follow this job.")
    ] = True
    dry_run: bool = False


class BackfillOut(Schema):
    """Number of slots in the range, slots that had no run, and number of created runs."""

    job: str
    slots: int
    there: Annotated[
        dict[str, int],
        Field(
            description="Number of slots with an existing run, by the run's state. These slots get no new run."
        ),
    ]
    missing: list[datetime]
    created: int


class RunFilterIn(BaseModel):
    """Filter for runs."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"q": "job:Import* state:failed since:12h"}},
    )

    q: Annotated[
        str,
        Field(
            max_length=2_000,
            description="Search for runs. The other fields are short forms of its terms.",
        ),
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
    """Bulk operation on runs."""

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
        Field(description="Maximum runs per minute for `retry` and `run-now`; null: no maximum."),
    ] = None
    newest_first: bool = False
    note: Annotated[str, Field(max_length=400)] | None = None
    at_most: Annotated[
        int | None,
        Field(
            description="Do not start when more runs than this match, such as more than a count has shown."
        ),
    ] = None


class CountOut(Schema):
    """Counts of the matching runs."""

    total: int
    states: dict[str, int]
    jobs: dict[str, int]


class BulkOut(Schema):
    """A bulk operation with its progress."""

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
