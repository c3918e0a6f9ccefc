"""Checks of the jobs in the code; they need no database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from ..alerts.policy import AlertPolicy, Recipients
from ..alerts.rules import addresses
from ..core.errors import SecretError
from ..core.humanize import count, listed
from ..core.sealing.seals import SEALS
from ..core.secrets import resolve
from ..jobs.definition import JobDefinition
from ..jobs.registry import JobRegistry
from ..project import current
from ..queries.next_run import next_run
from ..settings import Settings
from .findings import Finding


def job_files(registry: JobRegistry) -> Iterator[Finding]:
    """Job files that cannot be used."""
    for broken in registry.broken:
        yield Finding(
            "fail",
            "jobs",
            f"{broken.path or broken.module} cannot be used: {broken.error}",
            "correct it and start again; the other jobs run",
        )
    jobs = len(registry.definitions)
    if not jobs and not registry.broken:
        yield Finding("warn", "jobs", "there are no jobs", "targcc-gen job NAME adds one")
    elif jobs:
        yield Finding("ok", "jobs", f"{count(jobs, 'job')} in the code")


def ended_schedules(definitions: Iterable[JobDefinition], now: datetime) -> Iterator[Finding]:
    """Jobs with a schedule that has no date to come."""
    for job in definitions:
        if job.schedule is not None and next_run(job, now=now, pause=None) is None:
            yield Finding(
                "warn",
                "schedules",
                f"{job.name} will not run by itself again: {job.schedule_text} has no date to come",
                "give it another schedule, or make it a manual job",
            )


def secret_arguments(definitions: Iterable[JobDefinition]) -> Iterator[Finding]:
    """Jobs whose secret arguments are stored as they are."""
    jobs = sorted(job.name for job in definitions if job.signature.secrets)
    if jobs and not SEALS.keys:
        yield Finding(
            "warn",
            "secrets",
            f"the secret arguments of {listed(jobs)} are stored as they are: who reads the database reads them",
            "set TARGCC_SECRET_KEY (targcc secret key makes one), then: targcc secret rotate",
        )


def alert_targets(definitions: Iterable[JobDefinition], settings: Settings) -> Iterator[Finding]:
    """Alerts that could not be sent: a secret or the mail server is missing. No value is shown."""
    told = {job.name: Recipients.of(vars(job.alerts)).targets for job in definitions if job.alerts}
    told["the project"] = AlertPolicy.of(current()).everybody
    told = {name: targets for name, targets in told.items() if targets}
    mails = {name for name, targets in told.items() if any(t.channel == "mail" for t in targets)}
    missing: dict[str, list[str]] = {}
    for name, targets in told.items():
        for target in targets:
            try:
                resolve(target.address)
            except SecretError as error:
                missing.setdefault(str(error), []).append(name)
    for reason, jobs in missing.items():
        yield Finding(
            "fail", "alerts", f"alerts of {listed(jobs)} cannot be sent: {reason}", "set it"
        )
    if addresses(settings.alert_email):
        mails.add("jobs that name nobody")
    if mails and not settings.smtp_host:
        yield Finding(
            "fail",
            "alerts",
            f"mails about {listed(sorted(mails))} cannot be sent: there is no mail server",
            "set TARGCC_SMTP_HOST",
        )
    elif not missing and (told or mails):
        yield Finding("ok", "alerts", "what alerts need is there")
