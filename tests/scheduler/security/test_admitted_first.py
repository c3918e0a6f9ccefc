"""A request is authorised before its body is read."""

import re
from collections.abc import AsyncIterator

import pytest
from fastapi.routing import APIRoute
from targcc_scheduler.web.api.router import PARTS
from targcc_scheduler.web.dashboard.router import ROUTERS
from web_fixtures import Site

WAYS_IN = {"/jobs/login", "/jobs/login/code", "/jobs/language"}
"""Forms for people who have not signed in yet."""


class Body:
    """Request body that records when it is read."""

    def __init__(self) -> None:
        self.is_read = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.is_read = True
        yield b'{"a": 1}\n'


def changes() -> list[tuple[str, str]]:
    """Return method and path of each route that changes data."""
    routes = [route for part in PARTS for route in part.routes]
    pages = [(f"/jobs{endpoint.path}", endpoint) for part in ROUTERS for endpoint in part.routes]
    return [
        (method, re.sub(r"{\w+(:\w+)?}", "1", path))
        for path, route in [*((endpoint.path, endpoint) for endpoint in routes), *pages]
        if isinstance(route, APIRoute)
        for method in sorted(route.methods - {"GET", "HEAD"})
    ]


async def sent(client, method: str, path: str, kind: str, **headers: str) -> tuple[int, bool]:
    """Send a request; return the response status and whether the body was read."""
    body = Body()
    sent_headers = {"Content-Length": "9", "Content-Type": kind, **headers}
    answer = await client.request(method, path, content=body, headers=sent_headers)
    return answer.status_code, body.is_read


def test_there_are_routes_of_the_api_and_of_pages():
    assert len(changes()) > 60


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
async def test_the_body_of_a_stranger_is_not_read(site: Site, kind):
    client = (await site.stranger()).client
    read = {
        path: await sent(client, method, path, kind, **{"Idempotency-Key": "a-key"})
        for method, path in changes()
        if path not in WAYS_IN
    }
    assert {
        path: how for path, how in read.items() if how not in {(401, False), (303, False)}
    } == {}


@pytest.mark.parametrize(
    "path", ["/api/jobs/DailyReport/trigger", "/api/jobs/DailyReport/trigger/files"]
)
async def test_the_body_of_a_role_that_may_not_is_not_read(site: Site, path):
    viewer = await site.program("viewer")
    for key in ({}, {"Idempotency-Key": "a-key"}):
        for kind in ("application/json", "multipart/form-data; boundary=x"):
            assert await sent(viewer, "POST", path, kind, **key) == (403, False)
