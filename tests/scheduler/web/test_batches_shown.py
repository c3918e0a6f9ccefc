"""Batches in the API, on the command line and on the page of a run."""

import asyncio
import json
import re
from datetime import UTC, datetime

import sqlalchemy as sa
from click.testing import CliRunner
from targcc_scheduler.cli.main import main
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.identity import Grant, Role
from targcc_scheduler.db.tables import job_audit, job_batch
from targcc_scheduler.features.accounts import roles
from web_fixtures import Site


async def month_end(site: Site) -> int:
    """Create a batch of two runs with an inner batch and a callback; return its id."""
    async with site.scheduler.batch("month end", on_finish="SyncStock") as batch:
        batch.enqueue_many("DailyReport", [{}, {}])
        async with batch.batch("reminders") as inner:
            inner.enqueue("DailyReport")
    return batch.batch_id


async def test_programs_and_people_see_batches_and_operators_act_on_them(site: Site):
    batch_id = await month_end(site)
    viewer, operator = await site.program("viewer"), await site.program()

    newest = await viewer.get("/api/batches", params={"limit": 1})
    assert [row["name"] for row in newest.json()] == ["reminders"]
    older = (await viewer.get(newest.links["next"]["url"])).json()
    assert [(row["name"], row["total"], row["pending"]) for row in older] == [("month end", 3, 3)]
    assert (await viewer.get("/api/batches", params={"state": "failed"})).json() == []

    shown = (await viewer.get(f"/api/batches/{batch_id}")).json()
    assert (shown["state"], shown["runs"], shown["inner"]) == (
        "running",
        {"enqueued": 2},
        [batch_id + 1],
    )
    [callback] = shown["callbacks"]
    assert (await viewer.get(f"/api/runs/{callback}")).json()["state"] == "awaiting"
    [row, *_] = (await viewer.get("/api/runs", params={"q": "job:DailyReport"})).json()["runs"]
    assert row["batch_id"] in {batch_id, batch_id + 1}
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
    await site.change(lambda db: roles.create(db, "reports", given))
    dana = await site.user("reports", "dana")
    headers = {"X-CSRF-Token": dana.csrf}
    for path in ("/api/batches", "/jobs/batches"):
        assert (await dana.get(path)).status_code == 403
        assert (await dana.get(f"{path}/{batch_id}")).status_code == 403
    assert (await dana.send(f"/jobs/batches/{batch_id}/cancel")).status_code == 403
    assert "/jobs/batches" not in await dana.page("/jobs/runs")
    assert "month end" not in await dana.page("/jobs/runs/1")
    for action in ("cancel", "retry"):
        answer = await dana.client.post(f"/api/batches/{batch_id}/{action}", headers=headers)
        assert answer.status_code == 403
    rows = await site.scheduler.read(lambda db: db.execute(job_batch.select()))
    assert {(row.State, row.CancelledBy) for row in rows} == {("running", None)}


async def test_people_see_batches_on_their_pages_and_act_on_them(site: Site):
    viewer, operator = await site.user("viewer"), await site.user("operator")
    assert "No batches yet." in await viewer.page("/jobs/batches")
    batch_id = await month_end(site)
    here = f"/jobs/batches/{batch_id}"
    assert 'href="/jobs/batches"' in await viewer.page("/jobs/runs")
    assert f'href="{here}"' in await viewer.page("/jobs/runs/1")
    listed = await viewer.page("/jobs/batches")
    assert listed.index("<bdi>reminders</bdi>") < listed.index("<bdi>month end</bdi>")
    assert "month end" not in await viewer.page(f"/jobs/batches?before={batch_id}")
    assert "No batches match." in await viewer.page("/jobs/batches?state=failed")

    page = await viewer.page(here)
    assert f'aria-label="Batch {batch_id}: 0 of 3 done"' in page
    assert f'href="/jobs/runs?q=batch%3A{batch_id}+state%3Aenqueued">2</a>' in page
    assert re.findall(r'<tr id="batch-(\d+)"', page) == [str(batch_id + 1)]
    assert 'href="/jobs/jobs/SyncStock"' in page
    assert f'hx-get="{here}" hx-trigger="every 5s"' in page
    assert f'data-live="{here}/live"' in page
    assert "Refresh" not in (await viewer.get(here)).headers
    assert (await viewer.get(f"{here}?every=5")).headers["Refresh"] == "5"
    assert f"{here}/cancel" not in page
    runs_page = await viewer.page(f"/jobs/runs?q=batch%3A{batch_id}+state%3Aenqueued")
    assert runs_page.count('<tr id="run-') == 2
    for path in ("/jobs/batches/99", "/jobs/batches/x"):
        assert (await viewer.get(path)).status_code == 404

    assert (await viewer.send(f"{here}/cancel")).status_code == 403
    assert (await operator.client.post(f"{here}/cancel")).status_code == 403  # without a CSRF token
    answer = await operator.send(f"{here}/cancel")
    assert (answer.status_code, answer.headers["location"]) == (303, here)
    page = await operator.page(here)
    assert "Cancelling 3 runs." in page
    assert "Cancelled by <bdi>operator-person</bdi>." in page
    assert f"{here}/cancel" not in page
    await operator.send(f"{here}/cancel")
    assert "is cancelled" in await operator.page(here)
    await operator.send(f"{here}/retry")
    assert "3 runs retried." in await operator.page(here)
    assert "0 of 3 done" in await operator.page(here)
    done = await site.scheduler.read(lambda db: db.execute(sa.select(job_audit.c.Action)))
    assert {"cancel batch", "retry batch"} <= set(done.scalars())


async def test_batches_are_paged_by_their_ids(site: Site):
    now = datetime.now(UTC)
    row = {"Kind": "batch", "State": "succeeded", "CreatedBy": "test", "CreatedAt": now}
    many = [row | {"Name": f"batch-{n}"} for n in range(60)]
    await site.change(lambda db: db.execute(job_batch.insert(), many))
    viewer = await site.user("viewer")
    first = await viewer.page("/jobs/batches?state=succeeded")
    assert first.count('<tr id="batch-') == 50
    older = re.search(r'rel="next" href="([^"]+)"', first)
    second = await viewer.page(older[1].replace("&amp;", "&"))
    assert second.count('<tr id="batch-') == 10
    assert "batch-9<" in second
    assert 'rel="next"' not in second


async def test_the_command_line_shows_how_far_a_batch_is(site: Site, database_url, monkeypatch):
    batch_id = await month_end(site)
    monkeypatch.setenv("TARGCC_DATABASE_URL", database_url)

    async def targcc(*words: str, status: int = 0) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, main, ["batch", *words])
        assert result.exit_code == status, result.output
        return result.output

    assert "0 of 3 done" in await targcc("list", "--state", "running")
    await site.scheduler.cancel(1, by=SYSTEM)
    result = await targcc("show", str(batch_id))
    assert f"[{'#' * 10}{'-' * 20}] 1 of 3 done, 1 failed" in result
    assert "1 cancelled, 1 enqueued" in result
    assert "2 runs of batch 1" in await targcc("cancel", str(batch_id))
    assert "3 runs of batch 1 are done again" in await targcc("retry", str(batch_id))
    assert json.loads(await targcc("show", str(batch_id), "--json"))["pending"] == 3
    assert json.loads(await targcc("cancel", str(batch_id), "--json"))["runs"] == 3
    assert "There is no such batch" in await targcc("list", "--state", "succeeded")
    await targcc("cancel", str(batch_id), status=2)
    await targcc("show", "99", status=2)
