"""All checks, each by itself: what one cannot look at costs the others nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..core.errors import QueryTimeout
from ..core.secrets import mask
from ..jobs.definition import JobDefinition
from ..jobs.registry import JobRegistry
from ..migrations.upgrade import works_with
from ..queries.reader import Reader
from ..settings import Settings
from ..storage.dialects import known
from . import code, postgresql, sqlite, tables
from .findings import Finding, worst_first
from .origin import env_file, named_by_file_only
from .schema import schema
from .texts import texts

Check = Callable[[AsyncConnection], Awaitable[list[Finding]]]
_UNREACHABLE = (sa.exc.SQLAlchemyError, OSError, TimeoutError)


async def checkup(settings: Settings, *, seconds: float, connect: bool = False) -> list[Finding]:
    """Everything there is to say, worst first. Nothing is changed.

    Args:
        settings: Say where database and jobs are.
        seconds: How long the database may take for one check.
        connect: Whether to go to a server that only a file of the repository names.
    """
    registry = JobRegistry(settings.jobs_package)
    found, jobs = await asyncio.to_thread(_of_code, registry, settings)
    found += env_file()
    stranger = None if connect else named_by_file_only(settings)
    if stranger is not None:
        return worst_first([stranger, *found])
    return worst_first([*await _Database(settings, seconds).findings(jobs), *found])


def _of_code(
    registry: JobRegistry, settings: Settings
) -> tuple[list[Finding], Mapping[str, JobDefinition]]:
    try:
        definitions = registry.definitions
    except Exception as error:  # noqa: BLE001 - people's own modules
        said = f"the jobs in {settings.jobs_package} cannot be found: {type(error).__name__}: {mask(str(error))}"
        return [Finding("fail", "jobs", said, "TARGCC_JOBS_PACKAGE says where they are")], {}
    jobs = list(definitions.values())
    checks: Iterable[Iterable[Finding]] = (
        code.job_files(registry),
        code.ended_schedules(jobs, datetime.now(UTC)),
        code.alert_targets(jobs, settings),
        code.secret_arguments(jobs),
    )
    return [finding for check in checks for finding in check], definitions


class _Database:
    """The checks of one database."""

    def __init__(self, settings: Settings, seconds: float) -> None:
        self._settings = settings
        self._seconds = seconds
        self._url = sa.make_url(settings.database_url)
        self._dialect = known.for_url(self._url)
        self._file = self._dialect.file(self._url)
        self._reader = Reader(settings.database_url, limit=seconds, looks_on=True)

    async def findings(self, jobs: Mapping[str, JobDefinition]) -> list[Finding]:
        """What there is to say; if the database does not answer, only that."""
        found = [] if self._file is None else list(sqlite.file_checks(self._file))
        if self._file is not None and not self._file.exists():
            return found
        try:
            async with asyncio.timeout(2 * self._seconds + 1):
                state, readable, now = await self._reader.read(self._begin)
        except _UNREACHABLE as error:
            return [*found, self._unreachable(error)]
        else:
            shown = self._settings.shown_database_url
            found += [Finding("ok", "database", f"{shown} answers"), state]
            return found + await self._look(jobs, now, readable=readable)
        finally:
            await self._reader.close()

    async def _begin(self, connection: AsyncConnection) -> tuple[Finding, bool, datetime]:
        state = await connection.run_sync(schema, migrates=self._settings.migrate_on_start)
        readable = await connection.run_sync(works_with)
        now = await self._dialect.read_clock(connection) or datetime.now(UTC)
        return state, readable, now

    async def _look(
        self, jobs: Mapping[str, JobDefinition], now: datetime, *, readable: bool
    ) -> list[Finding]:
        checks: dict[str, Check] = {}
        if self._file is not None:
            file = self._file
            checks["file"] = lambda db: sqlite.check(db, file)
        else:
            checks["server"] = postgresql.check
            checks["pooler"] = lambda db: postgresql.pooler(db.engine)
            if readable:
                checks["size"] = postgresql.tables
        for check in (*tables.CHECKS, texts) if readable else ():
            checks[check.__name__.replace("_", " ")] = (
                lambda db, check=check: check(  # type: ignore[misc]  # the loop's variable
                    tables.Look(db, self._settings, jobs, now)
                )
            )
        return [finding for name in checks for finding in await self._one(name, checks[name])]

    async def _one(self, name: str, check: Check) -> list[Finding]:
        try:
            return await self._reader.read(check)
        except _UNREACHABLE as error:
            said = f"this could not be looked at: {_reason(error)}"
            return [Finding("warn", name, said, "look again with more time: --seconds 60")]

    def _unreachable(self, error: Exception) -> Finding:
        shown = self._settings.shown_database_url
        return Finding(
            "fail",
            "database",
            f"{shown} does not answer: {_reason(error)}",
            "start it, or correct TARGCC_DATABASE_URL; the checks of what is in it were left out",
        )


def _reason(error: Exception) -> str:
    """The first line of what went wrong, without passwords."""
    if isinstance(error, TimeoutError) and not isinstance(error, QueryTimeout):
        return "no answer in time"
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig else error
    lines = str(cause).strip().splitlines()
    return mask(lines[0] if lines else type(cause).__name__)
