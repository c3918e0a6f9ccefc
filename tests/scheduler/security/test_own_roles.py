"""A person whose role covers some jobs can use them, and no address reveals anything of other jobs."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.routing import Mount
from targcc_scheduler import Settings
from targcc_scheduler.core.errors import AuthError
from targcc_scheduler.core.identity import Grant, Role
from targcc_scheduler.db import reader
from targcc_scheduler.db.columns import metadata
from targcc_scheduler.db.tables import (
    job_audit,
    job_batch,
    job_blob,
    job_bulk,
    job_concern,
    job_delivery,
    job_idempotency,
    job_limit,
    job_link,
    job_log_line,
    job_override,
    job_owner,
    job_request,
    job_run,
    job_schedule,
    job_server,
    job_step,
    job_unique,
    job_view,
    job_webhook,
)
from targcc_scheduler.features.accounts import roles
from targcc_scheduler.web import health, openapi
from targcc_scheduler.web.api.router import PARTS as API_PARTS
from targcc_scheduler.web.dashboard.router import ROUTERS
from web_fixtures import HOST, Site, Visitor, running

HIDDEN = re.compile(r"hush|Sync.?Stock|slow.?export|warehouse", re.IGNORECASE)
"""Words hidden from people without a role for these jobs: job names, descriptions, and the texts of the test's rows."""
NOW = datetime.now(UTC)


async def role(site: Site, name: str, *grants: tuple[str, str]) -> None:
    given = [Grant(Role(may), jobs) for may, jobs in grants]
    await site.change(lambda db: roles.create(db, name, given))


def every_route() -> list[tuple[str, str]]:
    """Return method and path of every route, as the app mounts them."""
    routers = [
        *(("", part) for part in API_PARTS),
        ("", openapi.router),
        ("", health.router),
        *(("/jobs", part) for part in ROUTERS),
    ]
    return [
        (method, f"{prefix}{route.path}")
        for prefix, router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and not re.search("^/(login|static)", route.path)
        for method in sorted(route.methods)
        # these routes would end the session
        if method == "GET" or not re.search("logout|sessions", route.path)
    ]


async def secrets_everywhere(site: Site) -> dict[str, list[str]]:
    """Insert rows of hidden jobs into every table; return the values for path parameters."""
    ids = [
        await site.add_run("SyncStock", "failed", Message="hush: it failed"),
        await site.add_run("slow_export", "running", ServerId="hush-node", StartedAt=NOW),
        await site.add_run("SyncStock", "enqueued"),
        await site.add_run("SyncStock", "missed"),
    ]
    await site.add_attempt(
        "SyncStock", ids[0], Success=False, ErrorMessage="hush", StackTrace="hush"
    )
    rows: list[tuple[sa.Table, dict[str, Any]]] = [
        (job_log_line, {"RunId": ids[0], "Attempt": 1, "At": NOW, "Level": "info", "Message": "hush"}),
        (job_step, {"RunId": ids[0], "Name": "hush", "ResultJson": '"hush"', "Attempt": 1, "CompletedAt": NOW, "DurationMs": 1}),
        (job_audit, {"At": NOW, "Actor": "Manual (boss)", "Action": "pause", "JobName": "SyncStock", "Detail": "hush"}),
        (job_audit, {"At": NOW, "Actor": "Manual (boss)", "Action": "sign in", "Detail": "hush"}),
        (job_override, {"JobName": "SyncStock", "Field": "retries", "ValueJson": "7", "SetBy": "boss", "SetAt": NOW, "Reason": "hush"}),
        (job_owner, {"JobName": "SyncStock", "Owner": "new", "Since": NOW, "ChangedBy": "boss", "Reason": "hush"}),
        (job_schedule, {"JobName": "SyncStock", "PausedAt": NOW, "PausedBy": "boss", "PauseReason": "hush"}),
        (job_concern, {"Subject": "SyncStock", "Kind": "expectation", "Since": NOW, "Detail": "hush"}),
        (job_server, {"Id": "n1", "Name": "n1", "ProcessId": 1, "Queues": "default", "Workers": 1, "Version": "1", "StartedAt": NOW, "HeartbeatAt": NOW, "StuckSince": NOW, "StuckIn": "hush"}),
        (job_view, {"Person": "boss", "Name": "hush", "Search": "job:SyncStock"}),
        (job_bulk, {"Action": "retry", "FilterJson": '{"q": "job:SyncStock"}', "OptionsJson": "{}", "Status": "done", "Total": 1, "Ceiling": 9, "Actor": "Manual (boss)", "StartedAt": NOW}),
    ]  # fmt: skip
    rows += _tied_rows(ids)
    for table, row in rows:
        await site.change(lambda db, table=table, row=row: db.execute(table.insert().values(row)))
    causes = await site.scheduler.read(lambda db: db.scalars(sa.select(job_run.c.Cause)))
    return {
        "run_id": list(map(str, ids[:2])),
        "name": ["SyncStock", "slow export"],
        "cause": [cause for cause in causes if cause][:1],
        "bulk_id": ["1"],
        "subject": ["SyncStock"],
        "batch_id": ["1"],
        "flow_id": ["2"],
        "webhook_id": ["1"],
        "delivery_id": ["1"],
        "file_id": ["f" * 32],
    }


def _tied_rows(ids: list[int]) -> list[tuple[sa.Table, dict[str, Any]]]:
    """Return rows of hidden runs with dependencies, keys, files and webhooks."""
    steps = {"hush": {"job": "SyncStock"}}
    states = {
        "hush": {
            "state": "failed",
            "why": "hush",
            "first": ids[0],
            "job": "SyncStock",
            "queue": "default",
            "priority": 0,
            "runs": 1,
            "given": None,
            "said": steps["hush"],
        }
    }
    together = {
        "CreatedBy": "Manual (boss)",
        "CreatedAt": NOW,
        "State": "running",
        "Total": 1,
        "Pending": 1,
    }
    link = {"ParentKind": "run", "Condition": "success", "Quorum": "all", "Otherwise": "wait"}
    return [
        (job_batch, {**together, "Name": "hush", "Kind": "batch"}),
        (job_batch, {**together, "Name": "hush", "Kind": "flow", "DefinitionJson": json.dumps(states), "ArgumentsJson": '{"hush": 1}'}),
        (job_link, {**link, "ChildId": ids[2], "ParentId": ids[0], "Outcome": "failed"}),
        (job_unique, {"JobName": "SyncStock", "UniqueKey": "hush", "RunId": ids[2], "Scope": "running"}),
        (job_limit, {"LimitKey": "SyncStock hush=1", "JobName": "SyncStock", "Most": 1, "UpdatedAt": NOW}),
        (job_idempotency, {"IdempotencyKey": "hush", "JobName": "SyncStock", "RunId": ids[2], "Digest": "hush", "CreatedAt": NOW}),
        (job_blob, {"Id": "f" * 32, "RunId": ids[0], "Kind": "result", "Name": "hush.csv", "ContentType": "a/b", "Size": 4, "Sha256": "hush", "Data": b"hush", "CreatedAt": NOW}),
        (job_webhook, {"Shown": "https://hush.example", "SealedJson": "hush", "Events": "failed", "Jobs": "SyncStock", "CreatedBy": "boss", "CreatedAt": NOW}),
        (job_delivery, {"WebhookId": 1, "MessageId": "hush", "Event": "failed", "RunId": ids[0], "Body": "hush", "Status": "failed", "CreatedAt": NOW, "Answer": "hush"}),
        (job_request, {"Scope": "hush", "RequestKey": "hush", "Digest": "hush", "Status": 200, "Body": "hush", "BegunAt": NOW}),
    ]  # fmt: skip


async def beside_hidden_ones(site: Site, hidden: str) -> int:
    """Create a visible run in a batch with hidden runs, with a hidden parent and a hidden dependent; return the run id."""
    waits = await site.add_run("DailyReport", "awaiting", BatchId=1, Ties=7, UniqueKey="a day")
    link = {"Condition": "success", "Quorum": "all", "Otherwise": "wait", "Outcome": "failed"}
    after = await site.add_run("SyncStock", "awaiting", Message="hush")
    for child, parent, kind in (
        (waits, int(hidden), "run"),
        (waits, 1, "batch"),
        (after, waits, "run"),
    ):
        row = {**link, "ChildId": child, "ParentId": parent, "ParentKind": kind}
        await site.change(lambda db, row=row: db.execute(job_link.insert().values(row)))
    return waits


def addresses(path: str, values: dict[str, list[str]]) -> list[str]:
    """Return a URL for each value of each path parameter; unknown parameters get an arbitrary value."""
    kind = "run_id" if "/runs/{" in path else "name"
    named = {**values, "key": values[kind], "what": ["stop", "undo", "retry"]}
    paths = [path]
    for parameter in re.findall(r"\{(\w+)\}", path):
        one_of = named.get(parameter, ["x"])
        paths = [path.replace(f"{{{parameter}}}", value) for path in paths for value in one_of]
    return paths


async def walk(visitor: Visitor, values: dict[str, list[str]], *methods: str) -> dict[str, Any]:
    """Return the response of each URL."""
    answers = {}
    for method, path in every_route():
        if method in methods:
            for address in addresses(path, values):
                form = {"csrf": visitor.csrf, "action": "retry"}
                sent = {"data": form} if method == "POST" and address.startswith("/jobs") else {}
                answers[f"{method} {address}"] = await visitor.client.request(
                    method, address, headers={"X-CSRF-Token": visitor.csrf}, **sent
                )
    return answers


async def snapshot(site: Site) -> dict[str, int]:
    """Return the row count of each table that an action would change."""
    watched = (job_run, job_audit, job_override, job_schedule, job_bulk, job_concern)
    counted = [sa.select(sa.func.count()).select_from(table).scalar_subquery() for table in watched]
    row = (await site.scheduler.read(lambda db: db.execute(sa.select(*counted)))).one()
    return dict(zip((str(table.name) for table in watched), row, strict=True))


@pytest.mark.slow
@pytest.mark.usefixtures("short_streams")
async def test_no_address_tells_of_a_job_that_the_role_is_not_about(site: Site):
    values = await secrets_everywhere(site)
    seen = await site.add_run("DailyReport", "failed", Message="the printer is away")
    await role(site, "reports", ("operator", "daily*"), ("viewer", "MailUser"))
    admin, dana = await site.user("admin"), await site.user("reports", "dana")

    shown_addresses = [
        item
        for item, answer in (await walk(admin, values, "GET")).items()
        if HIDDEN.search(answer.text)
    ]
    assert len(shown_addresses) > 30, "the walk does not see what an admin sees"

    waits = await beside_hidden_ones(site, values["run_id"][0])
    own_values = {"run_id": [str(waits)], "name": ["DailyReport"]}
    for address, answer in (await walk(dana, own_values, "GET")).items():
        assert not HIDDEN.search(answer.text), f"{address}: {HIDDEN.search(answer.text)}"
        assert answer.status_code < 500, address

    before = await snapshot(site)
    for address, answer in (await walk(dana, values, "GET", "POST", "DELETE", "PATCH")).items():
        # the response may repeat the requested address: a name in the address is known to the requester
        target = address.partition(" ")[2]
        text = answer.text
        for part in [target, *target.split("/")]:
            text = text.replace(part, "") if HIDDEN.search(part) else text
        assert not HIDDEN.search(text), f"{address}: {HIDDEN.search(text)}"
        assert answer.status_code < 500, address
        if HIDDEN.search(target) or any(
            f"/{item}" in target for item in values["run_id"] + values["cause"]
        ):
            assert answer.status_code in {403, 404}, (address, answer.status_code)
    after = await snapshot(site)
    assert after == {**before, "c_JobAudit": after["c_JobAudit"]}
    actions = await site.scheduler.read(
        lambda db: db.scalars(
            sa.select(job_audit.c.Action).where(job_audit.c.Actor == "Manual (dana)")
        )
    )
    assert set(actions) <= {"sign in", "sign out", "end session"}
    assert seen


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_lists_counts_and_searches_are_of_what_may_be_seen(
    database: str, request: pytest.FixtureRequest, settings: Settings
):
    url = request.getfixturevalue(f"migrated_{database}_url")
    async with running(settings.model_copy(update={"database_url": url}), work=False) as site:
        await _look_at_lists(site)


async def _look_at_lists(site: Site) -> None:
    values = await secrets_everywhere(site)
    seen = await site.add_run("DailyReport", "failed", Message="the printer is away")
    await role(site, "reports", ("operator", "daily*"), ("viewer", "MailUser"))
    dana = await site.user("reports", "dana")

    assert [entry["name"] for entry in (await dana.get("/api/jobs")).json()] == [
        "DailyReport",
        "MailUser",
    ]
    assert [entry["id"] for entry in (await dana.get("/api/runs")).json()["runs"]] == [seen]
    searches = (
        "job:SyncStock",
        "hush",
        "-job:DailyReport",
        "is:open",
        'by:"System"',
        f"run:{values['run_id'][0]}",
    )
    results = {
        q: [entry["id"] for entry in (await dana.get("/api/runs", params={"q": q})).json()["runs"]]
        for q in searches
    }
    assert set(results["is:open"]) == {seen}
    assert all(set(ids) <= {seen} for ids in results.values()), results
    inbox = (await dana.get("/api/inbox")).json()
    assert [entry["job"] for entry in inbox["failures"]] == ["DailyReport"]
    counted = await dana.client.post(
        "/api/bulk/count",
        json={"action": "retry", "filter": {}},
        headers={"X-CSRF-Token": dana.csrf},
    )
    assert counted.json()["jobs"] == {"DailyReport": 1}
    assert re.search("1</b>\\s*failed|1 failed", await dana.page("/jobs"))
    menu = await dana.page("/jobs/jobs")
    assert "/jobs/audit" not in menu
    assert "/jobs/system" not in menu


async def test_who_may_see_a_job_need_not_act_on_it(site: Site):
    await secrets_everywhere(site)
    visible, hidden = [await site.add_run(job, "failed") for job in ("DailyReport", "MailUser")]
    await role(site, "reports", ("operator", "daily*"), ("viewer", "MailUser"))
    dana = await site.user("reports", "dana")

    assert f"/jobs/runs/{visible}/retry" in await dana.page(f"/jobs/runs/{visible}")
    assert f"/jobs/runs/{hidden}/retry" not in await dana.page(f"/jobs/runs/{hidden}")
    assert (await dana.send(f"/jobs/runs/{hidden}/retry")).status_code == 403
    assert (await dana.send(f"/jobs/runs/{visible}/delete")).status_code == 403
    assert (await dana.send(f"/jobs/runs/{visible}/retry")).status_code == 303
    # a filter that matches everything affects only the jobs of the person's role
    begun = await dana.client.post(
        "/api/bulk",
        json={"action": "retry", "filter": {"states": ["failed"]}},
        headers={"X-CSRF-Token": dana.csrf},
    )
    assert begun.status_code == 202, begun.text
    assert begun.json()["total"] == 1
    assert (await dana.get(f"/api/bulk/{begun.json()['id']}")).status_code == 200
    c = job_run.c
    retried = await site.scheduler.read(
        lambda db: db.scalars(sa.select(c.JobName).where(c.RetryOf.is_not(None)).distinct())
    )
    assert list(retried) == ["DailyReport"]


async def test_what_an_address_is_about_stands_in_it_and_not_in_what_is_before_it(site: Site):
    visible, hidden = [await site.add_run(job, "enqueued") for job in ("DailyReport", "SyncStock")]
    await role(site, "reports", ("operator", "daily*"))
    program = await site.program("reports")
    outer = httpx.ASGITransport(Starlette(routes=[Mount("/t/{tenant}", site.app)]))
    async with httpx.AsyncClient(transport=outer, base_url=HOST, headers=program.headers) as client:
        for base in ("/api", "/jobs/api"):
            begins = f"/t/{visible}{base}/runs"
            assert (await client.post(f"{begins}/{hidden}/cancel")).status_code == 404, base
            assert (await client.get(f"{begins}/{visible}")).status_code == 200
            assert (await client.get(f"/t/{hidden}{base}/runs/{visible}")).status_code == 200


async def test_a_role_changes_and_goes_at_once_for_tokens_too(site: Site):
    await role(site, "reports", ("operator", "daily*"))
    program = await site.program("reports")
    trigger = "/api/jobs/DailyReport/trigger"
    headers = {"Idempotency-Key": "once"}
    assert (await program.post(trigger, headers=headers)).status_code == 200
    assert (await program.post("/api/jobs/SyncStock/trigger")).status_code == 404
    await site.change(lambda db: roles.grant(db, "reports", Grant(Role.VIEWER, "daily*")))
    assert (await program.post(trigger)).status_code == 403
    # no earlier response is replayed
    assert (await program.post(trigger, headers=headers)).status_code == 403
    await site.change(lambda db: roles.revoke(db, "reports", "daily*"))
    assert (await program.get("/api/jobs/DailyReport")).status_code == 404
    with pytest.raises(AuthError, match="have the role"):
        await site.change(lambda db: roles.remove(db, "reports"))


async def test_names_and_patterns_of_roles_are_checked(site: Site):
    for name in ("admin", "Finance", "x" * 21, "a b", ""):
        with pytest.raises(AuthError):
            await role(site, name)
    with pytest.raises(AuthError, match="not a pattern"):
        await role(site, "finance", ("viewer", "a\nb"))
    await role(site, "finance", ("viewer", "finance:*"))
    with pytest.raises(AuthError, match="already"):
        await role(site, "finance")
    for work in (roles.remove, lambda db, name: roles.revoke(db, name, "*")):
        with pytest.raises(AuthError, match="built-in"):
            await site.change(lambda db, work=work: work(db, "viewer"))
    assert Grant(Role.VIEWER, "finance:*").fits("Finance:Daily")
    assert not Grant(Role.VIEWER, "finance:*").fits("financeDaily")
    assert not Grant(Role.VIEWER, "a[bc]").fits("ab")


def test_every_table_says_what_is_seen_of_it():
    assert set(reader.RULES) == {str(table) for table in metadata.tables}
