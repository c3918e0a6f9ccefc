"""An app that knows people by bearer tokens alone exchanges a token for a short session of the pages."""

import re
from datetime import timedelta
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from hosting_rig import add_user, alive, sign_in
from targcc_scheduler import Scheduler, mount
from targcc_scheduler.core.clock import DatabaseClock
from targcc_scheduler.core.identity import page_cookie
from targcc_scheduler.features.accounts import sessions
from targcc_scheduler.features.accounts.providers import session_cookie
from targcc_scheduler.features.audit import queries as audit_queries

TOKENS = {"jwt-otto": ("otto", "operator"), "jwt-vera": ("vera", "viewer")}
OTTO = {"Authorization": "Bearer jwt-otto"}
EXCHANGE = "/jobs/session"
PAUSED = "/jobs/jobs/DailyReport/pause"
bearer = HTTPBearer(auto_error=False)
Given = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


def by_token(given: Given) -> tuple[str, str]:
    if given is None or given.credentials not in TOKENS:
        raise HTTPException(401, "No valid token")
    return TOKENS[given.credentials]


class LaterClock(DatabaseClock):
    """Clock that a test moves forward."""

    def __init__(self) -> None:
        super().__init__()
        self.later = timedelta()

    def now(self):
        return super().now() + self.later


@pytest.fixture(params=["sqlite", "postgresql"])
async def scheduler(request, settings):
    changed: dict[str, Any] = {"mode": "pages"}
    if request.param == "postgresql":
        changed["database_url"] = request.getfixturevalue("postgresql_url")
    made = Scheduler(settings.model_copy(update=changed), clock=LaterClock())
    yield made
    await made.stop()


@pytest.fixture
async def client(scheduler):
    app: Any = FastAPI()
    mount(app, scheduler=scheduler, identify=by_token, login_url="/signin")
    async with alive(app) as client:
        yield client


async def test_a_token_opens_the_pages_for_an_hour(client, scheduler):
    assert (await client.get("/jobs")).headers["location"] == "/signin"
    answer = await client.post(EXCHANGE, headers=OTTO)
    assert answer.status_code == 200, answer.text
    assert {**answer.json(), "expires_at": ""} == {
        "name": "otto",
        "role": "operator",
        "expires_at": "",
        "url": "/jobs",
    }
    cookie = answer.headers["set-cookie"]
    assert re.search(r"HttpOnly; Max-Age=3600; Path=/jobs; SameSite=lax$", cookie)
    page = await client.get("/jobs")
    assert (page.status_code, "otto" in page.text) == (200, True)
    [entry] = await scheduler.read(lambda db: audit_queries.audit(db, limit=9))
    assert (entry.action, "otto" in str(entry.actor), entry.detail) == (
        "sign in",
        True,
        "by a token of the application",
    )
    scheduler.clock.later = timedelta(hours=1)
    assert (await client.get("/jobs")).headers["location"] == "/signin"


@pytest.mark.slow
async def test_the_session_has_the_role_of_the_host_and_forms_need_its_csrf_token(
    client, scheduler
):
    await client.post(EXCHANGE, headers=OTTO)
    page = (await client.get("/jobs/jobs/DailyReport")).text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
    assert (await client.post(PAUSED)).status_code == 403
    evil = {"Origin": "http://evil.example"}
    assert (await client.post(PAUSED, data={"csrf": csrf}, headers=evil)).status_code == 403
    assert (await client.post("/jobs/api/jobs/DailyReport/pause")).status_code == 403
    assert (await client.post(PAUSED, data={"csrf": csrf})).status_code == 303
    assert (await client.get("/jobs/people")).status_code == 403
    await client.post(EXCHANGE, headers={"Authorization": "Bearer jwt-vera"})
    page = (await client.get("/jobs/jobs/DailyReport")).text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
    assert (await client.post(PAUSED, data={"csrf": csrf})).status_code == 403
    now = scheduler.clock.now()
    [session] = await scheduler.read(lambda db: sessions.sessions(db, now))
    assert (session.name, session.role) == ("app:vera", "viewer")  # the first was replaced


async def test_signing_out_ends_the_session(client, scheduler):
    await client.post(EXCHANGE, headers=OTTO)
    page = (await client.get("/jobs")).text
    assert 'action="/jobs/session/end"' in page
    assert "Sign out" in page
    secret = client.cookies[page_cookie("web_jobs")]
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
    assert (await client.post("/jobs/session/end")).status_code == 403
    left = await client.post("/jobs/session/end", data={"csrf": csrf})
    assert (left.status_code, left.headers["location"]) == (303, "/signin")
    client.cookies.set(page_cookie("web_jobs"), secret, path="/jobs")
    assert (await client.get("/jobs")).status_code == 303
    entries = await scheduler.read(lambda db: audit_queries.audit(db, limit=9))
    assert sorted(entry.action for entry in entries) == ["sign in", "sign out"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer made-up"}, 401),
        ({"Authorization": "Basic b3R0bzp4"}, 401),
        ({**OTTO, "Origin": "http://testserver"}, 200),
        ({**OTTO, "Origin": "http://evil.example"}, 403),
        ({**OTTO, "Origin": "null"}, 403),
    ],
)
async def test_only_a_token_from_a_page_of_this_origin_is_exchanged(headers, status, client):
    answer = await client.post(EXCHANGE, headers=headers)
    assert (answer.status_code, "set-cookie" in answer.headers) == (status, status == 200)
    assert answer.headers["content-type"] in {"application/json", "application/problem+json"}


async def test_strangers_do_not_fill_the_audit(client, scheduler):
    for number in range(5):
        made_up = {"Authorization": f"Bearer made-up-{number}"}
        assert (await client.post(EXCHANGE, headers=made_up)).status_code == 401
    [entry] = await scheduler.read(lambda db: audit_queries.audit(db, limit=9))
    assert (entry.action, entry.detail) == ("sign-in refused", "a token of the application")


async def test_a_login_page_of_another_origin_may_exchange(settings):
    app: Any = FastAPI()
    made = Scheduler(settings.model_copy(update={"mode": "pages"}))
    mount(app, scheduler=made, identify=by_token, login_url="https://app.example.com/jobs-login")
    async with alive(app) as client:
        for origin, status in {
            "https://app.example.com": 200,
            "https://x.example.com": 403,
        }.items():
            answer = await client.post(EXCHANGE, headers={**OTTO, "Origin": origin})
            assert answer.status_code == status


async def test_a_user_whom_the_host_knows_by_cookie_needs_no_exchange(settings):
    """Otherwise a form of another site could sign a browser in."""
    app: Any = FastAPI()

    def identify(request):
        if request.cookies.get("session") == "s1" or "authorization" in request.headers:
            return "otto", "operator"
        return None

    mount(
        app, scheduler=Scheduler(settings.model_copy(update={"mode": "pages"})), identify=identify
    )
    async with alive(app) as client:
        assert (await client.post(EXCHANGE, headers=OTTO)).status_code == 200
        client.cookies.clear()
        client.cookies.set("session", "s1")
        assert (await client.post(EXCHANGE, headers=OTTO)).status_code == 401


async def test_a_token_of_the_scheduler_is_no_token_of_the_host(client, scheduler):
    now = scheduler.clock.now()
    token = await scheduler.change(
        lambda db: sessions.create_token(
            db, "ci", "admin", by="test", now=now, jobs=["DailyReport"]
        )
    )
    answer = await client.post(EXCHANGE, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


async def test_sessions_of_the_host_and_of_local_users_stay_apart(scheduler):
    """Both kinds are in one table when ``targcc serve`` runs beside the host."""
    hosted: Any = FastAPI()
    own: Any = FastAPI()
    mount(hosted, scheduler=scheduler, identify=by_token)
    mount(own, "/own", scheduler=scheduler)
    async with alive(hosted) as here, alive(own) as there:
        await add_user(scheduler, "otto", "admin")
        assert (await there.post("/own/session", headers=OTTO)).status_code == 401
        await here.post(EXCHANGE, headers=OTTO)
        await sign_in(there, "/own", "otto")
        host_secret, own_secret = (
            here.cookies[page_cookie("web_jobs")],
            there.cookies[session_cookie()],
        )
        there.cookies.clear()
        there.cookies.set(session_cookie(), host_secret)
        there.cookies.set(page_cookie("web_jobs"), host_secret)
        assert (await there.get("/own/jobs")).status_code == 303
        assert (await here.get("/jobs/people")).status_code == 403  # not the local admin's role
        here.cookies.clear()
        here.cookies.set(page_cookie("web_jobs"), own_secret)
        assert (await here.get("/jobs")).status_code == 401
