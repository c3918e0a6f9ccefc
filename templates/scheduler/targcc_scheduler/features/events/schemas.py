"""Webhooks, as the API shows them: without the address's secret part and what signs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from ...web.api.schema import Schema

Event = Literal["succeeded", "failed", "cancelled", "missed", "skipped"]


class WebhookIn(BaseModel):
    """A webhook as it is wanted."""

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

    url: Annotated[str, Field(max_length=2_000, description="https or http.")]
    events: list[Event] = Field(default=[], description="How runs ended; without any: however.")
    jobs: list[Annotated[str, Field(max_length=100)]] = Field(
        default=[], description="Names or patterns such as Daily*; without any: all jobs."
    )


class WebhookOut(Schema):
    """An address that is told of runs."""

    id: int
    address: str = Field(
        validation_alias=AliasChoices("address", "shown"),
        description="Without what may be secret in it; of a handler in the code its name.",
    )
    in_code: bool = Field(description="Whether it is a handler in the code.")
    events: tuple[Event | Literal["retrying"], ...]
    jobs: tuple[str, ...]
    created_by: str
    created_at: datetime
    disabled_at: datetime | None
    disabled_by: str | None
    failing_since: datetime | None = Field(
        description="When the first attempt failed since the last that did not."
    )


class WebhookMadeOut(Schema):
    """A webhook that was made."""

    id: int
    secret: str = Field(description="What its messages are signed with. It is not shown again.")
    message: str


class DeliveryOut(Schema):
    """A message to a webhook, and what came of it."""

    id: int
    message_id: str = Field(description="Its header webhook-id.")
    event: str
    run_id: int | None
    status: Literal["waiting", "delivered", "failed"]
    attempts: int
    due_at: datetime | None = Field(description="When it is sent next.")
    answer: str | None = Field(description="What came of the last attempt.")
    created_at: datetime
    ended_at: datetime | None


class DeliveryMadeOut(Schema):
    """A message that will be sent."""

    delivery_id: int
    message: str
