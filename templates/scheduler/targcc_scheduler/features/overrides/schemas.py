"""What people have changed of jobs, as the API shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from ...kernel.jobs.definition import JobDefinition
from ...web.api.schema import Schema
from ...web.api.schemas import OverrideOut, overrides_out
from .effective import code_lines


class OverrideIn(BaseModel):
    """Options to override. Omitted options stay as they are."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "schedule": "0 4 * * *",
                "reason": "the data comes late",
                "until": "2026-12-31T08:00:00Z",
            }
        },
    )

    schedule: str | None = Field(
        default=None,
        description="A cron expression, `every 15m`, `every 1h after completion`, `once at 2026-12-31T08:00`.",
    )
    timezone: str | None = None
    arguments: dict[str, Any] | None = Field(
        default=None,
        description="Default arguments of the job's runs. Secret arguments cannot be overridden.",
    )
    queue: str | None = None
    priority: int | None = None
    retries: int | None = None
    timeout: str | None = Field(
        default=None, description="Time limit of an attempt, such as `5m`, or `none`."
    )
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    until: datetime | None = Field(
        default=None, description="End of the override, with a time zone."
    )
    dry_run: bool = Field(default=False, description="Show the effect without saving.")

    def values(self) -> dict[str, Any]:
        """The options that are named."""
        options = self.model_dump(exclude={"reason", "until", "dry_run"})
        return {name: value for name, value in options.items() if value is not None}


class ChangeOut(Schema):
    """Value of one option: in the code, now, and with the override."""

    field: str
    code: str
    now: str
    then: str


class PreviewOut(Schema):
    """Effect of an override."""

    changes: list[ChangeOut]
    fires_now: list[datetime]
    fires_then: list[datetime]
    saved: bool


class CodeOut(Schema):
    """Code with the same effect as the overrides."""

    spec: list[str] = Field(description="Lines of targcc.yaml.")
    decorator: list[str] = Field(description="Arguments of `@job(…)`.")
    signature: list[str] = Field(description="Parameters of `execute`.")


class OverridesOut(Schema):
    """Overrides of a job, and code with the same effect."""

    overrides: list[OverrideOut]
    code: CodeOut


class ResetOut(Schema):
    """Options that were reset to the values in the code."""

    reset: list[str]


def all_of(job: JobDefinition) -> OverridesOut:
    """What people have changed of a job, and the lines for the code."""
    lines = code_lines(job)
    return OverridesOut(overrides=overrides_out(job), code=CodeOut.model_validate(lines))
