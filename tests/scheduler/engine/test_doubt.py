"""A commit whose answer never came: it may have come through or not, and neither may cost a run or repeat one."""

from collections import Counter
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from targcc_scheduler import RunState, Scheduler, Settings
from targcc_scheduler.storage.tables import job_run, logged_job

CLAIM, OUTCOME = "StartedAt=", "INSERT INTO c_LoggedJob"
"""Words of the statements that do it."""


class Line:
    """The connection to the database; breaks once, between a commit and its answer or just before the commit."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._store = scheduler.store
        self._write = self._store.write
        self.cuts = 0

    def cut(self, words: str, *, committed: bool) -> None:
        """Break in the first transaction with a statement of these words that finds something to do."""

        @asynccontextmanager
        async def write():
            done = []

            def executed(_connection, cursor, statement, *_):
                done.extend([statement] if words in statement and cursor.rowcount > 0 else [])

            async with self._write() as connection:
                sa.event.listen(connection.sync_connection, "after_cursor_execute", executed)
                yield connection
                if done and not committed:
                    self._broken()
            if done:
                self._broken()

        self._store.write = write

    def _broken(self):
        self._store.write = self._write
        self.cuts += 1
        raise OperationalError("COMMIT", {}, ConnectionError("server closed the connection"))


@pytest.fixture
def told():
    return []


@pytest.fixture
async def scheduler(migrated_url, told):
    settings = Settings(
        _env_file=None,
        database_url=migrated_url,
        migrate_on_start=False,
        heartbeat_seconds=30,  # nobody else writes meanwhile
        lost_after_seconds=600,
        poll_seconds=0.2,
    )

    async def notify(event):
        told.append((event.kind, event.run_id))

    scheduler = Scheduler(settings, notify=notify)
    await scheduler.start(schedule=False)
    yield scheduler
    await scheduler.stop()


async def _history(scheduler, run_id):
    async def read():
        async with scheduler.store.read() as connection:
            attempts = await connection.execute(
                sa.select(logged_job.c.Success).where(logged_job.c.JobId == str(run_id))
            )
            life = await connection.scalar(
                sa.select(job_run.c.LifeLog).where(job_run.c.Id == run_id)
            )
            return [row.Success for row in attempts], [
                line.split()[1] for line in life.splitlines()
            ]

    return await scheduler.call(read())


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
async def test_a_claim_that_nobody_heard_of_is_given_back(scheduler, committed):
    line = Line(scheduler)
    line.cut(CLAIM, committed=committed)
    run_id = await scheduler.enqueue("Hello")
    assert await scheduler.wait(run_id, 20) == RunState.SUCCEEDED
    assert line.cuts == 1
    attempts, life = await _history(scheduler, run_id)
    assert attempts == [True]
    assert Counter(life)["running"] == (2 if committed else 1)


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
async def test_an_outcome_whose_writing_was_in_doubt_is_there_once_and_told_once(
    scheduler, told, caplog, committed
):
    line = Line(scheduler)
    line.cut(OUTCOME, committed=committed)
    run_id = await scheduler.enqueue("Fail")
    assert await scheduler.wait(run_id, 20) == RunState.FAILED
    await scheduler.stop()  # it tells what it has to tell
    assert line.cuts == 1
    attempts, life = await _history(scheduler, run_id)
    assert attempts == [False, False]
    assert [state for state in life if state != "enqueued"] == [
        "running",
        "retrying",
        "running",
        "failed",
    ]
    assert told == [("failure", run_id)]
    assert "another node" not in caplog.text
