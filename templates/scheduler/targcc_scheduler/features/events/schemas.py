"""Webhooks, as the API shows them: without the address's secret part and what signs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from ...web.api.schema import Schema

Event = Literal["succeeded", "failed", "cancelled", "missed", "skipped"]


class WebhookIn(BaseModel):
    """A webhook to create."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "url": "https://example.com/hooks/jobs",
                "events": ["failed"],
                "jobs": ["Daily*"],
            }
        },
    )

    url: Annotated[str, Field(max_length=2_000, description="Address, with https or http.")]
    events: list[Event] = Field(
        default=[], description="Outcomes of runs to send; empty: all outcomes."
    )
    jobs: list[Annotated[str, Field(max_length=100)]] = Field(
        default=[], description="Names of jobs, or patterns such as `Daily*`; empty: all jobs."
    )


class WebhookOut(Schema):
    """A webhook."""

    id: int
    address: str = Field(
        validation_alias=AliasChoices("address", "shown"),
        description="Address without its secret parts; for a handler in the code, the name of the handler.",
    )
    in_code: bool = Field(description="Whether the webhook is a handler in the code.")
    events: tuple[Event | Literal["retrying"], ...]
    jobs: tuple[str, ...]
    created_by: str
    created_at: datetime
    disabled_at: datetime | None
    disabled_by: str | None
    failing_since: datetime | None = Field(
        description="Time of the first failed attempt since the last successful attempt."
    )


class WebhookMadeOut(Schema):
    """A created webhook."""

    id: int
    secret: str = Field(
        description="Signing secret of the webhook's messages, shown only in this response."
    )
    message: str


class DeliveryOut(Schema):
    """A message to a webhook with the state of its delivery."""

    id: int
    message_id: str = Field(description="Value of the header `webhook-id`.")
    event: str
    run_id: int | None
    status: Literal["waiting", "delivered", "failed"]
    attempts: int
    due_at: datetime | None = Field(description="Time of the next attempt.")
    answer: str | None = Field(description="Result of the last attempt.")
    created_at: datetime
    ended_at: datetime | None


class DeliveryMadeOut(Schema):
    """A queued message."""

    delivery_id: int
    message: str
