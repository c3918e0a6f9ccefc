import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from targcc_scheduler import Settings, __version__
from targcc_scheduler.db.tables import job_run
from targcc_scheduler.kernel.queries import runs
from web_fixtures import Site, running


async def finished(client: httpx.AsyncClient, run_id: int, *states: str) -> dict[str, Any]:
    """Wait for one of these states; return the run."""
    async with asyncio.timeout(20):
        while True:
            run: dict[str, Any] = (await client.get(f"/api/runs/{run_id}")).json()
            if run["state"] in (states or ("succeeded", "failed", "cancelled")):
                return run
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_the_addresses_at_the_root_answer_as_those_below_the_prefix(site: Site):
    client = await site.program("viewer")
    for method, path, status in (
        ("GET", "/api/jobs", 200),
        ("GET", "/api/jobs/DailyReport", 200),
        ("PUT", "/api/jobs", 405),
        ("GET", "/api/nothing", 404),
        ("GET", "/api/openapi.json", 200),
        ("GET", "/health/live", 200),
        ("GET", "/metrics", 200),
    ):
        answers = [await client.request(method, prefix + path) for prefix in ("", "/jobs")]
        assert [answer.status_code for answer in answers] == [status, status], path


async def test_every_job_is_listed_with_schedule_and_next_run(site: Site):
    client = await site.program("viewer")
    jobs = {job["name"]: job for job in (await client.get("/api/jobs")).json()}
    assert set(jobs) == {"DailyReport", "MailUser", "SlowExport", "SyncStock"}
    report = jobs["DailyReport"]
    assert report["schedule"] == "0 2 * * *"
    assert report["schedule_words"] == "at 02:00 every day"
    assert report["timezone"] == "Europe/London"
    assert datetime.fromisoformat(report["next_run"]) > datetime.now(UTC)
    assert jobs["MailUser"]["schedule"] is None
    assert jobs["MailUser"]["next_run"] is None


@pytest.mark.parametrize(
    "name", ["DailyReport", "dailyreport", "DAILYREPORTJOB", "daily_report", "Daily Report"]
)
async def test_a_job_is_found_by_any_of_its_names(site: Site, name: str):
    client = await site.program("viewer")
    job = (await client.get(f"/api/jobs/{name}")).json()
    assert job["name"] == "DailyReport"
    assert len(job["next_runs"]) == 5


async def test_a_jobs_arguments_are_described(site: Site):
    client = await site.program("viewer")
    described = (await client.get("/api/jobs/MailUser")).json()["parameters"]
    assert described["required"] == ["user_id"]
    assert described["properties"]["user_id"]["type"] == "integer"


async def test_a_name_that_is_nearly_right_gets_a_suggestion(site: Site):
    client = await site.program("operator")
    for answer in [
        await client.get("/api/jobs/DailyRepotr"),
        await client.post("/api/jobs/DailyRepotr/trigger"),
        await client.get("/api/jobs/DailyRepotr/history"),
    ]:
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "did you mean 'DailyReport'?" in answer.json()["detail"]


async def test_a_job_is_triggered_and_its_history_told(busy_site: Site):
    client = await busy_site.program("operator")
    started = (await client.post("/api/jobs/dailyreport/trigger")).json()
    run = await finished(client, started["run_id"])
    assert (run["state"], run["message"]) == ("succeeded", "3 orders, 1,204.50")
    assert run["triggered_by"] == "API (operator-program)"
    assert [line["message"] for line in run["log"]] == ["loading table=orders"]
    assert [step["name"] for step in run["steps"]] == ["load"]
    assert [entry["state"] for entry in run["life"]] == ["enqueued", "running", "succeeded"]
    (attempt,) = (await client.get("/api/jobs/DailyReport/history")).json()
    assert attempt["success"]
    assert attempt["run_id"] == str(started["run_id"])
    assert attempt["metadata"] == {"revenue": 1204.5}
    figures = (await client.get("/api/jobs/DailyReport/stats")).json()
    assert (figures["runs"], figures["success_rate"]) == (1, 1.0)
    assert len(figures["days"]) == 30


async def test_a_failure_is_told_with_its_traceback(busy_site: Site):
    client = await busy_site.program("operator")
    started = (await client.post("/api/jobs/SyncStock/trigger", json={})).json()
    run = await finished(client, started["run_id"])
    assert run["state"] == "failed"
    (attempt,) = run["attempts"]
    assert not attempt["success"]
    assert "WarehouseError: the warehouse answered 503" in attempt["traceback"]
    assert "in fetch" in attempt["traceback"]


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["before the attempts are read", "after"])
async def test_an_attempt_that_ends_between_two_queries_ends_its_run_too(
    ends: str, migrated_url: str, monkeypatch: pytest.MonkeyPatch
):
    async with running(Settings(database_url=migrated_url), work=False) as site:
        client = await site.program("viewer")
        run_id = await site.add_run("DailyReport", "retrying")
        await site.add_attempt("DailyReport", run_id)
        attempts_of_run, ended = runs.attempts_of_run, False

        async def end() -> None:
            nonlocal ended
            if not ended:
                ended = True
                await site.add_attempt("DailyReport", run_id)
                over = sa.update(job_run).where(job_run.c.Id == run_id).values(State="succeeded")
                await site.change(lambda connection: connection.execute(over))

        async def read(db: Any, run: Any) -> Any:
            if ends != "after":
                await end()
            attempts = await attempts_of_run(db, run)
            await end()
            return attempts

        monkeypatch.setattr(runs, "attempts_of_run", read)
        detail = (await client.get(f"/api/runs/{run_id}")).json()
    assert (len(detail["attempts"]), detail["state"]) in {(1, "retrying"), (2, "succeeded")}


async def test_arguments_are_checked_before_anything_runs(busy_site: Site):
    client = await busy_site.program("operator")
    for arguments, message in [
        ({}, "user_id: field required"),
        ({"user_id": "x"}, "user_id: input should be a valid integer"),
        ({"user_id": 1, "nix": 2}, "nix: extra inputs are not permitted"),
    ]:
        answer = await client.post("/api/jobs/MailUser/trigger", json={"arguments": arguments})
        assert answer.status_code == 422
        assert message in answer.json()["detail"]
    many = {"arguments": {"user_id": 7}, "after": list(range(10_001))}
    answer = await client.post("/api/jobs/MailUser/trigger", json=many)
    assert (answer.status_code, "at most 10000 items" in answer.text) == (422, True)
    assert (await client.get("/api/runs")).json()["runs"] == []
    ok = await client.post("/api/jobs/MailUser/trigger", json={"arguments": {"user_id": 7}})
    run = await finished(client, ok.json()["run_id"])
    assert run["message"].startswith("mailed 7 since 2026-01-01")


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"arguments": 3}', b'{"argument": {}}', b"\xff\xfe", b'"x"']
)
async def test_a_body_that_makes_no_sense_is_a_problem_in_words(site: Site, body: bytes):
    client = await site.program("operator")
    answer = await client.post(
        "/api/jobs/MailUser/trigger",
        content=body,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code in {400, 422}
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.slow
async def test_secret_arguments_are_masked_everywhere(busy_site: Site):
    client = await busy_site.program("operator")
    body = {"arguments": {"user_id": 1, "api_key": "sesame-open"}}
    run_id = (await client.post("/api/jobs/MailUser/trigger", json=body)).json()["run_id"]
    await finished(client, run_id)
    visitor = await busy_site.user("admin")
    seen = [
        (await client.get(path)).text
        for path in (f"/api/runs/{run_id}", "/api/runs", "/api/runs?text=sesame", "/api/audit")
    ]
    seen += [
        await visitor.page(path)
        for path in (f"/jobs/runs/{run_id}", "/jobs/runs", "/jobs/jobs/MailUser", "/jobs/audit")
    ]
    assert "••••••" in seen[0]
    assert (await client.get("/api/runs?text=sesame")).json()["runs"] == []
    assert not [text for text in seen if "sesame-open" in text]


async def test_a_refused_secret_is_not_repeated(site: Site):
    client = await site.program("operator")
    body = {"arguments": {"user_id": 1, "api_key": ["sesame-open"]}}
    answer = await client.post("/api/jobs/MailUser/trigger", json=body)
    assert answer.status_code == 422
    assert "sesame" not in answer.text


async def test_a_job_is_paused_and_resumed(site: Site):
    client = await site.program("operator")
    until = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    body = {"reason": "the warehouse moves", "until": until}
    assert (await client.post("/api/jobs/SyncStock/pause", json=body)).status_code == 200
    job = (await client.get("/api/jobs/SyncStock")).json()
    assert job["paused"]["by"] == "API (operator-program)"
    assert job["paused"]["reason"] == "the warehouse moves"
    assert datetime.fromisoformat(job["next_run"]) >= datetime.fromisoformat(until)
    await client.post("/api/jobs/SyncStock/resume")
    assert (await client.get("/api/jobs/SyncStock")).json()["paused"] is None
    audit = (await client.get("/api/audit?job=SyncStock")).json()
    assert [entry["action"] for entry in audit] == ["resume", "pause"]
    assert {entry["remote"] for entry in audit} == {"10.1.2.3"}


async def test_a_pause_cannot_end_before_it_begins(site: Site):
    client = await site.program("operator")
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    for path in ("/api/jobs/DailyReport/pause", "/api/queues/default/pause"):
        answer = await client.post(path, json={"until": yesterday})
        assert answer.status_code == 422
        assert "is in the past" in answer.json()["detail"]
    assert not (await client.get("/api/jobs/DailyReport")).json()["paused"]


@pytest.mark.parametrize(
    "path", ["/api/runs/{id}", "/api/runs?before={id}", "/api/audit?run_id={id}"]
)
async def test_a_run_id_that_no_database_can_hold_is_refused(site: Site, path: str):
    client = await site.program("viewer")
    answer = await client.get(path.format(id=10**23))
    assert answer.status_code == 422


@pytest.mark.parametrize("path", ["/api/jobs/MailUser/trigger", "/jobs/login"])
async def test_a_strangers_large_body_is_not_read(site: Site, path: str):
    stranger = await site.stranger()

    async def endless():
        yield b"x"
        raise AssertionError("it was read")

    answer = await stranger.client.post(path, content=b"x" * 1_000_001)
    untold = await stranger.client.post(path, content=endless())
    assert [answer.status_code, untold.status_code] == [413, 413]


async def test_a_pause_until_needs_a_zone(site: Site):
    client = await site.program("operator")
    answer = await client.post("/api/jobs/SyncStock/pause", json={"until": "2030-01-01T08:00:00"})
    assert answer.status_code == 422
    assert "needs a zone" in answer.json()["detail"]


async def test_a_running_job_is_cancelled(busy_site: Site):
    client = await busy_site.program("operator")
    run_id = (await client.post("/api/jobs/SlowExport/trigger")).json()["run_id"]
    run = await finished(client, run_id, "running")
    assert (await client.post(f"/api/runs/{run_id}/cancel")).status_code == 200
    run = await finished(client, run_id)
    assert run["state"] == "cancelled"
    again = await client.post(f"/api/runs/{run_id}/cancel")
    assert again.status_code == 409
    assert "cancelled" in again.json()["detail"]


async def test_a_failed_run_is_done_again(busy_site: Site):
    client = await busy_site.program("operator")
    run_id = (await client.post("/api/jobs/SyncStock/trigger")).json()["run_id"]
    await finished(client, run_id)
    again = (await client.post(f"/api/runs/{run_id}/retry")).json()
    assert again["run_id"] != run_id
    assert (await finished(client, again["run_id"]))["state"] == "failed"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/runs/99"),
        ("POST", "/api/runs/99/cancel"),
        ("POST", "/api/runs/99/retry"),
        ("DELETE", "/api/runs/99"),
    ],
)
async def test_a_run_that_is_not_there_is_a_problem_in_words(site: Site, method: str, path: str):
    client = await site.program("admin")
    answer = await client.request(method, path)
    assert answer.status_code == 404
    assert "99" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/jobs/DailyRepotr", "TS102"),
        ("GET", "/api/runs/99", "TS201"),
        ("GET", "/api/runs?limit=0", "TS801"),
        ("GET", "/api/runs?q=state:brokn", "TS805"),
        ("POST", "/api/jobs/DailyReport/trigger", "TS702"),
    ],
)
async def test_a_problem_has_a_code_and_its_address_in_the_manual(
    site: Site, method: str, path: str, code: str
):
    client = await site.program("viewer")
    problem = (await client.request(method, path)).json()
    assert (problem["code"], problem["manual"]) == (
        code,
        f"reference/errors.html#{code.lower()}",
    )


async def test_only_an_admin_deletes_a_run(site: Site):
    run_id = await site.add_run("DailyReport", "succeeded")
    operator, admin = await site.program("operator"), await site.program("admin")
    assert (await operator.delete(f"/api/runs/{run_id}")).status_code == 403
    assert (await admin.delete(f"/api/runs/{run_id}")).status_code == 200
    assert (await admin.get(f"/api/runs/{run_id}")).status_code == 404


@pytest.mark.parametrize(
    "path", ["jobs/DailyReport/trigger", "jobs/DailyReport/pause", "runs/1/retry", "queues/x/pause"]
)
async def test_a_viewers_token_only_reads(site: Site, path: str):
    client = await site.program("viewer")
    answer = await client.post(f"/api/{path}")
    assert answer.status_code == 403
    assert "this needs the role operator" in answer.json()["detail"]


async def test_runs_are_filtered_and_paged(site: Site):
    for state in ("failed", "succeeded", "failed", "failed"):
        await site.add_run("DailyReport", state)
    await site.add_run("Removed", "succeeded")
    client = await site.program("viewer")
    page = (await client.get("/api/runs?state=failed&job=dailyreport&limit=2")).json()
    assert len(page["runs"]) == 2
    rest = (await client.get(f"/api/runs?state=failed&before={page['next_before']}")).json()
    assert len(rest["runs"]) == 1
    assert rest["next_before"] is None
    assert len((await client.get("/api/runs?state=failed&state=succeeded")).json()["runs"]) == 5
    assert len((await client.get("/api/runs?job=Removed")).json()["runs"]) == 1


@pytest.mark.parametrize(
    "query", ["state=nonsense", "limit=0", "limit=501", "before=x", "since=yesterday"]
)
async def test_a_query_that_makes_no_sense_names_its_part(site: Site, query: str):
    client = await site.program("viewer")
    answer = await client.get(f"/api/runs?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.json()["detail"]


async def test_queues_are_paused_and_servers_told(busy_site: Site):
    client = await busy_site.program("operator")
    assert (await client.post("/api/queues/critical/pause")).status_code == 200
    queues = {queue["name"]: queue for queue in (await client.get("/api/queues")).json()}
    assert queues["critical"]["paused"]["by"] == "API (operator-program)"
    assert queues["default"]["paused"] is None
    await client.post("/api/queues/critical/resume")
    missing = await client.post("/api/queues/nix/pause")
    assert missing.status_code == 404
    assert "default, critical" in missing.json()["detail"]
    (server,) = (await client.get("/api/servers")).json()
    assert server["workers"] == 6


async def test_the_system_says_which_scheduler_this_is(site: Site):
    client = await site.program("viewer")
    system = (await client.get("/api/system")).json()
    assert [entry["module"] for entry in system.pop("broken")] == ["web_jobs.jobs.broken_import"]
    assert system == {
        "project": "web-jobs",
        "package": "web_jobs",
        "version": __version__,
        "mode": "package",
        "timezone": "Europe/Berlin",
        "lost_after_seconds": site.scheduler.settings.lost_after_seconds,
    }


async def test_the_api_describes_itself(site: Site):
    client = await site.program("viewer")
    schema = (await client.get("/api/openapi.json")).json()
    for path in (
        "/api/jobs/{name}/trigger",
        "/api/runs/{run_id}/retry",
        "/api/audit",
        "/api/system",
    ):
        assert path in schema["paths"]
    assert schema["security"] == [{"token": []}]
    page = await (await site.user("viewer")).page("/api/docs")
    assert "/api/jobs/{name}/trigger" in page
    assert "cdn" not in page.lower()


async def test_a_program_keeps_searches_of_its_own(site: Site):
    program, visitor = await site.program("viewer"), await site.user("viewer")
    assert (
        await program.put("/api/views/Timeouts", json={"search": "state:nonsense"})
    ).status_code == 422
    for search in ("state:failed", 'state:failed "timeout"'):
        kept = await program.put("/api/views/Timeouts", json={"search": search})
        assert kept.status_code == 200
    assert (await program.get("/api/views")).json() == [{"name": "Timeouts", "search": search}]
    assert (await visitor.get("/api/views")).json() == []
    assert (await program.delete("/api/views/Timeouts")).status_code == 200
    assert (await program.get("/api/views")).json() == []
