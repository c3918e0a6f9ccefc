"""Watch list: the jobs switched over from the old server within a day."""

from datetime import UTC, datetime, timedelta
from typing import Any

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


async def test_a_failure_is_named_however_many_runs_came_after_it(migrated_url: str):
    owner = {
        "JobName": "Import",
        "Owner": "new",
        "OldKey": "7",
        "Since": NOW - 3 * HOUR,
        "ChangedBy": "dana",
    }
    rows = [run("failed", NOW - HOUR), *(run("succeeded", NOW) for _ in range(60))]
    store = Store(migrated_url)
    try:
        async with store.write() as db:
            await db.execute(job_owner.insert().values(owner))
            for row in rows:
                await db.execute(job_run.insert().values(row))
        async with store.read() as db:
            [watched] = await watch_list(db, NOW)
    finally:
        await store.dispose()
    assert watched.alarm == "run 1 failed"
