"""A job that was renamed goes on with its history, pause and schedule, also while nodes of the release before are up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from guarantee_rig import DANA, QUICK, Ledger, MakeScheduler, schedulers
from rt_tools import until
from targcc_scheduler import Scheduler, Settings, operations
from targcc_scheduler.oncall import overriding
from targcc_scheduler.oncall.overriding import Wish
from targcc_scheduler.storage.tables import (
    job_alert,
    job_audit,
    job_run,
    job_schedule,
    job_stat,
    logged_job,
)

SOURCE = """
from targcc_scheduler import JobContext, job

@job("{cron}", name="{name}", misfire="run_all", overlap="allow"{more})
async def report(ctx: JobContext) -> None:
    ...
"""
NIGHTLY, EACH_SECOND = "0 2 * * *", "* * * * * *"
ALIAS = ', aliases=("Report",)'
NAMES = [job_stat, job_alert, logged_job]
SLOT = datetime(2026, 1, 1, 2, tzinfo=UTC)
RUN = {
    "JobType": "Recurring",
    "State": "succeeded",
    "Queue": "default",
    "ScheduledFor": SLOT,
    "DueAt": SLOT,
    "CreatedAt": SLOT,
    "CompletedAt": SLOT,
    "TriggeredBy": "System",
}


@pytest.fixture
async def make(migrated_url: str) -> AsyncIterator[MakeScheduler]:
    async with schedulers(migrated_url, "") as make:
        yield make


@pytest.fixture
def start(make: MakeScheduler, migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Starts a node of a release whose job has a name."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[Scheduler] = []

    async def begin(release: str, name: str, more: str = "", cron: str = NIGHTLY) -> Scheduler:
        package = f"aliases_{tmp_path.name}_{len(made)}"
        text = SOURCE.format(cron=cron, name=name, more=more)
        (tmp_path / f"{package}.py").write_text(text, encoding="utf-8")
        mine: dict[str, Any] = {**QUICK, "release": release}
        settings = Settings(_env_file=None, database_url=migrated_url, **mine)
        made.append(make(jobs_package=package, settings=settings))
        await made[-1].start()
        return made[-1]

    return begin


@pytest.fixture
def ledger(migrated_url: str) -> Ledger:
    return Ledger(migrated_url)


def names(ledger: Ledger, table: sa.Table) -> set[str]:
    found = {row.JobName for row in ledger.rows(sa.select(table.c.JobName))}
    return {name for name in found if name}


def schedule(ledger: Ledger, name: str) -> Any:
    [row] = ledger.rows(sa.select(job_schedule).where(job_schedule.c.JobName == name))
    return row


async def test_it_takes_over_all_there_is(start, ledger):
    old = await start("1", "Report")
    await old.enqueue("Report")
    await until(lambda: ledger.rows(sa.select(logged_job)))
    later = await old.schedule("Report", delay=timedelta(days=1))
    await old.pause("Report", by=DANA, reason="inventory")
    await old.change(
        lambda db: db.execute(
            job_alert.insert().values(JobName="Report", EmailRecipients="a@example.com")
        )
    )
    await overriding.override(old, old.find("Report"), Wish({"priority": 9}, "urgent"), DANA)
    before = schedule(ledger, "Report")
    await old.stop()
    counted = ledger.rows(sa.select(job_stat))
    for row in counted:  # as if somebody had counted under the new name already
        ledger.change(job_stat.insert().values({**row._asdict(), "JobName": "Takings"}))
    for name in ("Report", "Takings"):
        ledger.change(job_run.insert().values(JobName=name, **RUN))

    new = await start("2", "Takings", ALIAS)
    row = schedule(ledger, "Takings")
    assert (row.LastSlot, row.ScheduleText) == (before.LastSlot, before.ScheduleText)
    assert (row.PausedAt, row.PauseReason) == (before.PausedAt, "inventory")
    await until(lambda: all(names(ledger, table) == {"Takings"} for table in NAMES))
    await until(lambda: new.definitions["Takings"].priority == 9)
    assert len(ledger.runs("Report")) == 1  # there is one run a slot, and the new name has one
    assert [row.Count for row in ledger.rows(sa.select(job_stat))] == [
        2 * row.Count for row in counted
    ]
    assert later in {run.Id for run in ledger.rows(sa.select(job_run))}
    assert names(ledger, job_audit) == {"Report"}  # the audit stays as it was written
    assert new.find("Report").name == "Takings"


async def test_while_both_releases_are_up_each_slot_runs_once(start, ledger):
    def done() -> list[Any]:
        return ledger.rows(
            sa.select(job_run)
            .where(job_run.c.State == "succeeded")
            .order_by(job_run.c.ScheduledFor)
        )

    old = await start("1", "Report", cron=EACH_SECOND)
    await until(lambda: len(done()) >= 1)
    await start("2", "Takings", ALIAS, cron=EACH_SECOND)
    taken_over = len(done())
    old.node.slots.wake()
    await old.enqueue("Report")
    await until(lambda: len(done()) >= taken_over + 4, 30)
    await old.stop()
    slots = [run.ScheduledFor for run in done() if run.ScheduledFor is not None]
    assert len(slots) == len(set(slots))
    assert max(slots) - min(slots) == timedelta(seconds=len(slots) - 1)
    await until(lambda: names(ledger, job_run) == names(ledger, logged_job) == {"Takings"}, 30)
    assert {run.State for run in ledger.rows(sa.select(job_run))} <= {
        *("succeeded", "enqueued", "running", "scheduled"),
    }


async def test_an_older_release_that_was_chosen_keeps_the_slots_and_may_come_back(start, ledger):
    old = await start("1", "Report")
    await old.operate(operations.use_release, None, "1", DANA)
    mine = sa.select(job_schedule).where(job_schedule.c.JobName == "Report")
    await until(lambda: ledger.rows(mine), 30)  # its first tick
    before = schedule(ledger, "Report")
    new = await start("2", "Takings", ALIAS)
    new.node.slots.wake()
    await new.call(new.node.slots.tick())
    assert schedule(ledger, "Report").ScheduleText == before.ScheduleText
    assert schedule(ledger, "Takings").LastSlot is None
    await new.operate(operations.use_release, None, "2", DANA)
    await until(lambda: schedule(ledger, "Takings").LastSlot == before.LastSlot, 30)
    assert schedule(ledger, "Report").LastSlot is None
    await new.operate(operations.use_release, None, "1", DANA)
    await until(lambda: schedule(ledger, "Report").LastSlot is not None, 30)
