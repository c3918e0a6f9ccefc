"""A generated project survives killed processes, for both ways of installing the scheduler."""

import sqlite3
from contextlib import closing

import pytest
from rendered_projects import MOSTLY_VENDORED, running, wait_for
from targcc_gen import demo
from targcc_gen.demo import DemoProject

pytestmark = pytest.mark.e2e

JOB = '''"""A job that takes long the first time."""

import asyncio
from pathlib import Path

from shop_jobs.scheduler import JobResult, JobType, job

BEGUN = Path("begun")


@job(JobType.MANUAL)
class LongJob:
    """Take long the first time."""

    async def execute(self) -> JobResult:
        if not BEGUN.exists():
            BEGUN.touch()
            await asyncio.sleep(600)
        return JobResult.success("at the second attempt")
'''


@MOSTLY_VENDORED
def test_the_run_of_a_killed_worker_is_finished_by_another(
    either: DemoProject, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TARGCC_HEARTBEAT_SECONDS", "0.5")
    monkeypatch.setenv("TARGCC_LOST_AFTER_SECONDS", "3")
    (either.root / "src" / "shop_jobs" / "jobs" / "long.py").write_text(JOB, encoding="utf-8")
    demo.run_targcc(either, "migrate")
    demo.run_targcc(either, "job", "run", "Long")
    with running(either, "worker") as first:
        wait_for((either.root / "begun").exists, "the first attempt begins", seconds=90)
        first.kill()
        first.wait()

    def ended() -> bool:
        with closing(sqlite3.connect(either.root / "shop_jobs.db")) as database:
            rows = database.execute("SELECT State, Message FROM c_JobRun WHERE JobName = 'Long'")
            return rows.fetchall() == [("succeeded", "at the second attempt")]

    with running(either, "worker"):
        wait_for(ended, "the second attempt ends", seconds=90)
