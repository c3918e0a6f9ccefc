"""The work of SQLite for each statement on the scheduler's event loop, beside a long history and many runs that wait.

A long statement there delays heartbeats, claims and all other work. The work is counted in instructions of SQLite's virtual machine, which are
the same on a busy machine. The database has no statistics, as nothing runs ``ANALYZE`` on SQLite.
"""

import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from rt_tools import QUICK
from targcc_scheduler import JobContext, Scheduler, Settings, job
from targcc_scheduler.db.dialects import sqlite_driver
from targcc_scheduler.db.dialects.sqlite import SQLiteDialect
from targcc_scheduler.db.engines import sync_engine
from targcc_scheduler.kernel.runs.values import Tie, waits_for

pytestmark = pytest.mark.slow

ROWS, JOBS, KEEP = 50_000, 50, 10
MOST = 2 * ROWS
"""Limit of a statement's instructions: one that reads each row of the history takes five for a row."""
EACH = 100
FILL = (
    f"""
    INSERT INTO c_JobRun (JobName, JobType, State, Queue, DueAt, CreatedAt, StartedAt, CompletedAt, TriggeredBy)
    WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {ROWS}),
        runs AS (SELECT n, strftime('%Y-%m-%d %H:%M:%S.000000', 'now', '-' || (({ROWS} - n) * 100) || ' seconds') AS at FROM s)
    SELECT 'Old' || n % {JOBS}, 'Recurring', CASE WHEN n % 20 THEN 'succeeded' ELSE 'failed' END, 'default', at, at, at, at, 'System'
    FROM runs""",
    """
    INSERT INTO c_LoggedJob (JobName, JobId, JobType, StartedAt, CompletedAt, Success)
    SELECT JobName, Id, JobType, StartedAt, CompletedAt, State = 'succeeded' FROM c_JobRun""",
    """
    INSERT INTO c_JobStat (JobName, BeginsAt, Outcome, Bucket, Shard, Count)
    SELECT JobName, strftime('%Y-%m-%d %H:%M:%S.000000', strftime('%s', StartedAt) / 900 * 900, 'unixepoch') AS BeginsAt, State, 1, 7, count(*)
    FROM c_JobRun GROUP BY 1, 2, 3""",
    """
    INSERT INTO c_JobRequest (Scope, RequestKey, Digest, BegunAt)
    SELECT JobName, Id, '7', StartedAt FROM c_JobRun""",
    "INSERT INTO c_JobShadow (JobName, Slot) SELECT JobName, StartedAt FROM c_JobRun",
    """
    INSERT INTO c_JobDelivery (WebhookId, MessageId, Event, Body, Status, CreatedAt)
    SELECT 7, Id, 'run', '', 'done', StartedAt FROM c_JobRun""",
    """
    INSERT INTO c_JobRun (JobName, JobType, State, Queue, DueAt, CreatedAt, TriggeredBy)
    SELECT 'Quick', 'FireAndForget', CASE WHEN Id % 2 THEN 'enqueued' ELSE 'scheduled' END, CASE WHEN Id % 2 THEN 'other' ELSE 'default' END,
        strftime('%Y-%m-%d %H:%M:%S.000000', 'now', '1 days'), StartedAt, 'System'
    FROM c_JobRun""",
    f"""
    INSERT INTO c_JobRun (JobName, JobType, State, Queue, DueAt, CreatedAt, TriggeredBy, Ties, UniqueKey, LimitKey)
    SELECT 'Quick', JobType, 'awaiting', Queue, DueAt, CreatedAt, TriggeredBy, CASE WHEN Id % 2 THEN {int(Tie.FOLLOWS)}
        ELSE {int(Tie.KEYED | Tie.ASKS)} END, CASE WHEN Id % 2 = 0 THEN 'key' END, CASE WHEN Id % 2 = 0 THEN '{waits_for('key')}' END
    FROM c_JobRun WHERE CompletedAt IS NULL""",
    "INSERT INTO c_JobUnique (JobName, UniqueKey, RunId, Scope) SELECT 'Quick', 'key', min(Id), 'active' FROM c_JobRun WHERE State = 'scheduled'",
    """
    INSERT INTO c_JobLink (ChildId, ParentKind, ParentId, Condition, Quorum, Otherwise)
    SELECT Id, 'run', (SELECT min(Id) FROM c_JobRun WHERE State = 'scheduled'), 'success', 'all', 'discard'
    FROM c_JobRun WHERE State = 'awaiting' AND UniqueKey IS NULL""",
    f"DELETE FROM c_JobTextDue WHERE RunId < {ROWS - 2000}",
)  # fmt: skip
"""Insert runs of 58 days, with attempts, statistics, requests, slots and messages; as many runs that are due tomorrow; and as many that wait, half of
them for one of these, half for its unique key. The texts of the newest runs wait for their index.
"""


@job()
async def quick(ctx: JobContext) -> None:
    """Do nothing."""


class Steps(Counter[str]):
    """The most instructions of each statement on the connections of event loops."""

    def connect(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        """Open a connection that counts."""
        connection = sqlite3.connect(*arguments, **options, factory=_Connection)
        connection.most = self
        return connection


class _Connection(sqlite3.Connection):
    most: Counter[str]
    taken = 0

    def cursor(self, *_: Any) -> sqlite3.Cursor:
        self.set_progress_handler(self._step, EACH)
        return super().cursor(_Cursor)

    def _step(self) -> None:
        self.taken += EACH


class _Cursor(sqlite3.Cursor):
    connection: _Connection
    _sql = ""

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        self._sql, self.connection.taken = sql, 0
        super().execute(sql, parameters)
        return self._note(self)

    def executemany(self, sql: str, parameters: Any) -> sqlite3.Cursor:
        self._sql, self.connection.taken = sql, 0
        super().executemany(sql, parameters)
        return self._note(self)

    def fetchall(self) -> list[Any]:
        return self._note(super().fetchall())

    def _note(self, result: Any) -> Any:
        connection = self.connection
        connection.most[self._sql] = max(connection.most[self._sql], connection.taken)
        return result


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    counted = Steps()

    async def connect(database: str) -> sqlite_driver.InlineConnection:
        address = sqlite_driver.existing(database)
        return sqlite_driver.InlineConnection(
            counted.connect(address, isolation_level=None, check_same_thread=False, uri=True)
        )

    monkeypatch.setattr(sqlite_driver, "connect", connect)
    # A change of many rows is long by their number alone, which follows the speed of the machine.
    monkeypatch.setattr(SQLiteDialect, "most_rows", 200)
    return counted


@pytest.fixture
async def scheduler(tmp_path: Path, empty_database: Path, steps: Steps) -> AsyncIterator[Scheduler]:
    assert not steps  # before the first connection
    url = f"sqlite:///{shutil.copy(empty_database, tmp_path / 'jobs.db')}"
    with sync_engine(url) as engine, engine.begin() as connection:
        for statement in FILL:
            connection.exec_driver_sql(statement)
    settings = Settings(database_url=url, **QUICK)
    scheduler = Scheduler(settings, jobs_package=__name__)
    await scheduler.start()
    yield scheduler
    await scheduler.stop()


async def count(scheduler: Scheduler, table: str) -> int:
    query = sa.text(f"SELECT count(*) FROM {table}")
    return int(await scheduler.read(lambda db: db.scalar(query)))


async def test_no_statement_on_the_loop_reads_all_ended_or_all_waiting_runs(
    scheduler: Scheduler, steps: Steps
):
    for run_id in [await scheduler.enqueue(quick) for _ in range(20)]:
        assert await scheduler.wait(run_id, 30) == "succeeded"
    removed = await scheduler.prune(days=30, keep_last=KEEP)
    assert removed["runs"] == removed["attempts"] > ROWS // 3
    assert await count(scheduler, "c_JobRun") == 3 * ROWS + 20 - removed["runs"]
    await scheduler.call(scheduler.node.maintenance.sweep_once())
    assert await count(scheduler, "c_JobRun WHERE State = 'awaiting'") == ROWS
    merged = "c_JobStat WHERE Shard = {} AND BeginsAt BETWEEN date('now', '-29 days') AND date('now', '-2 days')"
    assert [await count(scheduler, merged.format(shard)) > 0 for shard in (0, 7)] == [True, False]
    assert len(steps) > 40
    long = [f"{taken:,} {sql}" for sql, taken in steps.most_common() if taken > MOST]
    assert not long, "\n".join(long)


async def test_a_statement_that_reads_the_history_is_found(scheduler: Scheduler, steps: Steps):
    await scheduler.change(lambda db: db.scalar(sa.text("SELECT max(Message) FROM c_JobRun")))
    [(sql, taken)] = steps.most_common(1)
    assert (sql, taken > MOST) == ("SELECT max(Message) FROM c_JobRun", True)
