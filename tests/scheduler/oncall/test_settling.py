"""Error causes are written when runs settle; a successful run costs no extra statement."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from targcc_scheduler import JobContext, JobResult, Settings, job
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.tables import job_failure, job_run
from targcc_scheduler.kernel import error_groups
from targcc_scheduler.kernel.error_groups import fingerprint_of
from targcc_scheduler.kernel.runs.settle import settle
from targcc_scheduler.kernel.runs.values import AttemptRecord, Claim, Settlement

NOW = datetime(2027, 11, 25, tzinfo=UTC)


@job()
class QuietJob:
    """Succeed."""

    def execute(self, _ctx: JobContext) -> JobResult:
        return JobResult.success("done")


@pytest.fixture
def settings(migrated_postgresql_url) -> Settings:
    return Settings(database_url=migrated_postgresql_url)


@pytest.fixture
async def scheduler(make_scheduler):
    made = make_scheduler()
    await made.start(work=False, schedule=False)
    return made


async def running(db, **values):
    row = {
        "JobName": "Quiet",
        "JobType": "Manual",
        "State": "running",
        "Queue": "default",
        "DueAt": NOW,
        "CreatedAt": NOW,
        "StartedAt": NOW,
        "Attempt": 1,
        "ServerId": "web-1",
        "TriggeredBy": "System",
    }
    inserted = await db.execute(job_run.insert().values({**row, **values}))
    return inserted.inserted_primary_key[0]


def settlement(run_id: int, state: RunState) -> Settlement:
    claim = Claim(
        run_id=run_id,
        job_name="Quiet",
        job_type="Manual",
        queue="default",
        priority=0,
        attempt=1,
        lost_workers=0,
        arguments_json=None,
        scheduled_for=None,
        created_at=NOW,
        due_at=NOW,
        triggered_by="System",
        server_id="web-1",
        started_at=NOW,
    )
    ok = state is RunState.SUCCEEDED
    attempt = AttemptRecord(ended_at=NOW, success=ok, server="web-1", message="ValueError: 7")
    return Settlement(claim=claim, state=state, message="ValueError: 7", attempt=attempt)


@pytest.mark.parametrize(("state", "statements"), [("succeeded", 0), ("failed", 1)])
async def test_a_run_that_succeeds_costs_no_statement_besides_its_settlement(
    scheduler, state, statements
):
    executed = []

    async def work(db):
        run_id = await running(db)
        sync = db.sync_connection
        sa.event.listen(sync, "before_cursor_execute", lambda *args: executed.append(args[2]))
        await settle(db, [settlement(run_id, RunState(state))], NOW)
        return run_id

    run_id = await scheduler.change(work)
    assert len(executed) == statements, executed
    query = sa.select(job_run.c.Cause).where(job_run.c.Id == run_id)
    cause = await scheduler.read(lambda db: db.scalar(query))
    assert (cause is None) == (state == "succeeded")


async def test_causes_without_runs_go_with_the_history_but_muted_ones_stay(scheduler):
    async def work(db):
        for name in ("Gone", "Muted", "Kept"):
            await error_groups.note(
                db, [error_groups.Seen(fingerprint_of(name, "ValueError: 7"), NOW)]
            )
        await error_groups.change(db, fingerprint_of("Muted", "ValueError: 7").key, MutedAt=NOW)
        key = fingerprint_of("Kept", "ValueError: 7").key
        await running(db, JobName="Kept", State="failed", CompletedAt=NOW, Cause=key)
        assert await error_groups.remove_old(db, NOW.replace(year=2028), NOW, 10) == 1
        return set(await db.scalars(sa.select(job_failure.c.JobName)))

    assert await scheduler.change(work) == {"Muted", "Kept"}


async def test_a_run_that_a_node_of_the_release_before_failed_gets_a_cause(scheduler):
    async def work(db):
        assert await error_groups.give_causes(db, NOW.replace(hour=1)) == 0  # the first pass
        await running(db, State="failed", CompletedAt=NOW, Message="ValueError: long ago")
        new = await running(
            db, State="failed", CompletedAt=NOW.replace(hour=2), Message="OSError: 7"
        )
        assert await error_groups.give_causes(db, NOW) == 1
        assert await error_groups.give_causes(db, NOW) == 0
        return new

    new = await scheduler.change(work)
    kinds = await scheduler.read(
        lambda db: db.execute(
            sa.select(job_run.c.Id, job_failure.c.Kind).join(
                job_failure, job_failure.c.Cause == job_run.c.Cause
            )
        )
    )
    assert [tuple(row) for row in kinds] == [(new, "OSError")]
