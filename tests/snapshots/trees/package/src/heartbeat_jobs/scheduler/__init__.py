# Managed by targcc-gen: regenerate merges your edits; `targcc-gen eject PATH` makes the file yours.
"""The scheduler of this project: the package targcc-scheduler, told what targcc.yaml says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import targcc_scheduler
from targcc_scheduler import Project, __version__, configure

if TYPE_CHECKING:
    from targcc_scheduler import (
        SYSTEM,
        Actor,
        ActorKind,
        Alerts,
        ArgumentsError,
        BrokenModule,
        Client,
        Cursors,
        Database,
        File,
        FileError,
        FileStore,
        FolderStore,
        Job,
        JobCancelled,
        JobContext,
        JobDefinition,
        JobError,
        JobResult,
        JobType,
        Mailer,
        ProcedureResult,
        RunState,
        RunStateError,
        Scheduler,
        ServiceSettings,
        Settings,
        StandardServices,
        StepError,
        UnknownJob,
        UnknownRun,
        add_secret_source,
        client,
        create_app,
        get_scheduler,
        is_not_ours,
        job,
        job_log_line,
        job_run,
        logged_job,
        main,
        make_router,
        metadata,
        migrate,
        mount,
        procedure_call,
        register_secret,
        root_addresses,
        run_job,
        scheduler_router,
        with_scheduler,
    )

__all__ = [
    "SYSTEM",
    "Actor",
    "ActorKind",
    "Alerts",
    "ArgumentsError",
    "BrokenModule",
    "Client",
    "Cursors",
    "Database",
    "File",
    "FileError",
    "FileStore",
    "FolderStore",
    "Job",
    "JobCancelled",
    "JobContext",
    "JobDefinition",
    "JobError",
    "JobResult",
    "JobType",
    "Mailer",
    "ProcedureResult",
    "Project",
    "RunState",
    "RunStateError",
    "Scheduler",
    "ServiceSettings",
    "Settings",
    "StandardServices",
    "StepError",
    "UnknownJob",
    "UnknownRun",
    "__version__",
    "add_secret_source",
    "client",
    "configure",
    "create_app",
    "get_scheduler",
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
    "procedure_call",
    "register_secret",
    "root_addresses",
    "run_job",
    "scheduler_router",
    "with_scheduler",
]

configure(
    Project(
        name="heartbeat-jobs",
        package="heartbeat_jobs",
        timezone="UTC",
        database_url="sqlite:///heartbeat_jobs.db",
        queues={"default": 5},
        queue="default",
        retries=3,
        backoff="30s",
        timeout=None,
    )
)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    return getattr(targcc_scheduler, name)


def __dir__() -> list[str]:
    return targcc_scheduler.__dir__()
