"""The scheduler: write a class with ``@job`` in the jobs package, and it runs.

Every name is imported when it is first used, so that ``from <package>.scheduler import job`` costs no more than jobs need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .core.version import __version__
from .project import Project, configure
from .project import check as _check_project

if TYPE_CHECKING:
    from .blocking_client import Client, client
    from .cli.main import main
    from .core.actor import SYSTEM, Actor, ActorKind
    from .core.errors import (
        AlertError,
        ArgumentsError,
        FileError,
        HookError,
        JobCancelled,
        JobError,
        RunStateError,
        StepError,
        UnknownJob,
        UnknownRun,
    )
    from .core.secrets import add_secret_source, register_secret
    from .core.states import RunState
    from .db.tables import job_log_line, job_run, logged_job, metadata
    from .features.alerts.message import Notice
    from .kernel.jobs.chains import ParentRun
    from .kernel.jobs.context import JobContext, JobResult
    from .kernel.jobs.declaration import job
    from .kernel.jobs.definition import (
        Alerts,
        BackoffRule,
        FailedRun,
        Job,
        JobDefinition,
        JobType,
        NextAttempt,
    )
    from .kernel.jobs.discovery import BrokenModule
    from .kernel.jobs.files import File, FileStore, FolderStore
    from .kernel.jobs.hooks import (
        CallNext,
        RunCancelled,
        RunEvent,
        RunFailed,
        RunMissed,
        RunRetrying,
        RunSkipped,
        RunSucceeded,
        around,
        on_cancelled,
        on_failed,
        on_missed,
        on_retrying,
        on_skipped,
        on_succeeded,
    )
    from .scheduler import Scheduler
    from .schema_setup import is_not_ours, migrate
    from .services.commands import CommandError, run_command
    from .services.database import Cursors, Database
    from .services.mailer import Mailer
    from .services.procedures import ProcedureResult, procedure_call
    from .services.provider import StandardServices
    from .services.settings import ServiceSettings
    from .settings import Settings
    from .testing import inline, next_attempt, recorded, run_job
    from .typed_calls import FlowCall, flow
    from .web.host_users import (
        by_dependency,
        by_django_session,
        by_flask_login,
        by_litestar_guards,
        by_starlette_session,
    )
    from .web.router import (
        create_app,
        make_router,
        mount,
        root_addresses,
        scheduler_router,
        with_scheduler,
    )
    from .web.state import get_client, get_scheduler

__all__ = [
    "SYSTEM",
    "Actor",
    "ActorKind",
    "AlertError",
    "Alerts",
    "ArgumentsError",
    "BackoffRule",
    "BrokenModule",
    "CallNext",
    "Client",
    "CommandError",
    "Cursors",
    "Database",
    "FailedRun",
    "File",
    "FileError",
    "FileStore",
    "FlowCall",
    "FolderStore",
    "HookError",
    "Job",
    "JobCancelled",
    "JobContext",
    "JobDefinition",
    "JobError",
    "JobResult",
    "JobType",
    "Mailer",
    "NextAttempt",
    "Notice",
    "ParentRun",
    "ProcedureResult",
    "Project",
    "RunCancelled",
    "RunEvent",
    "RunFailed",
    "RunMissed",
    "RunRetrying",
    "RunSkipped",
    "RunState",
    "RunStateError",
    "RunSucceeded",
    "Scheduler",
    "ServiceSettings",
    "Settings",
    "StandardServices",
    "StepError",
    "UnknownJob",
    "UnknownRun",
    "__version__",
    "add_secret_source",
    "around",
    "by_dependency",
    "by_django_session",
    "by_flask_login",
    "by_litestar_guards",
    "by_starlette_session",
    "client",
    "configure",
    "create_app",
    "flow",
    "get_client",
    "get_scheduler",
    "inline",
    "is_not_ours",
    "job",
    "job_log_line",
    "job_run",
    "logged_job",
    "main",
    "make_router",
    "metadata",
    "migrate",
    "mount",
    "next_attempt",
    "on_cancelled",
    "on_failed",
    "on_missed",
    "on_retrying",
    "on_skipped",
    "on_succeeded",
    "procedure_call",
    "recorded",
    "register_secret",
    "root_addresses",
    "run_command",
    "run_job",
    "scheduler_router",
    "with_scheduler",
]

_HOMES = {
    "blocking_client": ("client", "Client"),
    "cli.main": ("main",),
    "core.actor": ("Actor", "ActorKind", "SYSTEM"),
    "core.errors": (
        "AlertError",
        "ArgumentsError",
        "FileError",
        "HookError",
        "JobCancelled",
        "JobError",
        "RunStateError",
        "StepError",
        "UnknownJob",
        "UnknownRun",
    ),
    "core.secrets": ("add_secret_source", "register_secret"),
    "core.states": ("RunState",),
    "db.tables": ("job_log_line", "job_run", "logged_job", "metadata"),
    "features.alerts.message": ("Notice",),
    "kernel.jobs.chains": ("ParentRun",),
    "kernel.jobs.context": ("JobContext", "JobResult"),
    "kernel.jobs.declaration": ("job",),
    "kernel.jobs.definition": (
        "Alerts",
        "BackoffRule",
        "FailedRun",
        "Job",
        "JobDefinition",
        "JobType",
        "NextAttempt",
    ),
    "kernel.jobs.discovery": ("BrokenModule",),
    "kernel.jobs.files": ("File", "FileStore", "FolderStore"),
    "kernel.jobs.hooks": (
        "around",
        "CallNext",
        "on_cancelled",
        "on_failed",
        "on_missed",
        "on_retrying",
        "on_skipped",
        "on_succeeded",
        "RunCancelled",
        "RunEvent",
        "RunFailed",
        "RunMissed",
        "RunRetrying",
        "RunSkipped",
        "RunSucceeded",
    ),
    "scheduler": ("Scheduler",),
    "schema_setup": ("is_not_ours", "migrate"),
    "services.commands": ("CommandError", "run_command"),
    "services.database": ("Cursors", "Database"),
    "services.mailer": ("Mailer",),
    "services.procedures": ("procedure_call", "ProcedureResult"),
    "services.provider": ("StandardServices",),
    "services.settings": ("ServiceSettings",),
    "settings": ("Settings",),
    "testing": ("inline", "next_attempt", "recorded", "run_job"),
    "typed_calls": ("FlowCall", "flow"),
    "web.host_users": (
        "by_dependency",
        "by_django_session",
        "by_flask_login",
        "by_litestar_guards",
        "by_starlette_session",
    ),
    "web.router": (
        "create_app",
        "make_router",
        "mount",
        "root_addresses",
        "scheduler_router",
        "with_scheduler",
    ),
    "web.state": ("get_client", "get_scheduler"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from where it is defined (PEP 562)."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name != "main":  # the command line says in a line what is wrong
        _check_project()
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
