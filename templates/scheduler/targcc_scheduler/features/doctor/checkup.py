"""Run all checks, each separately: a check that fails to run becomes a finding and does not stop other checks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import import_module

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ...core.errors import QueryTimeout
from ...core.masking import mask
from ...db import locks
from ...db.dialects import known, sqlite_locks
from ...db.dialects.base import Dialect
from ...db.migrations.upgrade import works_with
from ...db.reader import Reader
from ...kernel.jobs.checks import check_jobs
from ...kernel.jobs.definition import JobDefinition
from ...kernel.jobs.registry import JobRegistry
from ...scheduler import OFFERED
from ...services.container import project_services
from ...settings import Settings
from . import code, databases, tables
from .code import (
    application_alembic,
    carried_build,
    env_file,
    named_by_file_only,
    setting_names,
)
from .findings import Check, Finding, reason_of, worst_first
from .schema import catalogue, schema
from .tables import texts

_DAMAGED = "malformed"
"""Word in SQLite's error message for a damaged file (``SQLITE_CORRUPT``)."""
_UNREACHABLE = (sa.exc.SQLAlchemyError, OSError, TimeoutError)


async def checkup(settings: Settings, *, seconds: float, connect: bool = False) -> list[Finding]:
    """Run all checks and return the findings, worst first. Nothing is changed.

    Args:
        settings: Location of database and jobs.
        seconds: Timeout of the database for one check.
        connect: Whether to connect to a server that only a file of the repository names.
    """
    registry = JobRegistry(settings.jobs_package)
    findings, jobs = await asyncio.to_thread(_of_code, registry, settings)
    findings += [*env_file(), *setting_names(), *carried_build(), *application_alembic()]
    stranger = None if connect else named_by_file_only(settings)
    if stranger is not None:
        return worst_first([stranger, *findings])
    return worst_first([*await _Database(settings, seconds).findings(jobs), *findings])


def _of_code(
    registry: JobRegistry, settings: Settings
) -> tuple[list[Finding], Mapping[str, JobDefinition]]:
    try:
        definitions = registry.definitions
    except Exception as error:  # noqa: BLE001 - people's own modules
        message = f"the jobs in {settings.jobs_package} cannot be found: {type(error).__name__}: {mask(str(error))}"
        return [Finding("fail", "jobs", message, "TARGCC_JOBS_PACKAGE says where they are")], {}
    jobs = list(definitions.values())
    job_checks = check_jobs(registry, settings, offers=OFFERED, make_container=project_services)
    checks: Iterable[Iterable[Finding]] = (
        code.job_findings(registry, job_checks),
        code.ended_schedules(jobs, datetime.now(UTC)),
        code.alert_targets(jobs, job_checks, settings),
        code.secret_arguments(jobs),
    )
    return [finding for check in checks for finding in check], definitions


def _of_server(dialect: Dialect, name: str) -> dict[str, Check]:
    """Return checks of a database server: ``SERVER_CHECKS`` or ``TABLE_CHECKS`` of its module."""
    checks: dict[str, Check] = getattr(import_module(f".server_{dialect.name}", __package__), name)
    return checks


class _Database:
    """Runs the checks of one database."""

    def __init__(self, settings: Settings, seconds: float) -> None:
        self._settings = settings
        self._seconds = seconds
        self._url = sa.make_url(settings.database_url)
        self._dialect = known.for_url(self._url)
        self._file = self._dialect.file(self._url)
        self._reader = Reader(settings.database_url, limit=seconds, looks_on=True)

    async def findings(self, jobs: Mapping[str, JobDefinition]) -> list[Finding]:
        """Run the checks and return the findings. If the database does not answer, the checks inside the database are left out."""
        findings = [] if self._file is None else list(databases.file_checks(self._file))
        if self._file is not None and not self._file.exists():
            return findings
        try:
            async with asyncio.timeout(2 * self._seconds + 1):
                state, readable, now = await self._reader.read(self._begin)
        except _UNREACHABLE as error:
            return [*findings, await asyncio.to_thread(self._unreachable, error)]
        else:
            shown = self._settings.shown_database_url
            findings += [Finding("ok", "database", f"{shown} answers"), state]
            return findings + await self._look(jobs, now, state, readable=readable)
        finally:
            await self._reader.close()

    async def _begin(self, connection: AsyncConnection) -> tuple[Finding, bool, datetime]:
        state = await connection.run_sync(schema, migrates=self._settings.migrate_on_start)
        readable = await connection.run_sync(works_with)
        now = await self._dialect.read_clock(connection) or datetime.now(UTC)
        return state, readable, now

    async def _look(
        self, jobs: Mapping[str, JobDefinition], now: datetime, state: Finding, *, readable: bool
    ) -> list[Finding]:
        findings, barred = await self._locks()
        checks = self._of_database() | ({} if barred else self._of_tables(state, readable=readable))
        for check in (*tables.CHECKS, texts) if readable and not barred else ():
            checks[check.__name__.replace("_", " ")] = (
                lambda db, check=check: check(  # type: ignore[misc]  # the loop's variable
                    tables.Look(db, self._settings, jobs, now)
                )
            )
        if barred:
            message = "the tables could not be looked at: somebody has locked one for readers too"
            findings.append(
                Finding("fail", "tables", message, "see the check of locks; then look again")
            )
        return [
            *findings,
            *[finding for name in checks for finding in await self._one(name, checks[name])],
        ]

    async def _locks(self) -> tuple[list[Finding], bool]:
        try:
            return await self._reader.read(databases.locked)
        except Exception as error:  # noqa: BLE001 - what cannot be looked at is a finding
            return [self._not_looked_at("locks", error)], False

    def _of_database(self) -> dict[str, Check]:
        """Return the checks that need no table of the scheduler."""
        if self._file is None:
            return _of_server(self._dialect, "SERVER_CHECKS")
        file = self._file
        return {
            "file": lambda db: databases.check_sqlite(db, file),
            "damage": lambda db: databases.intact(db, file),
        }

    def _of_tables(self, state: Finding, *, readable: bool) -> dict[str, Check]:
        """Return the checks of schema, size, write access and sequences. Without readable tables, return none."""
        if not readable:
            return {}
        checks: dict[str, Check] = {} if state.level != "ok" else {"schema": catalogue}
        if self._file is None:
            return checks | _of_server(self._dialect, "TABLE_CHECKS")
        file = self._file
        return checks | {"write": lambda _db: databases.write_sqlite(file)}

    async def _one(self, name: str, check: Check) -> list[Finding]:
        try:
            return await self._reader.read(check)
        except Exception as error:  # noqa: BLE001 - what cannot be looked at is a finding
            return [self._not_looked_at(name, error)]

    def _not_looked_at(self, name: str, error: Exception) -> Finding:
        """Build the finding of a check that could not run. The level is ``fail``, because the result is unknown."""
        reason = reason_of(error)
        if self._file is not None and _DAMAGED in reason:
            return databases.damaged(self._file, f"{name}: {reason}")
        message = f"this could not be looked at: {reason}"
        is_slow = isinstance(error, TimeoutError | QueryTimeout)
        advice = "look again with more time: --seconds 60" if is_slow else "see the cause"
        return Finding("fail", name, message, advice)

    def _unreachable(self, error: Exception) -> Finding:
        shown = self._settings.shown_database_url
        reason = reason_of(error)
        if self._file is not None and _DAMAGED in reason:
            return databases.damaged(self._file, reason)
        if (
            self._file is not None
            and (lock := sqlite_locks.writer(self._file, locks.SHORT)) is not None
        ):
            message = f"{lock.holder} holds a lock of {lock.on}: {reason}"
            return Finding("fail", "locks", message, "let it end, or end it")
        return Finding(
            "fail",
            "database",
            f"{shown} does not answer: {reason}",
            "start it, or correct TARGCC_DATABASE_URL; the checks of what is in it were left out",
        )
