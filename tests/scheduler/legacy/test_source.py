"""Contract of a job source outside the code, tested with c_Job and with a small source of this module."""

import asyncio
import contextlib
import sqlite3

import pytest
from targcc_scheduler import Settings
from targcc_scheduler.core.errors import LegacyError
from targcc_scheduler.features.legacy.c_job import CJobSource
from targcc_scheduler.features.legacy.source import Reading, SourceFollower
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.jobs.registry import JobRegistry


def work():
    """A job's work."""


class CJob:
    """A c_Job table, and the source that reads it."""

    def __init__(self, folder):
        self.path = folder / "legacy.db"
        self._change(
            "CREATE TABLE c_Job (ID INTEGER PRIMARY KEY, JobName TEXT, CronExpression TEXT, StoredProcName TEXT, IsActive INT)"
        )
        settings = Settings(_env_file=None, legacy_url=f"sqlite:///{self.path}")
        self.source = CJobSource(settings)

    def put(self, name, cron):
        values = (name, cron, "SP_Report")
        sql = "INSERT INTO c_Job (JobName, CronExpression, StoredProcName, IsActive) VALUES (?, ?, ?, 1)"
        self._change(sql, values)

    def rest(self, name):
        self._change("UPDATE c_Job SET IsActive = 0 WHERE JobName = ?", (name,))

    def break_(self):
        self._change("ALTER TABLE c_Job RENAME TO c_Elsewhere")

    def _change(self, sql, values=()):
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(sql, values)


class Lines:
    """Source that reads jobs from the lines of a file, ``name cron``; a job without a cron has no schedule."""

    name = "lines"
    if_taken = "strike the line out"

    def __init__(self, folder):
        self.path = folder / "jobs.txt"
        self.path.touch()
        self.source = self
        self._known = {}

    def read(self):
        try:
            text = self.path.read_text(encoding="utf-8")
        except OSError as error:
            raise LegacyError(f"the file is not there: {error.strerror}") from error
        lines = [line.partition(" ") for line in text.splitlines()]
        known = {
            (name, cron): self._known.get((name, cron)) or define(work, cron, name=name)
            for name, _, cron in lines
            if cron
        }
        self._known = known
        idle = frozenset(name for name, _, cron in lines if not cron)
        return Reading({name: job for (name, _), job in known.items()}, (), idle)

    def close(self):
        """Close no resources."""

    def put(self, name, cron):
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{name} {cron}\n")

    def rest(self, name):
        text = self.path.read_text(encoding="utf-8")
        lines = [name if line.startswith(f"{name} ") else line for line in text.splitlines()]
        self.path.write_text("\n".join(lines), encoding="utf-8")

    def break_(self):
        self.path.unlink()


@pytest.fixture(params=[CJob, Lines])
def kept(request, tmp_path):
    kept = request.param(tmp_path)
    yield kept
    kept.source.close()


@pytest.fixture
def registry():
    return JobRegistry(__name__)


def test_a_reading_holds_the_jobs_that_are_to_run(kept):
    kept.put("Report", "0 2 * * *")
    assert kept.source.read().definitions["Report"].schedule_text == "0 2 * * *"


def test_a_job_that_has_not_changed_is_the_same_in_the_next_reading(kept):
    kept.put("Report", "0 2 * * *")
    first = kept.source.read()
    kept.put("Cleanup", "0 3 * * *")
    second = kept.source.read()
    assert second.definitions["Report"] is first.definitions["Report"]
    assert set(second.definitions) == {"Report", "Cleanup"}


def test_a_job_that_rests_is_named_but_not_to_run(kept):
    kept.put("Report", "0 2 * * *")
    kept.rest("Report")
    reading = kept.source.read()
    assert (dict(reading.definitions), reading.idle) == ({}, {"Report"})


def test_what_cannot_be_read_is_said_by_one_kind_of_error(kept):
    kept.break_()
    with pytest.raises(LegacyError):
        kept.source.read()


def test_a_closed_source_can_be_read_again(kept):
    kept.put("Report", "0 2 * * *")
    kept.source.close()
    assert set(kept.source.read().definitions) == {"Report"}


def test_the_registry_gets_the_jobs_and_reports_a_source_that_cannot_be_read(kept, registry):
    kept.put("Report", "0 2 * * *")
    follower = SourceFollower(kept.source, 60)
    follower.fill(registry)
    assert set(registry.definitions) == {"Report"}
    kept.break_()
    follower.fill(registry)
    assert set(registry.definitions) == {"Report"}
    (broken,) = registry.broken
    assert (broken.module, broken.error[:16]) == (kept.source.name, "cannot be read: ")


def test_a_job_in_the_code_wins_and_the_source_says_what_to_do(kept, registry):
    registry.add(define(work, "0 5 * * *", name="Report"))
    kept.put("Report", "0 2 * * *")
    SourceFollower(kept.source, 60).fill(registry)
    assert registry.definitions["Report"].schedule_text == "0 5 * * *"
    (broken,) = registry.broken
    assert broken.module == f'{kept.source.name} "Report"'
    assert broken.error.endswith(kept.source.if_taken)


async def test_changes_are_followed_and_jobs_that_rest_are_told(kept, registry):
    kept.put("Report", "0 2 * * *")
    queue = asyncio.Queue()
    follow = SourceFollower(kept.source, 0.01).follow(registry, queue.put)
    task = asyncio.create_task(follow)
    assert await asyncio.wait_for(queue.get(), 30) == set()
    kept.rest("Report")
    assert await asyncio.wait_for(queue.get(), 30) == {"Report"}
    assert "Report" not in registry.definitions
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_jobs_that_were_made_idle_while_nothing_ran_are_told_at_the_start(kept, registry):
    kept.put("Report", "0 2 * * *")
    kept.rest("Report")
    queue = asyncio.Queue()
    follower = SourceFollower(kept.source, 0.01)
    follower.fill(registry)
    task = asyncio.create_task(follower.follow(registry, queue.put))
    assert await asyncio.wait_for(queue.get(), 30) == {"Report"}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
