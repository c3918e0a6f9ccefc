"""Watch list: the jobs switched over from the old server within a day."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from targcc_scheduler.db.tables import job_owner, job_run
from targcc_scheduler.db.transactions import Store
from targcc_scheduler.features.legacy.cutover_plan import watch_list

NOW = datetime(2026, 11, 25, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)


def run(state: str, at: datetime) -> dict[str, Any]:
    """Return a row for a run."""
    return {
        "JobName": "Import",
        "JobType": "Recurring",
        "State": state,
        "Queue": "default",
        "DueAt": at,
        "CreatedAt": at,
        "CompletedAt": at,
        "TriggeredBy": "System",
    }


async def alarm(url: str, rows: list[dict[str, Any]]) -> str:
    """Return the alarm of a job that came three hours ago and has these runs."""
    owner = {
        "JobName": "Import",
        "Owner": "new",
        "OldKey": "7",
        "Since": NOW - 3 * HOUR,
        "ChangedBy": "dana",
    }
    store = Store(url)
    try:
        async with store.write() as db:
            await db.execute(job_owner.insert().values(owner))
            for row in rows:
                await db.execute(job_run.insert().values(row))
        async with store.read() as db:
            [watched] = await watch_list(db, NOW)
    finally:
        await store.dispose()
    return watched.alarm


async def test_a_failure_is_named_however_many_runs_came_after_it(migrated_url: str):
    rows = [run("failed", NOW - HOUR), *(run("succeeded", NOW) for _ in range(60))]

    assert await alarm(migrated_url, rows) == "run 1 failed"


@pytest.mark.parametrize(("hours", "expected"), [(-20, ""), (-1, "run 1 missed")])
async def test_a_slot_that_passed_before_the_move_is_no_alarm(
    migrated_url: str, hours: int, expected: str
):
    missed = run("missed", NOW - 2 * HOUR) | {"ScheduledFor": NOW + hours * HOUR}

    assert await alarm(migrated_url, [missed, run("succeeded", NOW)]) == expected
