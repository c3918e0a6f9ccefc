"""HEAD answers wherever GET does, with the same status and headers and without a body."""

import asyncio
import re
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from targcc_scheduler.features.accounts import users
from targcc_scheduler.web import health, openapi
from targcc_scheduler.web.api.router import PARTS
from targcc_scheduler.web.dashboard.router import ROUTERS
from web_fixtures import Site, Visitor

VALUES = {"name": "DailyReport", "run_id": "1", "cause": "0" * 16}
CHANGING = {"content-length", "etag", "set-cookie"}
"""Headers whose value may differ between two requests: pages show the time."""


def read_paths() -> list[str]:
    """Return the address of each route that GET reads."""
    parts = [*PARTS, openapi.router, health.router]
    routes = [
        *(("/jobs", route) for router in ROUTERS for route in router.routes),
        *(("", route) for part in parts for route in part.routes),
    ]
    return [
        prefix + re.sub(r"\{(\w+)[^}]*\}", lambda match: VALUES.get(match[1], "1"), route.path)
        for prefix, route in routes
        if isinstance(route, APIRoute) and "GET" in route.methods and "oidc" not in route.path
    ]


def headers_of(answer: httpx.Response) -> dict[str, str]:
    return {name: "" if name in CHANGING else value for name, value in answer.headers.items()}


@pytest.mark.slow
@pytest.mark.usefixtures("short_streams")
async def test_every_page_and_api_address_answers_head(site: Site):
    await site.add_run("DailyReport", "failed")
    visitor = await site.user("admin")
    paths = read_paths()
    assert {
        "/jobs",
        "/jobs/runs",
        "/jobs/static/DailyReport",
        "/api/jobs",
        "/api/events",
        "/metrics",
    } <= {*paths}
    for path in [*paths, "/jobs/static/dashboard.css", "/jobs/nowhere", "/jobs/"]:
        shown = await visitor.get(path)
        answer = await visitor.client.head(path)
        assert (answer.status_code, headers_of(answer)) == (
            shown.status_code,
            headers_of(shown),
        ), path
        assert answer.content == b""


async def test_no_byte_of_the_body_reaches_the_server(site: Site):
    sent = await raw(site, "/health/live")
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert dict(sent[0]["headers"])[b"content-length"] == str(len('{"status":"live"}')).encode()


async def test_an_endless_stream_ends_after_its_headers(site: Site):
    visitor = await site.user("viewer")
    async with asyncio.timeout(30):
        answer = await visitor.client.head("/api/events")
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "text/event-stream; charset=utf-8",
    )


async def test_a_stranger_is_told_the_same(site: Site):
    visitor = await site.stranger()
    page, api = await visitor.client.head("/jobs"), await visitor.client.head("/api/jobs")
    assert (page.status_code, page.headers["location"]) == (303, "/jobs/login")
    assert (api.status_code, api.headers["www-authenticate"]) == (401, "Bearer")
    assert (await visitor.client.head("/api/jobs/DailyReport/pause")).status_code == 405


async def test_the_preview_of_a_login_link_does_not_use_the_link(site: Site):
    make = await site.scheduler.read(users.first_login)
    path = "/jobs" + make("http://testserver").removeprefix("http://testserver")
    preview: Visitor = await site.stranger()
    assert (await preview.client.head(path)).status_code == 200
    assert not preview.client.cookies
    assert (await (await site.stranger()).get(path)).status_code == 303


async def raw(site: Site, path: str) -> list[dict[str, Any]]:
    """Return the ASGI messages of the response to HEAD."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "HEAD",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
        "scheme": "http",
        "server": ("testserver", 80),
        "client": ("10.1.2.3", 1),
    }
    await site.app(scope, receive, send)
    return sent
