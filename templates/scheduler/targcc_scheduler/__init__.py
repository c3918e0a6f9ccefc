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
    from .alerts.message import Notice
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
    from .enqueueing.client import Client, client
    from .jobs.context import JobContext
    from .jobs.declaration import job
    from .jobs.definition import (
        Alerts,
        BackoffRule,
        FailedRun,
        Job,
        JobDefinition,
        JobType,
        NextAttempt,
    )
    from .jobs.discovery import BrokenModule
    from .jobs.files.file import File
    from .jobs.files.store import FileStore, FolderStore
    from .jobs.following.parents import ParentRun
    from .jobs.hooks.around import CallNext, around
    from .jobs.hooks.events import (
        RunCancelled,
        RunEvent,
        RunFailed,
        RunMissed,
        RunRetrying,
        RunSkipped,
        RunSucceeded,
        on_cancelled,
        on_failed,
        on_missed,
        on_retrying,
        on_skipped,
        on_succeeded,
    )
    from .jobs.result import JobResult
    from .migrations.upgrade import is_not_ours
    from .preparing import migrate
    from .scheduler import Scheduler
    from .services.cursors import Cursors
    from .services.database import Database
    from .services.mailer import Mailer
    from .services.procedures import ProcedureResult, procedure_call
    from .services.provider import StandardServices
    from .services.settings import ServiceSettings
    from .settings import Settings
    from .storage.tables import job_log_line, job_run, logged_job, metadata
    from .testing import inline, next_attempt, recorded, run_job
    from .web.router import (
        create_app,
        make_router,
        mount,
        root_addresses,
        scheduler_router,
        with_scheduler,
    )
    from .web.state import get_scheduler

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
    "Cursors",
    "Database",
    "FailedRun",
    "File",
    "FileError",
    "FileStore",
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
    "client",
    "configure",
    "create_app",
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
    "run_job",
    "scheduler_router",
    "with_scheduler",
]

_HOMES = {
    "cli.main": ("main",),
    "enqueueing.client": ("Client", "client"),
    "core.actor": (
        "SYSTEM",
        "Actor",
        "ActorKind",
    ),
    "alerts.message": ("Notice",),
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
    "core.secrets": (
        "add_secret_source",
        "register_secret",
    ),
    "core.states": ("RunState",),
    "preparing": ("migrate",),
    "jobs.context": ("JobContext",),
    "jobs.declaration": ("job",),
    "jobs.definition": (
        "Alerts",
        "BackoffRule",
        "FailedRun",
        "Job",
        "JobDefinition",
        "JobType",
        "NextAttempt",
    ),
    "jobs.discovery": ("BrokenModule",),
    "jobs.files.file": ("File",),
    "jobs.files.store": (
        "FileStore",
        "FolderStore",
    ),
    "jobs.hooks.around": (
        "CallNext",
        "around",
    ),
    "jobs.hooks.events": (
        "RunCancelled",
        "RunEvent",
        "RunFailed",
        "RunMissed",
        "RunRetrying",
        "RunSkipped",
        "RunSucceeded",
        "on_cancelled",
        "on_failed",
        "on_missed",
        "on_retrying",
        "on_skipped",
        "on_succeeded",
    ),
    "jobs.following.parents": ("ParentRun",),
    "jobs.result": ("JobResult",),
    "migrations.upgrade": ("is_not_ours",),
    "scheduler": ("Scheduler",),
    "services.cursors": ("Cursors",),
    "services.database": ("Database",),
    "services.mailer": ("Mailer",),
    "services.procedures": (
        "ProcedureResult",
        "procedure_call",
    ),
    "services.provider": ("StandardServices",),
    "services.settings": ("ServiceSettings",),
    "settings": ("Settings",),
    "storage.tables": (
        "job_log_line",
        "job_run",
        "logged_job",
        "metadata",
    ),
    "testing": (
        "inline",
        "next_attempt",
        "recorded",
        "run_job",
    ),
    "web.router": (
        "create_app",
        "make_router",
        "mount",
        "root_addresses",
        "scheduler_router",
        "with_scheduler",
    ),
    "web.state": ("get_scheduler",),
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
