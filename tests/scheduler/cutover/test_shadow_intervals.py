"""Shadow report for jobs that count from their last run: compare the interval from each run of the old server to the next."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import old_server
import pytest
import sqlalchemy as sa
from targcc_scheduler import Actor, ActorKind
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.features.legacy.old_server import OldClock, OldServer
from targcc_scheduler.features.legacy.shadow_report import shadow_report
from targcc_scheduler.kernel import job_owner as owners
from targcc_scheduler.kernel.job_owner import Owner
from targcc_scheduler.kernel.jobs.declaration import define

DANA = Actor(ActorKind.MANUAL, "dana")
HOUR = timedelta(hours=1)
BEGIN = datetime(2026, 6, 10, 23, tzinfo=UTC)
"""Instant at which both jobs enter shadow mode; the next day counts."""


class World:
    """Two jobs in shadow mode, and the log of the old server that runs them, in UTC."""

    def __init__(self, folder, url):
        old_url = f"sqlite:///{folder / 'old.db'}"
        self.engine = old_server.engine_of(old_url)
        old_server.make_tables(self.engine)
        self.old = OldServer(old_url, "c_Job", OldClock("UTC"))
        self.store = Store(url)
        self.clock = ManualClock(BEGIN + 26 * HOUR)
        jobs = {
            "Start": define(lambda: None, every="2h", after="start", name="Start"),
            "End": define(lambda: None, every="2h", after="completion", name="End"),
        }
        self.scheduler = SimpleNamespace(definitions=jobs, clock=self.clock, read=self._read)

    async def look_on(self, **keys):
        async with self.store.write() as connection:
            for job, key in keys.items():
                await owners.put(connection, job, Owner.SHADOW, DANA, BEGIN, OldKey=str(key))

    def ran(self, key, *starts, seconds=600):
        insert = sa.text(
            "INSERT INTO c_LoggedJob (c_JobID, WhenStarted, ExecutionTimeSec, AddedBy, AddedOn)"
            " VALUES (:key, :at, :seconds, 'tm', :at)"
        )
        with self.engine.begin() as connection:
            for hours in starts:
                at = (BEGIN + hours * HOUR).replace(tzinfo=None).isoformat(" ")
                connection.execute(insert, {"key": key, "at": at, "seconds": seconds})

    def runs_now(self, key, at):
        row = sa.text(
            "INSERT INTO c_Job (ID, lkpJob, Active, IsManaged, enmJobStatus, LastRunTime, AddedBy, AddedOn)"
            " VALUES (:key, 'x', 1, 1, 'InProcess', :at, 'tm', :at)"
        )
        with self.engine.begin() as connection:
            connection.execute(row, {"key": key, "at": at.isoformat(" ")})

    async def report(self):
        return await shadow_report(self.scheduler, self.old)

    async def _read(self, query):
        async with self.store.read() as connection:
            return await query(connection)


@pytest.fixture
async def world(tmp_path, migrated_sqlite_url):
    made = World(tmp_path, migrated_sqlite_url)
    yield made
    made.old.close()
    made.engine.dispose()
    await made.store.dispose()


ROUND = 2 + 600 / 3600
"""Hours between starts when two hours are counted from an end ten minutes after the start."""


async def test_runs_at_the_intervals_of_the_schedule_are_a_clean_day(world):
    await world.look_on(Start=1, End=2)
    world.ran(1, *(2 * turn for turn in range(14)))
    world.ran(2, *(ROUND * turn for turn in range(12)))
    report = await world.report()

    assert (report.jobs, report.uncompared) == (("End", "Start"), ())
    [day, rest] = report.days
    assert (day.same, day.clean, rest.over) == (23, True, False)
    assert report.latest == timedelta()


async def test_a_run_that_comes_late_or_early_is_named_and_the_next_counts_from_it(world):
    await world.look_on(Start=1)
    world.ran(1, 0, 2, 4, 6.5, 8.5, 10, 12, 14, 16, 18, 20, 22, 24, 26)
    report = await world.report()

    differences = [(difference.at, difference.here) for difference in report.days[0].differences]
    assert differences == [(BEGIN + 6 * HOUR, True), (BEGIN + 10 * HOUR, False)]


async def test_a_run_that_is_not_over_yet_has_begun(world):
    """The old server writes its log row at the end of a run, and its job row before."""
    await world.look_on(Start=1, End=2)
    world.ran(1, *(2 * turn for turn in range(12)))
    world.ran(2, *(ROUND * turn for turn in range(10)))
    at = BEGIN.replace(tzinfo=None) + timedelta(hours=24)
    also = BEGIN.replace(tzinfo=None) + timedelta(hours=ROUND * 10)
    world.runs_now(1, at)
    world.runs_now(2, also)
    report = await world.report()

    assert report.jobs == ("End", "Start")
    assert [difference.job for day in report.days for difference in day.differences] == []


async def test_a_job_that_is_not_begun_any_more_is_named(world):
    await world.look_on(Start=1)
    world.ran(1, 0, 2, 4)
    [day, _] = (await world.report()).days

    assert [(difference.at, difference.here) for difference in day.differences] == [
        (BEGIN + 6 * HOUR, True)
    ]


async def test_without_the_ends_of_its_runs_a_job_that_counts_from_them_is_only_named(world):
    await world.look_on(Start=1, End=2)
    world.ran(1, *(2 * turn for turn in range(14)), seconds=None)
    world.ran(2, *(ROUND * turn for turn in range(12)), seconds=None)
    report = await world.report()

    assert (report.jobs, report.uncompared) == (("Start",), ("End",))
    assert report.days[0].clean
