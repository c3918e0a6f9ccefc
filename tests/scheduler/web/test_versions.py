"""ETags of API resources, selected fields, and conditional changes."""

from web_fixtures import Site


async def test_who_has_a_version_is_not_sent_it_again(site: Site):
    client = await site.program("viewer")
    first = await client.get("/api/jobs/DailyReport/overrides")
    tag = first.headers["ETag"]
    again = await client.get("/api/jobs/DailyReport/overrides", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    weak = {"If-None-Match": f'"other", W/{tag}'}
    assert (await client.get("/api/jobs/DailyReport/overrides", headers=weak)).status_code == 304
    other = {"If-None-Match": '"other"'}
    assert (await client.get("/api/jobs/DailyReport/overrides", headers=other)).status_code == 200


async def test_a_change_of_what_somebody_else_has_changed_is_refused(site: Site):
    client = await site.program("operator")
    job = "/api/jobs/DailyReport"
    seen = {"If-Match": (await client.get(job)).headers["ETag"]}
    await site.add_run("DailyReport", "succeeded")  # a new last run is no change by a person
    some = await client.get(f"{job}?fields=name,paused")
    assert set(some.json()) == {"name", "paused"}
    chosen = {"If-Match": some.headers["ETag"]}
    paused = await client.post(f"{job}/pause", headers=seen, json={"reason": "mine"})
    assert paused.status_code == 200, paused.text
    for old in (seen, chosen):
        refused = await client.post(f"{job}/resume", headers=old)
        assert (refused.status_code, refused.json()["type"]) == (
            412,
            "urn:targcc:problem:changed-meanwhile",
        )
    assert (await client.get(job)).json()["paused"]["reason"] == "mine"
    now = {"If-Match": (await client.get(job)).headers["ETag"], "Idempotency-Key": "one"}
    for _ in range(2):  # a repeated request gets the same response
        assert (await client.post(f"{job}/resume", headers=now)).status_code == 200
    assert (await client.post(f"{job}/resume", headers={"If-Match": "*"})).status_code == 200
    nothing = await client.post("/api/seen", headers=seen, json={"kind": "node", "subject": "x"})
    assert nothing.status_code == 412


async def test_overrides_queues_and_runs_have_versions(site: Site):
    client = await site.program("operator")
    run_id = await site.add_run("DailyReport", "enqueued")
    for shown, change, body in (
        ("/api/jobs/DailyReport/overrides", "/api/jobs/DailyReport/overrides", {"queue": "critical", "reason": "x"}),
        ("/api/queues/critical", "/api/queues/critical/pause", {}),
        (f"/api/runs/{run_id}", f"/api/runs/{run_id}/cancel", None),
    ):  # fmt: skip
        seen = {"If-Match": (await client.get(shown)).headers["ETag"]}
        assert (await client.post(change, headers=seen, json=body)).status_code == 200, change
        assert (await client.post(change, headers=seen, json=body)).status_code == 412, change
    assert (await client.get("/api/queues/nix")).status_code == 404


async def test_fields_are_chosen_of_lists_and_pages(site: Site):
    for _ in range(3):
        await site.add_run("DailyReport", "succeeded")
    client = await site.program("viewer")
    jobs = await client.get("/api/jobs?fields=name")
    assert jobs.headers["Content-Type"] == "application/vnd.targcc.fields+json"
    assert jobs.json()[0] == {"name": "DailyReport"}
    page = await client.get("/api/runs?fields=id,state&limit=2")
    assert page.json()["runs"][0] == {"id": 3, "state": "succeeded"}
    assert 'rel="next"' in page.headers["Link"]
    assert "fields=id%2Cstate" in page.headers["Link"]
    wrong = await client.get("/api/jobs?fields=name,colour")
    assert wrong.status_code == 422
    assert (
        "there is no colour; there are chain, description, display_name" in wrong.json()["detail"]
    )
