"""Pages and API with a slow database."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from targcc_scheduler import Settings
from targcc_scheduler.db.tables import job_alert
from targcc_scheduler.web.api import runs
from targcc_scheduler.web.dashboard import runs as dashboard_runs
from web_fixtures import Site, running

asked = threading.Event()


async def never_answer(db: AsyncConnection, *_: object) -> Any:
    asked.set()
    numbers = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    )
    return await db.scalar(sa.text(numbers))


@pytest.fixture
async def slow_site(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Site]:
    """A site whose list of runs never returns."""
    monkeypatch.setattr(dashboard_runs, "list_runs", never_answer)
    monkeypatch.setattr(runs, "find_runs", never_answer)
    limited = settings.model_copy(update={"query_seconds": getattr(request, "param", 2)})
    async with running(limited, work=False) as site:
        yield site


@pytest.mark.slow
async def test_a_page_says_that_the_question_took_too_long(slow_site: Site):
    viewer = await slow_site.user("viewer")
    page = await viewer.get("/jobs/runs?q=something")
    assert page.status_code == 503
    assert "The query took too long" in page.text
    assert (await viewer.get("/jobs/system")).status_code == 200


@pytest.mark.slow
async def test_the_api_says_that_the_question_took_too_long(slow_site: Site):
    program = await slow_site.program("viewer")
    answer = await program.get("/api/runs?text=something")
    assert (answer.status_code, answer.json()["title"]) == (503, "The query took too long")


@pytest.mark.parametrize("slow_site", [600], indirect=True)
async def test_a_browser_that_goes_takes_its_question_along(slow_site: Site):
    """Uses more requests than there are query connections."""
    viewer = await slow_site.user("viewer")
    cookie = "; ".join(f"{name}={value}" for name, value in viewer.client.cookies.items())
    for _ in range(6):
        await asyncio.wait_for(ask_and_leave(slow_site.app, cookie), 30)
    page = await asyncio.wait_for(viewer.get("/jobs/system"), 30)
    assert page.status_code == 200


@pytest.fixture(params=["sqlite", "postgresql"])
async def working_site(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    """A working site on either database whose list of runs never returns."""
    monkeypatch.setattr(runs, "find_runs", never_answer)
    url = request.getfixturevalue(f"migrated_{request.param}_url")
    limited = Settings(database_url=url, query_seconds=600, heartbeat_seconds=0.2, pool_size=2)
    async with running(limited, work=True) as site:
        yield site


@pytest.mark.slow
async def test_slow_searches_take_no_connection_from_the_scheduler(working_site: Site, slack):
    """Eight slow searches at once: runs, alerts and retention continue."""
    program, scheduler = await working_site.program("viewer"), working_site.scheduler
    rule = {"JobName": "SyncStock", "SlackWebhook": slack.url}
    await working_site.change(lambda db: db.execute(job_alert.insert().values(rule)))
    old = {"CompletedAt": datetime.now(UTC) - timedelta(days=9)}
    await working_site.add_run("Old", "succeeded", **old)
    asked.clear()
    searches = [asyncio.create_task(program.get(f"/api/runs?q=x{n}")) for n in range(8)]
    await asyncio.to_thread(asked.wait, 30)
    async with asyncio.timeout(30):
        await scheduler.enqueue("SyncStock")
        while not slack.bodies:  # noqa: ASYNC110 - another thread fills it
            await asyncio.sleep(0.02)
        assert (await scheduler.prune(days=1, keep_last=0))["runs"] == 1
    assert not any(search.done() for search in searches)
    for search in searches:
        search.cancel()
    await asyncio.gather(*searches, return_exceptions=True)


async def ask_and_leave(app: Any, cookie: str) -> None:
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])
    asked.clear()

    async def receive() -> dict[str, Any]:
        if (message := next(messages, None)) is not None:
            return message
        await asyncio.to_thread(asked.wait, 10)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        """Discard the message."""

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/jobs/runs",
        "raw_path": b"/jobs/runs",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver"), (b"cookie", cookie.encode())],
        "client": ("10.1.2.3", 1234),
        "server": ("testserver", 80),
    }
    await app(scope, receive, send)
