"""Check the jobs in the code, and the origin of settings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import sqlalchemy as sa

from ...core.errors import SecretError
from ...core.humanize import count, listed
from ...core.masking import dotenv
from ...core.secrets import SEALS, resolve
from ...core.text import closest
from ...core.version import DISTRIBUTION, MODE
from ...db.dialects import known
from ...kernel.jobs.checks import JobFinding
from ...kernel.jobs.definition import JobDefinition
from ...kernel.jobs.registry import JobRegistry
from ...kernel.queries.jobs import next_run
from ...project import current
from ...schedules.cron import CronSchedule
from ...settings import Settings
from ..alerts.policy import AlertPolicy
from ..alerts.rules import addresses
from .databases import private
from .findings import Finding

# Checks of the jobs in the code. No database is needed.


def job_findings(registry: JobRegistry, checks: Iterable[JobFinding]) -> Iterator[Finding]:
    """Convert the findings about jobs, which ``serve`` and ``worker`` show too, and count the jobs."""
    for item in checks:
        yield Finding("fail", item.subject, f"{item.place} {_of(item)}", item.advice)
    jobs = len(registry.definitions)
    if not jobs and not registry.broken:
        yield Finding("warn", "jobs", "there are no jobs", "targcc-gen job NAME adds one")
    elif jobs:
        yield Finding("ok", "jobs", f"{count(jobs, 'job')} in the code")


def _of(item: JobFinding) -> str:
    return item.cause if item.job is not None else f"cannot be used: {item.cause}"


def ended_schedules(definitions: Iterable[JobDefinition], now: datetime) -> Iterator[Finding]:
    """Find jobs whose last slot is over. :func:`~...kernel.jobs.checks.check_jobs` finds cron expressions that name no date."""
    for job in definitions:
        if isinstance(job.schedule, CronSchedule):
            continue
        if job.schedule is not None and next_run(job, now=now, pause=None) is None:
            yield Finding(
                "warn",
                "schedules",
                f"{job.name} will not run by itself again: {job.schedule_text} has no date to come",
                "give it another schedule, or make it a manual job",
            )


def secret_arguments(definitions: Iterable[JobDefinition]) -> Iterator[Finding]:
    """Find jobs whose secret arguments are stored in plain text, because no key is set."""
    jobs = sorted(job.name for job in definitions if job.signature.secrets)
    if jobs and not SEALS.keys:
        yield Finding(
            "warn",
            "secrets",
            f"the secret arguments of {listed(jobs)} are stored as they are: who reads the database reads them",
            "set TARGCC_SECRET_KEY (targcc secret key makes one), then: targcc secret rotate",
        )


def alert_targets(
    definitions: Iterable[JobDefinition], checks: Iterable[JobFinding], settings: Settings
) -> Iterator[Finding]:
    """Find alerts of the project that cannot be sent because a secret or the mail server is missing. Messages hold no secret values.

    Args:
        definitions: The jobs.
        checks: The findings about jobs, with alerts of single jobs.
        settings: Settings with the mail server.
    """
    recipients = AlertPolicy.of(current()).everybody
    by_mail = any(target.channel == "mail" for target in recipients)
    mails = ["the project"] if by_mail else []
    mails += ["jobs that name nobody"] if addresses(settings.alert_email) else []
    missing = set()
    for target in recipients:
        try:
            resolve(target.address)
        except SecretError as error:
            missing.add(str(error))
    for reason in sorted(missing):
        message = f"alerts of the project cannot be sent: {reason}"
        yield Finding("fail", "alerts", message, "set it")
    if mails and not settings.smtp_host:
        yield Finding(
            "fail",
            "alerts",
            f"mails about {listed(mails)} cannot be sent: there is no mail server",
            "set TARGCC_SMTP_HOST",
        )
    elif missing or any(item.subject == "alerts" for item in checks):
        return
    elif recipients or mails or any(job.alerts for job in definitions):
        yield Finding("ok", "alerts", "what alerts need is there")


# Origin of settings. A foreign repository must not choose the server that this machine connects to.

_NAME = "TARGCC_DATABASE_URL"
_OTHER_NAMES = frozenset(
    {"TARGCC_CA", "TARGCC_ENVIRONMENT", "TARGCC_PROFILES", "TARGCC_SERVER", "TARGCC_TOKEN"}
    | {"TARGCC_COMPLETE", "TARGCC_MIGRATIONS_DIR", "TARGCC_DEV_DATABASE_URL"}
)
"""Variables of the command line, which are no fields of Settings."""
_NOT_OURS = ("TARGCC_GEN_", "TARGCC_TEST_")
_NEAR = 0.8
_LARGEST_INDEX = 64 * 2**20


def named_by_file_only(settings: Settings) -> Finding | None:
    """Return a finding if only the code or a committed ``.env`` names the database server. Return ``None`` if connecting is allowed."""
    url = sa.make_url(settings.database_url)
    if known.for_url(url).file(url) is not None or os.environ.get(_NAME):
        return None
    if "database_url" not in settings.model_fields_set:
        source = "the code"
    elif dotenv().get(_NAME) and is_committed(Path(".env").absolute()):
        source = ".env, which is in version control,"
    else:
        return None
    return Finding(
        "warn",
        "database",
        f"{source} alone names {settings.shown_database_url}: the database was not looked at",
        f"if it is yours: targcc doctor --connect, or set {_NAME} in the environment",
    )


def setting_names() -> Iterator[Finding]:
    """Find variables in the environment or ``.env`` with the prefix ``TARGCC_`` that are no settings."""
    known = {f"TARGCC_{name.upper()}" for name in Settings.model_fields} | _OTHER_NAMES
    given = {name.upper(): name for name in (*os.environ, *dotenv())}
    for upper, name in sorted(given.items()):
        if not upper.startswith("TARGCC_") or upper.startswith(_NOT_OURS) or upper in known:
            continue
        near = closest(upper, known, cutoff=_NEAR)
        if near:
            message = f"{name} is no setting, so it has no effect: did you mean {near}?"
            yield Finding("fail", "settings", message, f"set {near} in its place")
        else:
            message = f"{name} is no setting of this release"
            advice = (
                "remove it, or call it otherwise if it is your own: names with TARGCC_ are settings"
            )
            yield Finding("warn", "settings", message, advice)


def env_file() -> Iterator[Finding]:
    """Check that an existing ``.env`` is private to its owner and not in version control."""
    file = Path(".env").absolute()
    if not file.is_file():
        return
    yield from private(file, "which holds passwords")
    if is_committed(file):
        yield Finding(
            "fail",
            "settings",
            ".env is in version control, and with it every password in it",
            "git rm --cached .env, then replace the passwords: they stay in the history",
        )


def carried_build() -> Iterator[Finding]:
    """Check that the installed scheduler is the same build as the wheel in the project's ``vendor`` folder."""
    carried = [file.name.split("-")[1] for file in Path("vendor").glob("targcc_scheduler-*-*.whl")]
    if MODE != "package" or len(carried) != 1:
        return
    try:
        installed = version(DISTRIBUTION)
    except PackageNotFoundError:
        return
    if installed in {carried[0], carried[0].partition("+")[0]}:  # a checkout has no local part
        return
    yield Finding(
        "warn",
        "settings",
        f"{DISTRIBUTION} {installed} is installed, and vendor/ has {carried[0]}: this process is not the project's build",
        "uv sync, or: pip install --find-links vendor .",
    )


def application_alembic() -> Iterator[Finding]:
    """Find an ``env.py`` of the application's own Alembic that lets autogenerate drop the scheduler's tables."""
    for file in sorted({*Path().glob("*/env.py"), *Path().glob("*/*/env.py")}):
        text = file.read_bytes()
        if b"alembic" in text and b"context" in text and b"is_not_ours" not in text:
            yield Finding(
                "warn",
                "alembic",
                f"{file.as_posix()} leaves the scheduler's tables to autogenerate, which would drop them",
                "targcc-gen patch adds it: context.configure(…, include_name=is_not_ours)",
            )


def is_committed(file: Path) -> bool:
    """Return whether a file is in the index of the surrounding git repository.

    The function reads the index file itself, because git would run commands that a foreign repository configures.
    An index larger than 64 MiB counts as containing the file.
    """
    for folder in file.parents:
        index = folder / ".git" / "index"
        if index.is_file():
            name = file.relative_to(folder).as_posix().encode()
            if index.stat().st_size > _LARGEST_INDEX:
                return True
            return len(name).to_bytes(2, "big") + name + b"\0" in index.read_bytes()
    return False
