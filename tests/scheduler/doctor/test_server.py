"""Findings of the doctor for a PostgreSQL server."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from targcc_scheduler import Settings
from targcc_scheduler.db.dialects import known
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.features.doctor.checkup import checkup
from targcc_scheduler.features.doctor.databases import takes_turns
from targcc_scheduler.features.doctor.findings import Finding


@pytest.fixture
def settings(migrated_postgresql_url: str, jobs_package: str) -> Settings:
    return Settings(database_url=migrated_postgresql_url, jobs_package=jobs_package)


async def found(settings: Settings, check: str, level: str) -> list[Finding]:
    every = await checkup(settings, seconds=10)
    return [finding for finding in every if (finding.check, finding.level) == (check, level)]


def execute(url: str, *statements: str) -> None:
    with sync_engine(url) as engine, engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


async def test_the_server_and_the_sizes_are_told(settings):
    [server] = await found(settings, "server", "ok")
    [size] = await found(settings, "size", "ok")
    assert server.what.startswith("PostgreSQL 18")
    assert "of it indexes; history" in size.what


async def test_commits_that_a_crash_loses(settings):
    name = sa.make_url(settings.database_url).database
    execute(settings.database_url, f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    texts = [item.what for item in await found(settings, "server", "warn")]
    assert any(item.startswith("synchronous_commit is off") for item in texts)


async def test_a_table_that_the_planner_does_not_know(settings):
    execute(
        settings.database_url,
        "ALTER TABLE c_JobAudit SET (autovacuum_enabled = off)",
        "INSERT INTO c_JobAudit (At, Actor, Action) SELECT now(), 'me', 'x' FROM generate_series(1, 20000)",
    )
    execute(settings.database_url, "SELECT pg_stat_force_next_flush()")
    findings = await found(settings, "planner", "warn")
    assert [finding.advice for finding in findings] == [
        "ANALYZE c_jobaudit; and see that autovacuum is on"
    ]
    execute(settings.database_url, "ANALYZE c_JobAudit")
    assert await found(settings, "planner", "warn") == []


class Pooled:
    """Connection through a pooler in transaction mode: each transaction gets any free session."""

    def __init__(self, sessions: asyncio.LifoQueue[int]) -> None:
        self._sessions = sessions
        self._mine: int | None = None

    async def execute(self, _: object) -> Any:
        if self._mine is None:
            self._mine = await self._sessions.get()
        return self

    def scalar_one(self) -> int | None:
        return self._mine

    async def rollback(self) -> None:
        if self._mine is not None:
            self._sessions.put_nowait(self._mine)
        self._mine = None


@pytest.mark.parametrize("size", [1, 3])
async def test_a_pooler_in_transaction_mode_is_noticed(size, monkeypatch):
    monkeypatch.setattr("targcc_scheduler.features.doctor.databases._LONGEST_WAIT", 0.05)
    sessions: asyncio.LifoQueue[int] = asyncio.LifoQueue()
    for number in range(size):
        sessions.put_nowait(number)
    assert await takes_turns(Pooled(sessions), Pooled(sessions))


async def test_connections_of_their_own_are_no_pooler(migrated_postgresql_url):
    engine = known.for_url(migrated_postgresql_url).make_looking_engine(
        sa.make_url(migrated_postgresql_url), 5
    )
    async with engine.connect() as first, engine.connect() as second:
        assert not await takes_turns(first, second)
    await engine.dispose()
