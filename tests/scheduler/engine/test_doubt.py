"""A commit without an answer may have succeeded or failed; neither case may lose a run or repeat a run."""

import os
import socket
from collections import Counter
from contextlib import asynccontextmanager

import psycopg
import pytest
import sqlalchemy as sa
from rt_tools import until
from sqlalchemy.exc import OperationalError
from targcc_scheduler import RunState, Scheduler, Settings
from targcc_scheduler.db.tables import job_run, logged_job
from targcc_scheduler.kernel.runs.claim import claim
from targcc_scheduler.kernel.runs.values import ClaimTerms, Offer

CLAIM, AT_ONCE, OUTCOME = "StartedAt=", "WITH found AS", "INSERT INTO c_LoggedJob"
"""Text that identifies each kind of statement."""


NOTES = {}
"""Listener per connection for the statements that Psycopg executes without SQLAlchemy."""


class Noting(psycopg.AsyncRawCursor):
    async def execute(self, statement, parameters=(), **options):
        await super().execute(statement, parameters, **options)
        self._noted = statement, parameters
        if self.rowcount >= 0:  # else in a pipeline, without an answer yet
            self._note()
        return self

    async def fetchall(self):
        self._note()
        return await super().fetchall()

    def _note(self):
        if (told_of := NOTES.get(self.connection)) is not None:
            told_of(None, self, *self._noted)


@pytest.fixture(autouse=True)
def _noting(monkeypatch):
    monkeypatch.setattr(psycopg, "AsyncRawCursor", Noting)


class Line:
    """Database connection that breaks once: between a commit and its answer, or just before the commit."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._store = scheduler.store
        self._write, self._write_at_once = self._store.write, self._store.write_at_once
        self.cuts = 0

    def cut(self, words: str, *, committed: bool) -> None:
        """Break in the first transaction that executes a statement containing ``words`` with a result."""
        self._store.write = self._cut(self._write, words, committed=committed)

    def cut_at_once(self, words: str) -> None:
        """Break after a self-committing statement that contains ``words``, before its answer arrives."""
        self._store.write_at_once = self._cut(self._write_at_once, words, committed=True)

    def _cut(self, begin, words, *, committed):
        @asynccontextmanager
        async def write():
            done = []

            def executed(_connection, cursor, statement, parameters, *_):
                values = parameters.values() if isinstance(parameters, dict) else parameters
                idle = any(value == "critical" for value in values)
                found = (
                    cursor.rowcount > 0 or len(getattr(cursor, "_rows", ())) > 0
                )  # OUTPUT has no count
                matches = words in statement and found and not idle
                done.extend([statement] if matches else [])

            async with begin() as connection:
                sa.event.listen(connection.sync_connection, "after_cursor_execute", executed)
                driver = (await connection.get_raw_connection()).driver_connection
                if (
                    connection.dialect.name == "sqlite"
                ):  # drivers execute some statements on their own
                    noted = lambda text: done.append(text) if words in text else None  # noqa: E731
                    driver._open.set_trace_callback(noted)
                else:
                    NOTES[driver] = executed
                try:
                    yield connection
                finally:
                    NOTES.pop(driver, None)
                    if connection.dialect.name == "sqlite":
                        driver._open.set_trace_callback(None)
                if done and not committed:
                    self._broken()
            if done:
                self._broken()

        return write

    def _broken(self):
        self._store.write, self._store.write_at_once = self._write, self._write_at_once
        self.cuts += 1
        raise OperationalError("COMMIT", {}, ConnectionError("server closed the connection"))


@pytest.fixture
def told():
    return []


@pytest.fixture
def heartbeat_seconds():
    """Return a heartbeat long enough that no heartbeat writes during a test."""
    return 30


@pytest.fixture
async def idle(migrated_url, told, heartbeat_seconds):
    """A scheduler that claims nothing until it is started again."""
    settings = Settings(
        _env_file=None,
        database_url=migrated_url,
        migrate_on_start=False,
        heartbeat_seconds=heartbeat_seconds,
        lost_after_seconds=600,
        poll_seconds=0.2,
    )

    async def notify(event):
        told.append((event.kind, event.run_id))

    scheduler = Scheduler(settings, notify=notify)
    await scheduler.start(work=False, schedule=False)
    yield scheduler
    await scheduler.stop()


@pytest.fixture
async def scheduler(idle):
    await idle.start(schedule=False)
    return idle


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
async def test_a_claim_that_nobody_heard_of_is_given_back(idle, committed):
    line = Line(idle)
    line.cut(CLAIM, committed=committed)
    run_id = await idle.enqueue("Hello")
    await idle.start(schedule=False)
    assert await idle.wait(run_id, 40) == RunState.SUCCEEDED
    assert line.cuts == 1
    attempts, life = await _history(idle, run_id)
    assert attempts == [True]
    assert Counter(life)["running"] == (2 if committed else 1)


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
async def test_a_claim_at_once_that_nobody_heard_of_is_given_back(scheduler):
    first = await scheduler.enqueue("Hello")
    # so that the next claim is a single statement
    assert await scheduler.wait(first, 40) == RunState.SUCCEEDED
    executor, line = scheduler.node.executor, Line(scheduler)
    for _ in range(20):  # the cut can hit a poll of an empty queue, or no statement
        executor.holds = True  # hold until there is work; a claim in progress continues
        run_id = await scheduler.enqueue("Hello")
        line.cut_at_once(AT_ONCE)
        executor.holds = False
        assert await scheduler.wait(run_id, 40) == RunState.SUCCEEDED
        attempts, life = await _history(scheduler, run_id)
        assert attempts == [True]
        if Counter(life)["running"] == 2:
            break
    assert Counter(life)["running"] == 2


class OneByOne(dict[str, object]):
    """Jobs that are looked up by name alone."""

    def __iter__(self):
        raise AssertionError("all jobs are looked at")

    values = items = keys = __iter__


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
async def test_a_claim_looks_at_the_jobs_of_its_runs_alone(scheduler, at_once):
    """With thousands of jobs, a look at all of them takes longer than a claim."""
    executor = scheduler.node.executor
    if at_once:  # the first claim of a job checks each run
        assert await scheduler.wait(await scheduler.enqueue("Hello"), 40) == RunState.SUCCEEDED
    executor._definitions = OneByOne(executor._definitions)
    assert await scheduler.wait(await scheduler.enqueue("Hello"), 40) == RunState.SUCCEEDED


def hold(node) -> None:
    """Stop a node's claims, whatever the next refresh of drained releases finds."""
    node.releases.executor = None
    node.executor.holds = True


@pytest.mark.parametrize("heartbeat_seconds", [0.3])
async def test_a_run_that_is_a_nodes_by_the_tables_alone_goes_back_or_is_cancelled(scheduler):
    node, clock = scheduler.node, scheduler.clock
    hold(node)

    async def claim_and_say_nothing(gone, unwanted):
        terms = ClaimTerms(server_id=node.id, limits={}, poison_here=False, now=clock.now())
        async with scheduler.store.write() as connection:
            claimed = await claim(connection, Offer(wanted={"default": 2}), terms)
            ask = sa.update(job_run).where(job_run.c.Id == unwanted)
            await connection.execute(ask.values(CancelRequestedBy="somebody"))
            return {claimed_run.run_id for claimed_run in claimed.claims} == {gone, unwanted}

    is_mine = False
    while not is_mine:  # the node's own claim in progress may have taken the first runs
        gone, unwanted = await scheduler.enqueue("Hello"), await scheduler.enqueue("Hello")
        is_mine = await scheduler.call(claim_and_say_nothing(gone, unwanted))
    assert await scheduler.wait(unwanted, 30) == RunState.CANCELLED
    node.executor.holds = False
    assert await scheduler.wait(gone, 30) == RunState.SUCCEEDED
    assert await _history(scheduler, unwanted) == ([], ["enqueued", "running", "cancelled"])
    attempts, life = await _history(scheduler, gone)
    assert attempts == [True]
    assert life == ["enqueued", "running", "enqueued", "running", "succeeded"]


class Claims:
    """Connections used for single-statement claims."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.begun = Counter()
        self._sockets = {}
        store = scheduler.store
        begin = store.write_at_once

        @asynccontextmanager
        async def write_at_once():
            async with begin() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                process = driver.info.backend_pid
                self._sockets[process] = driver.fileno()
                self.begun[process] += 1
                yield connection

        store.write_at_once = write_at_once

    def cut(self, process: int) -> None:
        """Break the client's connection to a server process; the process finishes its statement."""
        with socket.socket(fileno=os.dup(self._sockets[process])) as end:
            end.shutdown(socket.SHUT_RDWR)


def held_up(url: str) -> int | None:
    """Return the server process in which a claim waits for a lock."""
    with psycopg.connect(url) as server:
        row = server.execute(
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
            " AND datname = current_database()",
            (f"%{AT_ONCE}%",),
        ).fetchone()
    return row and row[0]


@pytest.mark.parametrize("heartbeat_seconds", [0.3])
@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
async def test_a_claim_that_comes_through_after_the_node_has_looked_for_it_is_given_back(
    scheduler, migrated_url
):
    claims = Claims(scheduler)
    first = await scheduler.enqueue("Hello")
    # so that the next claim is a single statement, and knows of ``claims``
    assert await scheduler.wait(first, 40) == RunState.SUCCEEDED
    executor = scheduler.node.executor
    hold(scheduler.node)
    waiting = "SELECT FROM c_JobRun WHERE Id = %s AND State = 'enqueued' FOR UPDATE"
    with psycopg.connect(migrated_url) as other:
        is_locked = False
        while not is_locked:  # a claim in progress may have taken the first runs
            run_id = await scheduler.enqueue("Hello")
            is_locked = other.execute(waiting, (run_id,)).rowcount == 1
        executor.holds = False
        process = await until(lambda: held_up(migrated_url))
        claims.cut(process)
        begun = claims.begun.total()
        await until(lambda: claims.begun.total() > begun)  # the node has polled and claims again
    assert await scheduler.wait(run_id, 30) == RunState.SUCCEEDED
    attempts, life = await _history(scheduler, run_id)
    assert attempts == [True]
    assert Counter(life)["running"] == 2


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
async def test_an_outcome_whose_writing_was_in_doubt_is_there_once_and_told_once(
    scheduler, told, caplog, committed
):
    line = Line(scheduler)
    line.cut(OUTCOME, committed=committed)
    run_id = await scheduler.enqueue("Fail")
    assert await scheduler.wait(run_id, 40) == RunState.FAILED
    await scheduler.stop()  # the node reports its events
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
