"""A renamed job keeps its history, pause and schedule, also while nodes of the previous release are up."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from guarantee_rig import DANA, QUICK, Ledger, MakeScheduler, schedulers
from rt_tools import until
from targcc_scheduler import Scheduler, Settings, operations
from targcc_scheduler.db.tables import (
    job_alert,
    job_audit,
    job_limit,
    job_run,
    job_schedule,
    job_stat,
    logged_job,
)
from targcc_scheduler.features.overrides import actions as override_actions
from targcc_scheduler.features.overrides.actions import Wish

SOURCE = """
from targcc_scheduler import JobContext, job

@job("{cron}", name="{name}", misfire="run_all", overlap="allow"{more})
async def report(ctx: JobContext) -> None:
    ...
"""
LIMITED = """
import asyncio
import tenants
from targcc_scheduler import job

@job(name="{name}", limit={{"key": "tenant", "running": 2}}, unique="number"{more})
async def report(tenant: str, number: int) -> None:
    tenants.running[tenant] += 1
    tenants.most[tenant] = max(tenants.most[tenant], tenants.running[tenant])
    while not tenants.may_end:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    tenants.running[tenant] -= 1
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
    """Return a function that starts a node of a release whose job has the given name."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[Scheduler] = []

    async def begin(
        release: str, name: str, more: str = "", cron: str = NIGHTLY, source: str = SOURCE
    ) -> Scheduler:
        package = f"aliases_{tmp_path.name}_{len(made)}"
        text = source.format(cron=cron, name=name, more=more)
        (tmp_path / f"{package}.py").write_text(text, encoding="utf-8")
        options: dict[str, Any] = {**QUICK, "release": release}
        settings = Settings(_env_file=None, database_url=migrated_url, **options)
        made.append(make(jobs_package=package, settings=settings))
        await made[-1].start()
        return made[-1]

    return begin


@pytest.fixture
def ledger(migrated_url: str) -> Ledger:
    return Ledger(migrated_url)


def names(ledger: Ledger, table: sa.Table) -> set[str]:
    job_names = {row.JobName for row in ledger.rows(sa.select(table.c.JobName))}
    return {name for name in job_names if name}


def schedule(ledger: Ledger, name: str) -> Any:
    [row] = ledger.rows(sa.select(job_schedule).where(job_schedule.c.JobName == name))
    return row


@pytest.mark.slow
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
    await override_actions.override(old, old.find("Report"), Wish({"priority": 9}, "urgent"), DANA)
    before = schedule(ledger, "Report")
    await old.stop()
    counted = ledger.rows(sa.select(job_stat))
    for row in counted:  # counters that exist under the new name already
        ledger.change(job_stat.insert().values({**row._asdict(), "JobName": "Takings"}))
    for name in ("Report", "Takings"):
        ledger.change(job_run.insert().values(JobName=name, **RUN))

    new = await start("2", "Takings", ALIAS)
    row = schedule(ledger, "Takings")
    assert (row.LastSlot, row.ScheduleText) == (before.LastSlot, before.ScheduleText)
    assert (row.PausedAt, row.PauseReason) == (before.PausedAt, "inventory")
    await until(lambda: all(names(ledger, table) == {"Takings"} for table in NAMES))
    await until(lambda: new.definitions["Takings"].priority == 9)
    assert len(ledger.runs("Report")) == 1  # one run per slot, and the new name has it
    assert [row.Count for row in ledger.rows(sa.select(job_stat))] == [
        2 * row.Count for row in counted
    ]
    assert later in {run.Id for run in ledger.rows(sa.select(job_run))}
    assert names(ledger, job_audit) == {"Report"}  # audit entries keep the old name
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


@pytest.mark.slow
async def test_an_older_release_that_was_chosen_keeps_the_slots_and_may_come_back(start, ledger):
    old = await start("1", "Report")
    await old.operate(operations.use_release, None, "1", DANA)
    query = sa.select(job_schedule).where(job_schedule.c.JobName == "Report")
    await until(lambda: ledger.rows(query), 30)  # the node's first tick
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


@pytest.mark.slow
async def test_a_limit_and_a_unique_key_hold_across_a_rename_while_runs_are_under_way(
    start, ledger, tmp_path, monkeypatch
):
    text = (
        "from collections import Counter\n\nrunning, most, may_end = Counter(), Counter(), False\n"
    )
    (tmp_path / "tenants.py").write_text(text, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "tenants", raising=False)
    old = await start("1", "Report", source=LIMITED)
    many = [{"tenant": tenant, "number": n} for n, tenant in enumerate("aaaaabbbbb")]
    ids = await old.enqueue_many("Report", many)
    tenants = sys.modules["tenants"]
    await until(lambda: tenants.running == {"a": 2, "b": 2})

    new = await start("2", "Takings", ALIAS, source=LIMITED)
    assert await new.enqueue("Takings", tenant="a", number=0) == ids[0]
    for scheduler, name in ((new, "Takings"), (old, "Report")):
        more = [{"tenant": "abc"[n % 3], "number": 100 * len(ids) + n} for n in range(9)]
        ids += await scheduler.enqueue_many(name, more)
    waits = sa.select(job_run.c.Id).where(job_run.c.State == "enqueued", job_run.c.RoomAt.is_(None))
    await until(lambda: not ledger.rows(waits))  # every run has requested its key
    await until(lambda: tenants.running == {"a": 2, "b": 2, "c": 2})
    keys = {row.LimitKey for row in ledger.rows(sa.select(job_run.c.LimitKey))}
    assert keys == {f"Takings tenant={tenant}" for tenant in "abc"}
    tenants.may_end = True
    await old.stop()
    unfinished = sa.select(job_run).where(job_run.c.State != "succeeded")
    # the node checks for remaining rows every 30 s
    await until(lambda: not ledger.rows(unfinished), 90)
    assert tenants.most == {"a": 2, "b": 2, "c": 2}
    back = await start("3", "Report", ', aliases=("Takings",)', source=LIMITED)
    assert await back.wait(await back.enqueue("Report", tenant="a", number=7), 60) == "succeeded"
    [row] = ledger.rows(sa.select(job_limit.c.LimitKey).where(job_limit.c.JobName == "Takings", job_limit.c.LimitKey.like("%=a")))  # fmt: skip
    assert row.LimitKey == "Takings tenant=a"  # a run keeps its limit key
