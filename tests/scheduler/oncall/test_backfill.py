"""A backfill runs past slots in order, once each, and passes each run its slot time."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from targcc_scheduler import JobContext, JobResult, Settings, job
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.actor import Actor
from targcc_scheduler.core.errors import BulkError
from targcc_scheduler.core.search_language import only
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.features.triage.bulk_actions import backfill, look
from targcc_scheduler.kernel.queries.run_search import RunFilter, list_runs

DANA = Actor("CLI", "dana")
SINCE, UNTIL = datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
seen: list[datetime] = []


@job("30 2 * * *", timezone="Europe/Berlin")
class NightlyJob:
    """Run at night, also on 29 March 2026, when 02:30 does not exist."""

    def execute(self, ctx: JobContext) -> JobResult:
        assert ctx.scheduled_for is not None
        seen.append(ctx.scheduled_for)
        return JobResult.success("done")


@job(after=[NightlyJob])
async def tell_morning() -> None:
    """Run after each nightly run."""


@job()
class ManualJob:
    """Job without slots."""

    def execute(self, _ctx: JobContext) -> JobResult:
        return JobResult.success("done")


async def runs_of(scheduler):
    page = await scheduler.read(lambda db: list_runs(db, RunFilter(search=only(job="Nightly"))))
    return page.runs[::-1]


async def test_the_slots_that_are_missing_are_run_in_order(make_scheduler):
    seen.clear()
    scheduler = make_scheduler()
    await scheduler.start(schedule=False)
    nightly = scheduler.find("Nightly")
    slot = datetime(2026, 3, 28, 1, 30, tzinfo=UTC)
    row = {
        "JobName": "Nightly",
        "JobType": "Recurring",
        "State": "succeeded",
        "Queue": "default",
        "ScheduledFor": slot,
        "DueAt": slot,
        "CreatedAt": slot,
        "CompletedAt": slot,
        "TriggeredBy": "System",
    }
    await scheduler.change(lambda db: db.execute(job_run.insert().values(row)))
    now = scheduler.clock.now()
    result = await scheduler.read(lambda db: look(db, nightly, SINCE, UNTIL, now))
    assert len(result.slots) == 4
    assert dict(result.there) == {slot: RunState.SUCCEEDED}
    made = await scheduler.operate(backfill, None, nightly, SINCE, UNTIL, DANA)
    assert made == 3
    for run in await runs_of(scheduler):
        await scheduler.wait(run.id, timeout=30)
    assert [f"{moment:%d %H:%M}" for moment in seen] == ["27 02:30", "29 03:00", "30 02:30"]
    assert {run.triggered_by for run in (await runs_of(scheduler))[1:]} == {"Backfill (dana)"}
    assert await scheduler.operate(backfill, None, nightly, SINCE, UNTIL, DANA) == 0


@pytest.fixture
def settings(database):
    return Settings(database_url=database.url, poll_seconds=0.1, keepalive=False)


async def test_what_cannot_be_filled_in_is_refused(make_scheduler):
    scheduler = make_scheduler()
    await scheduler.start(work=False, schedule=False)
    nightly, manual = scheduler.find("Nightly"), scheduler.find("Manual")
    for job_of, until, message in (
        (manual, UNTIL, "no schedule"),
        (nightly, datetime.now(UTC) + timedelta(days=1), "range of the past"),
        (nightly, SINCE, "range of the past"),
    ):
        with pytest.raises(BulkError, match=message):
            await scheduler.operate(backfill, None, job_of, SINCE, until, DANA)


@pytest.mark.slow
def test_the_command_shows_the_slots_before(settings, request, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("TARGCC_JOBS_PACKAGE", request.module.__name__)
    chosen = ["backfill", "nightly", "--since", "2026-03-27T00:00Z", "--until", "2026-03-31T00:00Z"]
    shown = CliRunner().invoke(main, [*chosen, "--dry-run"])
    assert shown.output.splitlines()[:2] == [
        "4 slots, of which there are: none",
        "  2026-03-27 02:30+01:00",
    ]
    three = [*chosen[:-1], "2026-03-30T00:00Z", "--no-followers", "--json", "--yes"]
    assert json.loads(CliRunner().invoke(main, three).output)["created"] == 3
    followers = ["run", "list", "--job", "TellMorning", "--json"]
    assert json.loads(CliRunner().invoke(main, followers).output)["runs"] == []
    CliRunner().invoke(main, ["bulk", "do", "delete", "--job", "Nightly", "--yes"])
    done = CliRunner().invoke(main, [*chosen, "--rate", "1", "--json", "--yes"])
    assert len(json.loads(CliRunner().invoke(main, followers).output)["runs"]) == 4
    assert json.loads(done.output) == {"job": "Nightly", "created": 4}
    assert "0 runs of Nightly wait" in CliRunner().invoke(main, [*chosen, "--yes"]).output
    stopped = ["bulk", "do", "cancel", "--job", "Nightly", "--text", "Backfill", "--yes"]
    assert "is done: 4 runs" in CliRunner().invoke(main, stopped).output
