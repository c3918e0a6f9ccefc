"""The scheduler's settings: environment variables that start with ``TARGCC_``, or lines in ``.env``."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from .project import current
from .schedules import parse_zone

_POSTGRESQL = ("psycopg", "procrastinate")
_PATH = re.compile(r"(/[\w.~-]+)+")
_TAKEN = {"api", "health", "metrics"}

Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseSettings):
    """Everything that can be set from outside; durations are seconds unless their name says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="TARGCC_",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        hide_input_in_errors=True,
    )

    database_url: str = Field(default_factory=lambda: current().database_url, repr=False)
    """``sqlite:///file.db`` or ``postgresql://user:password@host/name``."""
    host: str = "127.0.0.1"
    port: int = 8000
    base_url: str = ""
    """Where people reach the dashboard, for links in alerts; empty means ``http://host:port``."""
    dashboard_path: str = "/jobs"
    log_format: Literal["auto", "console", "json"] = "auto"
    """``auto``: colours on a terminal, JSON elsewhere."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    jobs_package: str = Field(default_factory=lambda: f"{current().package}.jobs")
    """The package whose modules are searched for jobs."""
    migrate_on_start: bool = True
    """Whether a process brings the tables up to date when it starts; else: ``targcc migrate``."""

    heartbeat_seconds: Seconds = 2
    """How often a node says that it is alive, and looks for cancellations."""
    lost_after_seconds: Seconds = 20
    """A node that has said nothing for so long is dead; its runs go to the others."""
    shutdown_grace: Annotated[float, Field(ge=0)] = 30
    """How long running jobs may go on after the process was told to stop."""
    cancel_grace: Annotated[float, Field(ge=0)] = 5
    """How long a job that was cancelled or timed out may go on before it is stopped."""
    poll_seconds: Seconds = 1
    """How often to look for work that another process created without waking this one."""

    legacy_url: str = Field(default="", repr=False)
    """Hybrid mode: the database whose ``c_Job`` says what else runs, such as ``mssql://user:password@host/name``."""
    legacy_table: str = "c_Job"
    """That table's name, or the name of a view of it, such as ``dbo.v_JobsThatMoved``."""
    legacy_timezone: str = ""
    """The zone its schedules are meant in; empty means the project's."""
    legacy_poll_seconds: Seconds = 60
    """How often to look for changes in it."""
    legacy_threads: Annotated[int, Field(ge=1)] = 4
    """How many of its procedures run at the same time in one process."""

    history_days: Annotated[int, Field(ge=1)] = 90
    """Finished runs older than this many days are removed, but the newest of each job stay: see ``history_keep``."""
    history_keep: Annotated[int, Field(ge=0)] = 100
    """How many finished runs of each job stay, whatever their age."""

    alert_email: str = ""
    """Addresses, separated by commas, that get the alerts of jobs which name nobody."""

    smtp_host: str = ""
    smtp_port: int = 587
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_from: str = Field(default_factory=lambda: f"{current().name}@localhost")
    smtp_tls: Literal["auto", "starttls", "tls", "none"] = "auto"

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        try:
            backend = make_url(url).get_backend_name()
        except ArgumentError:
            raise ValueError("not a database URL such as sqlite:///jobs.db") from None
        if backend not in {"sqlite", "postgresql"}:
            raise ValueError(
                f"the scheduler keeps its tables in sqlite or postgresql, not {backend}"
            )
        if make_url(url).database in {None, "", ":memory:"}:
            raise ValueError(
                "name a database, such as sqlite:///jobs.db: one in memory cannot be shared"
            )
        missing = [name for name in _POSTGRESQL if not find_spec(name)]
        if backend == "postgresql" and missing:
            raise ValueError(
                f"PostgreSQL needs {' and '.join(missing)}: uv sync --extra postgresql,"
                f" or pip install '{current().name}[postgresql]'"
            )
        return url

    @field_validator("dashboard_path")
    @classmethod
    def _free_path(cls, path: str) -> str:
        path = f"/{path.strip('/')}"
        if not _PATH.fullmatch(path) or path.split("/")[1] in _TAKEN:
            raise ValueError(
                f"the dashboard cannot live at {path}: choose something like /jobs or /ops/jobs"
            )
        return path

    @field_validator("legacy_url")
    @classmethod
    def _a_url(cls, url: str) -> str:
        try:
            if url:
                make_url(url)
        except ArgumentError:
            raise ValueError("not a database URL such as mssql://user:password@host/name") from None
        return url

    @field_validator("legacy_timezone")
    @classmethod
    def _a_zone(cls, zone: str) -> str:
        if zone:
            parse_zone(zone)
        return zone

    @property
    def dashboard_url(self) -> str:
        """Where people reach the dashboard, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        base = self.base_url.rstrip("/") or f"http://{host}:{self.port}"
        return f"{base}/{self.dashboard_path.strip('/')}"

    @property
    def shown_database_url(self) -> str:
        """The database URL without its password."""
        return make_url(self.database_url).render_as_string(hide_password=True)
