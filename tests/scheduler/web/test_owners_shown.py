"""Show and change the owner of a job on pages, in the API and on the command line."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.kernel import job_owner as owners
from targcc_scheduler.kernel.job_owner import Owner, Step
from targcc_scheduler.project import current
from web_fixtures import Site


async def test_the_api_says_and_changes_who_runs_a_job(site: Site):
    program = await site.program()
    assert (await program.get("/api/owners")).json() == []
    assert (await program.get("/api/jobs/DailyReport")).json()["owner"] == "new"
    body = {"owner": "shadow", "reason": "looking on"}
    answer = await program.post("/api/jobs/DailyReport/owner", json=body)
    assert answer.status_code == 200
    [entry] = (await program.get("/api/owners")).json()
    assert (entry["job"], entry["owner"], entry["reason"]) == (
        "DailyReport",
        "shadow",
        "looking on",
    )
    shown = (await program.get("/api/jobs/DailyReport")).json()
    assert (shown["owner"], shown["next_run"]) == ("shadow", None)

    refused = await program.post("/api/jobs/DailyReport/owner", json={"owner": "new"})
    assert refused.status_code == 409
    assert "would run on both sides" in refused.json()["detail"]
    refused = await program.post("/api/jobs/DailyReport/trigger")
    assert refused.status_code == 409
    body = {"owner": "new", "old_is_off": True}
    assert (await program.post("/api/jobs/DailyReport/owner", json=body)).status_code == 200
    viewer = await site.program("viewer")
    assert (await viewer.post("/api/jobs/DailyReport/owner", json=body)).status_code == 403


async def test_the_pages_say_and_change_who_runs_a_job(site: Site):
    program, dana = await site.program(), await site.user()
    await program.post("/api/jobs/DailyReport/owner", json={"owner": "old", "reason": "not yet"})
    run_id = await site.add_run("DailyReport", "enqueued")
    page = await dana.page("/jobs/jobs/DailyReport")
    assert "The old server runs this job" in page
    assert "not yet" in page  # the reason of the owner
    assert "1 run waiting here" in page
    refused = 'disabled title="The old server runs this job (owner: old)">Run now</button>'
    assert refused in page
    assert "Waiting: the old server has run this job since" in await dana.page(
        f"/jobs/runs/{run_id}"
    )
    listing = await dana.page("/jobs/jobs?show=elsewhere")
    assert "The old server runs this job (owner: old)" in listing
    assert listing.count('<a class="job"') == 1
    assert refused in listing

    await dana.send("/jobs/jobs/DailyReport/owner", owner="new", old_is_off="on")
    [entry] = (await program.get("/api/owners")).json()
    assert (entry["owner"], entry["by"]) == ("new", "Manual (operator-person)")
    page = await dana.page("/jobs/jobs/DailyReport")
    assert "The old server runs this job" not in page
    assert 'action="/jobs/jobs/DailyReport/run"' in page


async def test_a_change_of_sides_that_is_not_finished_is_told_where_people_look(site: Site):
    now = datetime.now(UTC)

    async def begun(at: datetime, step: Step | None) -> None:
        await site.change(
            lambda db: owners.put(db, "DailyReport", Owner.OLD, SYSTEM, at, Step=step, OldKey="7")
        )

    dana, program = await site.user(), await site.program()
    await begun(now, Step.TAKING)  # in progress: needs no attention
    assert "on neither side" not in await dana.page("/jobs")
    assert "cutover" not in (await program.get("/health/ready")).json()["checks"]

    await begun(now - timedelta(minutes=2), Step.TAKING)
    page = await dana.page("/jobs")
    assert "DailyReport runs on neither side: repeat targcc cutover start." in page
    checks = (await program.get("/health/ready")).json()["checks"]
    assert (checks["cutover"], checks["database"]) == ("failed", "ok")
    assert "targcc_cutover_unfinished 1.0" in (await program.get("/metrics")).text
    await begun(now - timedelta(minutes=2), Step.RETURNING)
    assert "repeat targcc cutover back" in await dana.page("/jobs")

    await begun(now - timedelta(minutes=2), None)
    assert "on neither side" not in await dana.page("/jobs")


async def test_how_many_runs_of_a_queue_may_go_on_at_once_is_shown(site: Site, monkeypatch):
    monkeypatch.setattr(
        "targcc_scheduler.project._configured", replace(current(), queue_limits={"default": 3})
    )
    queues = {
        queue["name"]: queue for queue in (await (await site.program()).get("/api/queues")).json()
    }
    assert queues["default"]["limit"] == 3
    assert 'data-label="Limit">3<' in await (await site.user()).page("/jobs/system")


async def test_the_pool_of_a_queue_and_what_waiting_counts_there_are_shown(site: Site, monkeypatch):
    pool = {"workers": 10, "order": "weighted", "queues": {"default": 3, "bulk": 1}}
    ordered = replace(current(), pools={"main": pool}, queue_aging={"default": 300})
    monkeypatch.setattr("targcc_scheduler.project._configured", ordered)
    queues = {
        queue["name"]: queue for queue in (await (await site.program()).get("/api/queues")).json()
    }
    shown = queues["default"]["pool"]
    assert (shown["name"], shown["order"], shown["weight"]) == ("main", "weighted", 3)
    assert (queues["default"]["aging_seconds"], shown["busy"]) == (300, 0)
    assert {queues[name]["pool"] is None for name in queues if name != "default"} == {True}
    page = await (await site.user()).page("/jobs/system")
    assert "workers of pool" in page
    assert "one priority point per 5 min of waiting" in page
