"""The settings of the services: environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ..core.masking import know_values
from ..core.secrets import from_outside


class ServiceSettings(BaseSettings):
    """Environment variables that start with ``APP_``, or lines in ``.env``."""

    model_config = SettingsConfigDict(
        env_prefix="APP_", env_file=".env", extra="ignore", hide_input_in_errors=True
    )

    database_url: str = ""
    """The database the jobs work on; empty means the scheduler's own."""
    database_threads: int = 4
    """How many statements run at the same time in one process."""
    outbox: Path = Path("outbox")
    """Where mail is put as ``.eml`` files while ``TARGCC_SMTP_HOST`` is empty."""

    _from_outside = field_validator("database_url", mode="before")(from_outside)

    @model_validator(mode="after")
    def _mask_from_now_on(self) -> Self:
        know_values(vars(self).values())
        return self
