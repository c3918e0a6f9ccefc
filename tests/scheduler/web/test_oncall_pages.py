"""Inbox, bulk operations and "why?" on the pages and in the API."""

import html
import json
import re

import pytest
from targcc_scheduler.core.actor import Actor, ActorKind
from targcc_scheduler.features.triage import inbox, pages
from targcc_scheduler.kernel.error_groups import fingerprint_of
from web_fixtures import Site


async def many_failures(site: Site, number: int = 7) -> str:
    for customer in range(number):
        await site.add_run(
            "MailUser",
            "failed",
            JobType="Manual",
            Message=f"ConnectionError: no answer for {customer}",
            ArgumentsJson=json.dumps({"user_id": customer}),
        )
    return fingerprint_of("MailUser", "ConnectionError: no answer for 1").key


async def test_the_inbox_has_pages_with_the_most_open_runs_first(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inbox, "MOST_GROUPS", 2)
    for number, fault in enumerate(("ValueError", "OSError", "KeyError"), 1):
        for _ in range(number):
            await site.add_run("SyncStock", "failed", Message=f"{fault}: broken")
    viewer = await site.user("viewer")
    first = await viewer.page("/jobs/inbox")
    assert re.findall(r"(\w+): broken", first) == ["KeyError", "OSError"]
    assert "Previous page" not in first
    assert "(4) Inbox" in first  # and that no server is up
    [following] = re.findall(r'rel="next" href="([^"]+)"', first)
    second = await viewer.page(html.unescape(following))
    assert re.findall(r"(\w+): broken", second) == ["ValueError"]
    assert ("Previous page" in second, "Next page" in second) == (True, False)
    assert "ValueError: broken" in await viewer.page("/jobs/inbox?page=99")


async def test_the_inbox_shows_the_worst_of_many_other_problems(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pages, "MOST_PROBLEMS", 2)
    for name in ("MailUser", "SyncStock", "DailyReport"):
        await site.scheduler.pause(name, by=Actor(ActorKind.API, "night"))
    page = await (await site.user("viewer")).page("/jobs/inbox")
    shown = re.findall(r'id="concern-([a-z-]+?)-[A-Z"]', page)
    assert (page.count('id="concern-'), shown) == (2, ["no-server", "paused-job"])
    assert "The 2 worst of 4 problems." in page
    assert "(4) Inbox" in page
    monkeypatch.setattr(pages, "MOST_PROBLEMS", 4)
    page = await (await site.user("viewer", name="Eve")).page("/jobs/inbox")
    assert (page.count('id="concern-'), "worst of" in page) == (4, False)


async def test_the_inbox_shows_each_cause_once_and_all_of_it_can_be_done_again(busy_site: Site):
    cause = await many_failures(busy_site)
    await busy_site.add_run("SyncStock", "failed", Message="boom")
    person = await busy_site.user()
    overview = await person.page("/jobs")
    assert "Mail User failed 7 times, and 2 more items need attention" in overview
    inbox = await person.page("/jobs/inbox")
    assert inbox.count("<tr id=") == 2
    assert "no answer for 6" in inbox
    page = await person.page(f"/jobs/inbox/{cause}")
    assert "Retry all 7" in page
    assert page.count('type="checkbox"') == 7
    done = await person.send(f"/jobs/inbox/{cause}/retry", next=f"/jobs/inbox/{cause}")
    assert done.status_code == 303
    operation = await person.page("/jobs/bulk/1")
    assert "7 of 7" in operation
    assert "Undo" in operation
    assert "state:failed" not in operation
    assert f"cause:{cause} is:open" in operation
    entries = await person.get("/api/audit", params={"action": "bulk retry"})
    assert len(entries.json()) == 1


async def test_some_runs_are_acknowledged_and_the_rest_stays(site: Site):
    cause = await many_failures(site, 3)
    person = await site.user()
    path = f"/jobs/inbox/{cause}"
    chosen = {"csrf": person.csrf, "do": "acknowledge", "run": ["1", "2"], "next": path}
    answer = await person.client.post(f"{path}/some", data=chosen)
    assert answer.headers["location"] == path
    assert "Acknowledged: 2 runs." in (page := await person.page(path))
    assert page.count('type="checkbox"') == 1
    await person.send(f"{path}/assign", name="noam")
    await person.send(f"{path}/link", ticket="https://tickets.example/1")
    page = await person.page(path)
    assert '<a href="https://tickets.example/1"' in page
    assert "noam" in page
    await person.send(f"{path}/link", ticket="javascript:alert(1)")
    assert "is no http address" in await person.page(path)
    none = {"csrf": person.csrf, "do": "retry", "next": path}
    await person.client.post(f"{path}/some", data=none)
    assert "Select a run first." in await person.page(path)


async def test_an_operation_is_counted_then_begun_then_taken_back(site: Site):
    cause = await many_failures(site)
    person, viewer = await site.user(), await site.user("viewer")
    query = f"job=MailUser&state=failed&do=retry&rate=2&cause={cause}"
    page = await person.page(f"/jobs/bulk/new?{query}")
    assert "Retry: 7 runs?" in page
    assert "state:failed job:MailUser" in page
    form = {"job": "MailUser", "state": "failed", "do": "retry", "rate": "2", "most": "7"}
    assert (await viewer.send("/jobs/bulk", **form)).status_code == 403
    answer = await person.send("/jobs/bulk", **form)
    assert answer.headers["location"] == "/jobs/bulk/1"
    await person.send("/jobs/bulk", **form)  # repeated: the runs were already retried
    assert "7 of 7" in await person.page("/jobs/bulk/1")
    assert "0 of 7" in await person.page("/jobs/bulk/2")
    await person.send("/jobs/bulk/1/undo")
    program = await site.program("viewer")
    inbox = (await program.get("/api/inbox")).json()
    assert inbox["failures"][0]["open"] == 7
    assert "deleting runs needs the role admin" in (
        await person.send("/jobs/bulk", **{**form, "do": "delete"}, next="/jobs")
    ).headers.get("set-cookie", "") or "Deleting runs needs the role admin" in await person.page(
        "/jobs"
    )


async def test_the_api_has_all_of_it(site: Site):
    cause = await many_failures(site, 3)
    program = await site.program()
    nowhere = {"action": "queue", "filter": {"cause": cause}, "queue": "nowhere"}
    refused = await program.post("/api/bulk", json=nowhere)
    assert refused.json()["detail"] == "there is no queue 'nowhere': default, critical"
    wanted = {"action": "cancel", "filter": {"states": ["enqueued"]}}
    assert (await program.post("/api/bulk", json=wanted)).status_code == 409  # no run matches
    retry = {"action": "retry", "filter": {"cause": cause, "open": True}, "rate": 1}
    counted = (await program.post("/api/bulk/count", json=retry)).json()
    assert counted == {"total": 3, "states": {"failed": 3}, "jobs": {"MailUser": 3}}
    begun = await program.post("/api/bulk", json={**retry, "at_most": 3})
    assert begun.status_code == 202
    assert begun.json()["done"] == 3
    failure = (await program.get(f"/api/inbox/{cause}")).json()
    assert (failure["open"], failure["in_hand"], failure["standing"]) == (0, 3, "open")
    why = (await program.get("/api/runs/5/why")).json()
    assert why["reasons"][0]["kind"] == "not-due"
    job = (await program.get("/api/jobs/DailyReport/why")).json()
    assert job["reasons"][0]["kind"] == "no-server"
    assert job["reasons"][1]["text"].startswith("The next slot is ")
    assert (await program.get("/api/jobs/Nix/why")).status_code == 404
    assert (await program.get("/api/inbox/nix")).status_code == 404
    act = {"action": "mute", "note": "a test"}
    assert (await program.post(f"/api/inbox/{cause}", json=act)).status_code == 200
    assert (await program.get("/api/inbox")).json()["failures"] == []
    undone = (await program.post("/api/bulk/1/undo")).json()
    assert undone["undoes"] == 1
    assert (await program.post("/api/bulk/1/undo")).status_code == 409


async def test_the_banner_is_good_only_when_nothing_is_paused_without_an_end(busy_site: Site):
    await busy_site.add_run("DailyReport", "succeeded")
    person = await busy_site.user()
    await person.send("/jobs/queues/default/pause")
    page = await person.page("/jobs")
    assert "Queue default is paused" in page
    assert 'action="/jobs/queues/default/resume"' in page
    await person.send("/jobs/queues/default/resume")
    assert "is paused" not in await person.page("/jobs")


@pytest.mark.parametrize("path", ["/jobs/inbox/nix", "/jobs/bulk/99"])
async def test_what_is_not_there_says_so(site: Site, path: str):
    person = await site.user("viewer")
    assert (await person.get(path)).status_code == 404


async def test_slots_of_the_past_are_looked_at_and_then_run(site: Site):
    person, program = await site.user(), await site.program()
    page = "/jobs/jobs/DailyReport/backfill"
    query = "since=2026-03-01T00:00&until=2026-03-04T00:00&rate=1"
    assert "Run 3 slots now?" in await person.page(f"{page}?{query}")
    assert "Invalid isoformat" in await person.page(f"{page}?since=x&until=y")
    form = {"since": "2026-03-01T00:00", "until": "2026-03-04T00:00", "rate": "1"}
    assert "no_followers" not in await person.page(f"{page}?{query}")  # no job follows it
    await person.send(page, **form)
    assert "Backfill started: 3 runs." in await person.page("/jobs/jobs/DailyReport")
    assert "Run 0 slots now?" in await person.page(f"{page}?{query}")
    body = {"since": "2026-03-01T00:00Z", "until": "2026-03-06T00:00Z", "dry_run": True}
    answer = (await program.post("/api/jobs/DailyReport/backfill", json=body)).json()
    assert (answer["slots"], len(answer["missing"]), answer["created"]) == (5, 2, 0)
    wrong = {**body, "since": "2026-03-07T00:00Z"}
    assert (await program.post("/api/jobs/DailyReport/backfill", json=wrong)).status_code == 409


async def test_the_page_of_a_run_in_a_paused_queue_gives_one_reason(site: Site):
    run_id = await site.add_run("DailyReport", "enqueued")
    await site.scheduler.pause_queue("default", by=Actor(ActorKind.API, "night"), reason="disk")
    page = await (await site.user("viewer")).page(f"/jobs/runs/{run_id}")
    assert "is paused by night by API" in page
    assert "Waiting for a worker" not in page
