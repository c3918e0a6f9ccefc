"""The scheduler's settings: environment variables that start with ``TARGCC_``, or lines in ``.env``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from types import FrameType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from .core.database_url import STORE_NAMES, STORES, url_of
from .core.errors import SecretError
from .core.extras import lacks_extra
from .core.masking import know_environment, know_values, mask_our_records, mask_patterns
from .core.numbers import MOST_ID, MOST_INT
from .core.secrets import SEALS, from_outside, split_keys
from .core.stored_values import MOST_BYTES
from .project import current
from .schedules.classic import Weekly
from .schedules.zones import parse_zone

# Detect whether a test runner runs this process.

_VARIABLES = ("PYTEST_VERSION", "PYTEST_CURRENT_TEST")
"""Variables that pytest sets for its own process and for processes that tests start."""
_UNITTEST = {f"unittest.{name}" for name in ("main", "loader", "runner", "suite", "case")}
_DJANGO = {"django.test.runner", "django.test.testcases", "django.core.management.commands.test"}
"""Modules of Django's test runner. ``django.test.client`` and ``unittest.mock`` are missing, because programs use both, too."""
_MANAGEMENT = "django.core.management"


def runner_of_tests() -> str:
    """Return the name of the test runner of this process, such as ``unittest``; empty without a runner.

    A runner is detected by the modules whose functions are being executed, in any thread, because the runner calls the tests and their
    imports.
    """
    if any(name in os.environ for name in _VARIABLES):
        return "pytest"
    modules = {str(frame.f_globals.get("__name__")) for frame in _frames()}
    # manage.py imports the application before it looks up the command.
    is_command = _MANAGEMENT in modules and sys.argv[1:2] == ["test"]
    if is_command or modules & _DJANGO:
        return "manage.py test"
    if any(name.startswith("_pytest.") for name in modules):
        return "pytest"
    return "unittest" if modules & _UNITTEST else ""


def _frames() -> Iterator[FrameType]:
    for (
        innermost
    ) in sys._current_frames().values():  # noqa: SLF001 - documented, in spite of its name
        frame: FrameType | None = innermost
        while frame is not None:
            yield frame
            frame = frame.f_back


# The scheduler's settings: environment variables that start with ``TARGCC_``, or lines in ``.env``.

_PATH = re.compile(r"(/[\w.~-]+)+")
_TAKEN = {"api", "health", "metrics"}

_LONGEST = 10 * 366 * 86_400
Seconds = Annotated[float, Field(gt=0, le=_LONGEST, allow_inf_nan=False)]
"""A time up to ten years."""
SecondsFrom0 = Annotated[float, Field(ge=0, le=_LONGEST, allow_inf_nan=False)]
Days = Annotated[int, Field(ge=1, le=700_000)]
Hours = Annotated[float, Field(gt=0, le=_LONGEST / 3_600, allow_inf_nan=False)]
From1 = Annotated[int, Field(ge=1, le=MOST_INT)]
Port = Annotated[int, Field(ge=0, le=65_535)]


class Settings(BaseSettings):
    """Everything that can be set from outside; durations are seconds unless their name says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="TARGCC_",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        hide_input_in_errors=True,
    )

    database_url: str = Field(
        default_factory=lambda: current().database_url, repr=False, validate_default=True
    )
    """``sqlite:///file.db``, ``postgresql://user:password@host/name`` or ``mssql://user:password@host/name``."""
    pool_size: Annotated[int, Field(ge=2, le=MOST_INT)] | None = None
    """PostgreSQL: how many connections a process has at most for its work, without a value 15; besides those it has one for heartbeats, one
    that listens, and up to four for pages."""
    mode: Literal["auto", "embedded", "pages", "off"] = "auto"
    """What a web app does with its scheduler: ``embedded``: it runs jobs too; ``pages``: it shows and enqueues, and ``targcc worker`` runs
    them; ``off``: nothing runs, nothing connects, and what is enqueued is only recorded; ``auto``: ``off`` under a test runner, else the project's ``mode``."""
    host: str = "127.0.0.1"
    port: Port = 8000
    base_url: str = ""
    """Where people reach the dashboard, for links in alerts; empty means ``http://host:port``."""
    allowed_hosts: str = ""
    """Names, separated by commas, that the site answers to beside the one in ``base_url``: ``jobs.example.com``, ``*.example.com``, or ``*`` for any."""
    trusted_proxies: str = ""
    """Addresses or networks, separated by commas, of proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` count; ``*``: everybody's."""
    connections_per_address: From1 = 100
    """How many connections ``targcc serve`` keeps of one address that is no trusted proxy; more are closed at once."""
    dashboard_path: str = "/jobs"
    """Where the pages, the API, the health checks and the metrics are."""
    language: str = "en"
    """The language of the pages where a person has chosen none and their browser asks for none that there is; ``en`` or ``he``."""
    log_format: Literal["auto", "console", "json"] = "auto"
    """``auto``: colours on a terminal, JSON elsewhere."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    jobs_package: str = Field(default_factory=lambda: f"{current().package}.jobs")
    """The package whose modules are searched for jobs."""
    migrate_on_start: bool = True
    """Whether a process brings the tables up to date when it starts; else: ``targcc migrate``."""

    heartbeat_seconds: Seconds = 2
    """How often a node says that it is alive, and looks for cancellations. With more than five nodes less often, up to a fifth of ``lost_after_seconds``."""
    lost_after_seconds: Seconds = 20
    """A node that has said nothing for so long is dead; its runs go to the others."""
    stuck_after_seconds: SecondsFrom0 = 600
    """A node whose loop has not turned for so long, while its process lives, is killed, and its runs go to the others; 0 switches that off."""
    keepalive: bool = True
    """Whether a small process beside a worker says that it is alive while a job holds its interpreter."""
    shutdown_grace: SecondsFrom0 = 30
    """How long running jobs may go on after the process was told to stop."""
    cancel_grace: SecondsFrom0 = 5
    """How long a job that was cancelled or timed out may go on before it is stopped."""
    poll_seconds: Seconds = 1
    """How often to look for work that another process created without waking this one. With more than five nodes less often, up to 3 s."""
    query_seconds: Annotated[Seconds, Field(le=86_400)] = 10
    """How long a question of a page, the API or a command may take before it is given up."""
    cpu_meter: bool = True
    """Whether the processor time of async jobs is measured, at each of their steps; that of plain jobs and processes is measured in any case."""

    otel: bool = False
    """Whether runs have spans of OpenTelemetry, in the trace of whoever enqueues them; needs the extra ``otel``, and a provider that the application sets up."""
    trace_url: str = ""
    """Where a trace is shown, such as ``https://traces.example.com/trace/{trace_id}``: the page of a run links to it."""

    release: str = ""
    """What this deployment is called, such as a build number; empty means the project's version and a digest of its jobs. Of two
    releases with different schedules for a job the newer one decides."""
    release_absent_after: Seconds = 600
    """When no node of the release that decides has been up for so long, the newest of those that are up decides."""
    unknown_after: Seconds = 900
    """People are told of a run that has waited so long for a node that knows its job and arguments."""
    give_up_after: Seconds | None = None
    """A run that has waited so long for such a node is failed; without a value it waits on."""

    legacy_url: str = Field(default="", repr=False)
    """Hybrid mode: the database whose ``c_Job`` says what else runs, such as ``mssql://user:password@host/name``."""
    legacy_table: str = "c_Job"
    """That table's name, or the name of a view of it, such as ``dbo.v_JobsThatMoved``."""
    legacy_timezone: str = ""
    """The zone its schedules are meant in; empty means the project's."""
    legacy_poll_seconds: Seconds = 60
    """How often to look for changes in it."""
    legacy_threads: From1 = 4
    """How many of its procedures run at the same time in one process."""
    legacy_runners: str = ""
    """TARGCC 4: whose rows run here, by ``lkpJobRunner``, separated by commas; empty: everybody's."""
    legacy_weekly: Weekly = "every-day"
    """TARGCC 4: how Weekly is read: ``every-day``, as TaskManager did it by a fault, ``as-meant`` on its weekday, or ``repaired``: as yours did."""
    legacy_procedures: dict[str, str] = Field(default_factory=dict)
    """TARGCC 4: the stored procedure of each code of ``lkpJob`` that was the application's own, such as ``{"Send": "dbo.usp_Send"}``."""

    cutover_url: str = Field(default="", repr=False)
    """The old server's database during a cut-over, for ``targcc cutover`` and ``targcc shadow``; it runs nothing by itself. Table and zone are
    those of ``legacy_table`` and ``legacy_timezone``."""

    history_days: Days = 90
    """Finished runs older than this many days are removed, but the newest of each job stay: see ``history_keep``."""
    history_keep: Annotated[int, Field(ge=0, le=MOST_INT)] = 100
    """How many finished runs of each job stay, whatever their age."""
    session_hours: Hours = 168
    """How long a browser stays signed in, however much it is used."""
    session_idle_hours: Hours = 24
    """How long it stays signed in when nobody uses it."""
    audit_days: Days = 730
    """How long the audit stays, whatever the history does."""
    max_file_bytes: Annotated[int, Field(ge=65_536, le=MOST_ID)] = MOST_BYTES
    """How many bytes a file may have, or an argument that is too large for its run's row; and the files of one upload together."""
    max_run_files: From1 = 100
    """How many files one run may attach."""
    file_folder: str = ""
    """A folder that all processes reach, for files and large arguments; empty: they are in the database, unless ``make_file_store()`` of the
    project's ``services.py`` says otherwise."""
    statistics_days: Days = 730
    """How long the counts behind statistics and trends stay; they outlive the runs."""

    send_alerts: bool = True
    """Whether this process sends alerts; ``targcc dev`` sends none."""
    send_webhooks: bool = True
    """Whether this process calls webhooks; ``targcc dev`` calls none: the log names each message, which fails as held until somebody redelivers it."""
    alert_email: str = ""
    """Addresses, separated by commas, that get the alerts of jobs which name nobody."""

    ping_url: str = Field(default="", repr=False)
    """An address that is fetched while recurring jobs get their runs, such as that of a dead-man's switch: it tells people when it hears nothing."""
    ping_seconds: Seconds = 60
    """How often, at least 15 s apart."""

    require_second_factor: str = ""
    """Roles, separated by commas, whose users sign in by password only with a second factor: who has none yet is led to turn it on."""

    oidc_issuer: str = ""
    """The OpenID provider at which people sign in, such as ``https://login.example.com/realms/acme``; needs the extra ``oidc``."""
    oidc_client_id: str = ""
    """What it knows this scheduler by; the address of the answer is ``<base_url>/jobs/login/oidc/answer``."""
    oidc_client_secret: SecretStr = SecretStr("")
    """Its secret there; empty for a client that has none."""
    oidc_scopes: str = "openid profile email"
    oidc_name: str = "single sign-on"
    """What the login page calls it."""
    oidc_name_claim: str = "preferred_username"
    """The claim that names people; choose one that they cannot change themselves."""
    oidc_role_claim: str = "groups"
    """The claim with their groups, or with one text."""
    oidc_roles: dict[str, str] = Field(default_factory=dict)
    """The role of each group, such as ``{"ops": "operator"}``, built-in or of your own; the highest built-in one counts, else the first here."""
    oidc_default_role: str = ""
    """The role of everybody else who signs in there; empty: they are refused."""

    proxy_user_header: str = ""
    """The header in which a proxy of ``trusted_proxies`` names whom it has signed in, such as ``X-Forwarded-User``; only ``targcc serve`` believes it."""
    proxy_groups_header: str = ""
    """The header with their groups, separated by commas."""
    proxy_roles: dict[str, str] = Field(default_factory=dict)
    """The role of each group, as in ``oidc_roles``."""
    proxy_default_role: str = ""
    """The role of everybody else whom the proxy names; empty: they are refused."""

    smtp_host: str = ""
    smtp_port: Port = 587
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_from: str = Field(default_factory=lambda: f"{current().name}@localhost")
    secret_key: SecretStr = SecretStr("")
    """Keys, separated by commas, that secret arguments are stored with: the first seals, all open; ``targcc secret key`` makes one."""
    smtp_tls: Literal["auto", "starttls", "tls", "none"] = "auto"

    _from_outside = field_validator(
        *("database_url", "legacy_url", "cutover_url"),
        *("smtp_password", "secret_key", "oidc_client_secret"),
        mode="before",
    )(from_outside)

    @model_validator(mode="after")
    def _mask_from_now_on(self) -> Self:
        mask_our_records()
        know_environment()
        know_values(vars(self).values())
        try:
            SEALS.use(split_keys(self.secret_key.get_secret_value()))
        except SecretError as error:
            raise ValueError(f"secret_key: {error}") from None
        return self

    @property
    def second_factor_roles(self) -> frozenset[str]:
        """The roles of ``require_second_factor``."""
        return frozenset(filter(None, map(str.strip, self.require_second_factor.split(","))))

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        try:
            backend = make_url(url).get_backend_name()
        except (ArgumentError, ValueError):  # the message may hold a part of the password
            raise ValueError("not a database URL such as sqlite:///jobs.db") from None
        if backend not in STORES:
            raise ValueError(f"the scheduler keeps its tables in {STORE_NAMES}, not {backend}")
        if make_url(url).database in {None, "", ":memory:"}:
            raise ValueError(
                "name a database, such as sqlite:///jobs.db: one in memory cannot be shared"
            )
        return url

    @model_validator(mode="after")
    def _a_whole_provider(self) -> Self:
        if self.oidc_issuer and not self.oidc_client_id:
            raise ValueError("oidc_issuer needs oidc_client_id")
        if self.oidc_issuer and not (self.oidc_roles or self.oidc_default_role):
            raise ValueError(
                "oidc_issuer needs oidc_roles or oidc_default_role: else nobody may do anything"
            )
        return self

    @model_validator(mode="after")
    def _a_known_proxy(self) -> Self:
        if self.proxy_user_header and self.trusted_proxies.strip() in {"", "*"}:
            raise ValueError(
                "proxy_user_header needs the addresses of the proxies in trusted_proxies: anybody could send the header"
            )
        if self.proxy_user_header and not (self.proxy_roles or self.proxy_default_role):
            raise ValueError(
                "proxy_user_header needs proxy_roles or proxy_default_role: else nobody may do anything"
            )
        return self

    @model_validator(mode="after")
    def _can_trace(self) -> Self:
        begins = self.trace_url.startswith(("https://", "http://"))
        if self.trace_url and not (begins and "{trace_id}" in self.trace_url):
            raise ValueError(
                "trace_url is an address such as https://traces.example.com/trace/{trace_id}"
            )
        return self

    @field_validator("dashboard_path")
    @classmethod
    def _free_path(cls, path: str) -> str:
        path = f"/{path.strip('/')}"
        if not _PATH.fullmatch(path) or path.split("/")[1] in _TAKEN:
            raise ValueError(
                f"the dashboard cannot live at {path}: choose something like /jobs or /ops/jobs"
            )
        return path

    @field_validator("legacy_url", "cutover_url")
    @classmethod
    def _a_url(cls, url: str) -> str:
        try:
            if url:
                make_url(url)
        except (ArgumentError, ValueError):  # the message may hold a part of the password
            raise ValueError("not a database URL such as mssql://user:password@host/name") from None
        return url

    @field_validator("legacy_timezone")
    @classmethod
    def _a_zone(cls, zone: str) -> str:
        return parse_zone(zone).key if zone else zone

    @property
    def missing_extra(self) -> str:
        """The first extra that a setting needs and that is not installed, as a sentence; empty if all are installed.

        Not an error of the settings: an application with the scheduler inside starts and serves without the extra.
        """
        store = STORES[make_url(self.database_url).get_backend_name()]
        needs = (
            *([] if store is None else [(*store, True)]),
            ("oidc", "TARGCC_OIDC_ISSUER", bool(self.oidc_issuer)),
            ("otel", "TARGCC_OTEL", self.otel),
        )
        return next(
            (text for extra, user, used in needs if used and (text := lacks_extra(extra, user))), ""
        )

    @property
    def session_life(self) -> timedelta:
        """``session_hours``."""
        return timedelta(hours=self.session_hours)

    @property
    def session_idle(self) -> timedelta:
        """``session_idle_hours``."""
        return timedelta(hours=self.session_idle_hours)

    @property
    def legacy_runner_names(self) -> list[str]:
        """The names in ``legacy_runners``."""
        return [name.strip() for name in self.legacy_runners.split(",") if name.strip()]

    @classmethod
    def for_engine(cls, engine: Any, **more: Any) -> Self:
        """Settings whose database is one that the application has open; the drivers are our own.

        Args:
            engine: An engine of SQLAlchemy's, async or plain, or a connection of Django.
            more: Other settings, such as ``pool_size=3``.
        """
        return cls(database_url=url_of(engine).render_as_string(hide_password=False), **more)

    @property
    def effective_mode(self) -> Literal["embedded", "pages", "off"]:
        """The mode, with ``auto`` decided."""
        if self.mode != "auto":
            return self.mode
        return "off" if runner_of_tests() else current().mode

    @property
    def why_off(self) -> str:
        """Why the scheduler is off, when it is."""
        why = (
            "TARGCC_MODE says so" if self.mode == "off" else f"{runner_of_tests() or 'a test'} runs"
        )
        return f"the scheduler is off, as {why}; TARGCC_MODE=embedded turns it on"

    def at(self, prefix: str) -> Self:
        """The same settings, with the pages at another prefix.

        Raises:
            ValueError: it is no path such as ``/jobs``.
        """
        return self.model_copy(update={"dashboard_path": self._free_path(prefix)})

    @property
    def dashboard_url(self) -> str:
        """Where people reach the dashboard, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        base = self.base_url.rstrip("/") or f"http://{host}:{self.port}"
        return f"{base}/{self.dashboard_path.strip('/')}"

    @property
    def shown_database_url(self) -> str:
        """The database URL without its password, also one that holds ``@`` or ``/``, and without the secrets of its query."""
        shown, (scheme, _, rest) = self.database_url, self.database_url.partition("://")
        user, at, place = rest.rpartition("@")
        if at and ":" in user and not rest.startswith("/"):
            shown = f"{scheme}://{user.partition(':')[0]}:***@{place}"
        address, mark, query = shown.partition("?")
        return f"{address}{mark}{mask_patterns(query)}"
