"""Lists are read page by page, each entry once, even while new entries arrive."""

import re
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from targcc_scheduler.db.tables import job_audit, job_log_line
from targcc_scheduler.kernel.jobs.declaration import define
from web_fixtures import Site

NAMES = ["Many1", "Many2", "Many4"]


async def all_pages(
    client: httpx.AsyncClient, address: str, meanwhile: Any
) -> list[list[dict[str, Any]]]:
    pages, following = [], address
    while following:
        answer = await client.get(following)
        assert answer.status_code == 200, answer.text
        pages.append(answer.json())
        await meanwhile()
        link = re.fullmatch(r'<(.+)>; rel="next"', answer.headers.get("Link", ""))
        following = link[1] if link else ""
    return pages


async def test_the_history_of_a_job(site: Site):
    async def add() -> None:
        await site.add_attempt("SyncStock", None)

    for _ in range(7):
        await add()
    client = await site.program("viewer")
    pages = await all_pages(client, "/api/jobs/SyncStock/history?limit=3", add)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert len({row["id"] for page in pages for row in page}) == 7


async def test_the_history_of_attempts_that_began_together(site: Site):
    at = datetime(2026, 11, 25, 8, tzinfo=UTC)
    for _ in range(5):
        await site.add_attempt("SyncStock", None, StartedAt=at)

    async def nothing() -> None:
        """Add no entry."""

    client = await site.program("viewer")
    pages = await all_pages(client, "/api/jobs/SyncStock/history?limit=2", nothing)
    ids = [row["id"] for page in pages for row in page]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 5


async def test_the_audit(site: Site):
    async def add() -> None:
        row = {"At": site.scheduler.clock.now(), "Actor": "CLI", "Action": "pause", "RunId": 7}
        await site.change(lambda db: db.execute(job_audit.insert().values(row)))

    for _ in range(5):
        await add()
    pages = await all_pages(await site.program("viewer"), "/api/audit?run_id=7&limit=2", add)
    assert [len(page) for page in pages] == [2, 2, 1]


async def test_the_log_of_a_run(site: Site):
    async def add() -> None:
        row = {"RunId": 7, "Attempt": 1, "At": site.scheduler.clock.now(), "Level": "INFO"}
        await site.change(lambda db: db.execute(job_log_line.insert().values(**row, Message="so")))

    for _ in range(5):
        await add()
    pages = await all_pages(await site.program("viewer"), "/api/runs/7/log?limit=2", add)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert pages[0][0]["id"] > pages[1][1]["id"]


async def test_runs_the_whole_history_and_the_runs_of_a_failure(site: Site):
    async def add() -> None:
        await site.add_attempt("SyncStock", None)
        await site.add_run("SyncStock", "failed", Message="ValueError: no")

    for _ in range(5):
        await add()
    client = await site.program("viewer")
    inbox = (await client.get("/api/inbox")).json()
    assert len(await all_pages(client, "/api/history?limit=2", add)) == 3
    of_cause = f"/api/inbox/{inbox['failures'][0]['cause']}/runs?limit=3"
    for address in ("/api/runs?limit=3", of_cause):
        pages: list[Any] = await all_pages(client, address, add)
        rows = [row for page in pages for row in (page if isinstance(page, list) else page["runs"])]
        ids = [row["id"] for row in rows]
        assert ids == sorted(set(ids), reverse=True)
        assert ids[-1] == 1


@pytest.mark.parametrize("cursor", ["7", "yesterday~1", "2026-11-25T08:00:00~1", ""])
async def test_a_cursor_that_nobody_gave_is_refused(site: Site, cursor: str):
    client = await site.program("viewer")
    answer = await client.get("/api/jobs/SyncStock/history", params={"cursor": cursor})
    assert answer.status_code == 422


async def test_the_jobs_by_display_name(site: Site):
    async def remove_a_job() -> None:
        site.scheduler._registry.definitions.pop("Gone3", None)

    for name in (*NAMES, "Gone3"):
        site.scheduler._registry.add(define(remove_a_job, name=name))
    await site.add_run("Many2", "failed")
    client = await site.program("viewer")
    everyone = (await client.get("/api/jobs")).json()
    pages = await all_pages(client, "/api/jobs?limit=3", remove_a_job)
    assert {len(page) for page in pages[:-1]} == {3}
    rows = [row for page in pages for row in page]
    assert rows == [row for row in everyone if row["name"] != "Gone3" or row in rows]
    assert [row["last_run"] is not None for row in rows if row["name"] in NAMES] == [
        name == "Many2" for name in NAMES
    ]
    assert [row["display_name"].casefold() for row in everyone] == sorted(
        row["display_name"].casefold() for row in everyone
    )


async def test_a_page_of_jobs_after_one_that_is_gone(site: Site):
    client = await site.program("viewer")
    everyone = [row["display_name"] for row in (await client.get("/api/jobs")).json()]
    for cursor, begin in (
        ("", 0),
        ("/", 0),
        ("zzz/Zzz", len(everyone)),
        ("\U0010ffff", len(everyone)),
    ):
        page = (await client.get("/api/jobs", params={"limit": 500, "cursor": cursor})).json()
        assert [row["display_name"] for row in page] == everyone[begin:]
    middle = f"{everyone[2].casefold()}/~"
    page = (await client.get("/api/jobs", params={"cursor": middle})).json()
    assert [row["display_name"] for row in page] == everyone[3:]
    assert (await client.get("/api/jobs?limit=0")).status_code == 422
