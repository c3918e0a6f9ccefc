"""The settings of the services: environment variables."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Environment variables that start with ``APP_``, or lines in ``.env``."""

    model_config = SettingsConfigDict(env_prefix="APP_", env_file=".env", extra="ignore")

    database_url: str = ""
    """The database the jobs work on; empty means the scheduler's own."""
    database_threads: int = 4
    """How many statements run at the same time in one process."""
    outbox: Path = Path("outbox")
    """Where mail is put as ``.eml`` files while ``TARGCC_SMTP_HOST`` is empty."""
