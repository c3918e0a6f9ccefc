"""Batches in the API, by the command line and on the page of a run."""

import asyncio
import json

from click.testing import CliRunner
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.security.rights import own_roles
from targcc_scheduler.security.roles import Grant, Role
from targcc_scheduler.storage.tables import job_batch
from web_fixtures import Site


async def month_end(site: Site) -> int:
    """A batch of two runs, and one in it with another; a callback waits for it."""
    async with site.scheduler.batch("month end", on_finish="SyncStock") as batch:
        batch.enqueue_many("DailyReport", [{}, {}])
        async with batch.batch("reminders") as inner:
            inner.enqueue("DailyReport")
    return batch.batch_id


async def test_programs_and_people_see_batches_and_operators_act_on_them(site: Site):
    batch_id = await month_end(site)
    viewer, operator = await site.program("viewer"), await site.program()

    newest = await viewer.get("/api/batches", params={"limit": 1})
    assert [one["name"] for one in newest.json()] == ["reminders"]
    older = (await viewer.get(newest.links["next"]["url"])).json()
    assert [(one["name"], one["total"], one["pending"]) for one in older] == [("month end", 3, 3)]
    assert (await viewer.get("/api/batches", params={"state": "failed"})).json() == []

    shown = (await viewer.get(f"/api/batches/{batch_id}")).json()
    assert (shown["state"], shown["runs"], shown["inner"]) == (
        "running",
        {"enqueued": 2},
        [batch_id + 1],
    )
    [callback] = shown["callbacks"]
    assert (await viewer.get(f"/api/runs/{callback}")).json()["state"] == "awaiting"
    [one, *_] = (await viewer.get("/api/runs", params={"q": "job:DailyReport"})).json()["runs"]
    assert one["batch_id"] in {batch_id, batch_id + 1}
    assert (await viewer.get("/api/batches/99")).status_code == 404
    assert (await viewer.post(f"/api/batches/{batch_id}/cancel")).status_code == 403

    cancelled = await operator.post(f"/api/batches/{batch_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["runs"]) == (200, 3)
    assert (await operator.post(f"/api/batches/{batch_id}/cancel")).status_code == 409
    over = (await viewer.get(f"/api/batches/{batch_id}")).json()
    assert (over["state"], over["cancelled_by"], over["failed"]) == (
        "cancelled",
        "API (operator-program)",
        3,
    )
    person = await site.user("viewer")
    assert "Batch 1 (<bdi>month end</bdi>): 3 of 3 done" in await person.page("/jobs/runs/1")
    again = await operator.post(f"/api/batches/{batch_id}/retry")
    assert (again.status_code, again.json()["runs"]) == (200, 3)
    assert (await operator.post(f"/api/batches/{batch_id}/retry")).status_code == 409
    assert (await operator.post("/api/batches/99/retry")).status_code == 404


async def test_a_role_for_some_jobs_sees_no_batch_and_changes_none(site: Site):
    batch_id = await month_end(site)
    given = [Grant(Role.OPERATOR, "daily*"), Grant(Role.OPERATOR, "SyncStock")]
    await site.change(lambda db: own_roles.create(db, "reports", given))
    dana = await site.user("reports", "dana")
    headers = {"X-CSRF-Token": dana.csrf}
    for path in ("/api/batches", f"/api/batches/{batch_id}"):
        assert (await dana.get(path)).status_code == 403
    assert "month end" not in await dana.page("/jobs/runs/1")
    for action in ("cancel", "retry"):
        answer = await dana.client.post(f"/api/batches/{batch_id}/{action}", headers=headers)
        assert answer.status_code == 403
    rows = await site.scheduler.read(lambda db: db.execute(job_batch.select()))
    assert {(row.State, row.CancelledBy) for row in rows} == {("running", None)}


async def test_the_command_line_shows_how_far_a_batch_is(site: Site, database_url, monkeypatch):
    batch_id = await month_end(site)
    monkeypatch.setenv("TARGCC_DATABASE_URL", database_url)

    async def targcc(*words: str, status: int = 0) -> str:
        told = await asyncio.to_thread(CliRunner().invoke, main, ["batch", *words])
        assert told.exit_code == status, told.output
        return told.output

    assert "0 of 3 done" in await targcc("list", "--state", "running")
    await site.scheduler.cancel(1, by=SYSTEM)
    told = await targcc("show", str(batch_id))
    assert f"[{'#' * 10}{'-' * 20}] 1 of 3 done, 1 failed" in told
    assert "1 cancelled, 1 enqueued" in told
    assert "2 runs of batch 1" in await targcc("cancel", str(batch_id))
    assert "3 runs of batch 1 are done again" in await targcc("retry", str(batch_id))
    assert json.loads(await targcc("show", str(batch_id), "--json"))["pending"] == 3
    assert json.loads(await targcc("cancel", str(batch_id), "--json"))["runs"] == 3
    assert "There is no such batch" in await targcc("list", "--state", "succeeded")
    await targcc("cancel", str(batch_id), status=2)
    await targcc("show", "99", status=2)
