"""The host identifies the user by its own function or dependency; roles, CSRF tokens and audit are ours."""

import asyncio
import contextlib
import re
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPBearer
from hosting_rig import alive, configure_django
from targcc_scheduler import Scheduler, Settings, mount, with_scheduler
from targcc_scheduler.core.errors import CredentialsRefused
from targcc_scheduler.core.identity import Principal, Role
from targcc_scheduler.features.accounts import sessions
from targcc_scheduler.features.audit import queries as audit_queries
from targcc_scheduler.web.host_login import HostLogin, csrf_cookie

PEOPLE = {"vera": "viewer", "otto": "operator", "ada": "admin"}


def the_key() -> str:
    return "cookie"


async def current_user(request: Request, key: Annotated[str, Depends(the_key)]) -> tuple[str, str]:
    """FastAPI dependency that has a dependency of its own."""
    name = request.cookies.get(key)
    if name not in PEOPLE:
        raise HTTPException(401, "Who are you?")
    return name, PEOPLE[name]


def of_request(request):
    """Plain function for hosts without FastAPI."""
    name = request.cookies.get("cookie")
    return Principal(name, Role(PEOPLE[name])) if name in PEOPLE else None


@pytest.fixture
async def scheduler(settings: Settings):
    made = Scheduler(settings.model_copy(update={"mode": "pages"}))
    yield made
    await made.stop()


@pytest.fixture(params=[current_user, of_request], ids=["dependency", "function"])
async def client(request, scheduler):
    app: Any = FastAPI()
    mount(app, scheduler=scheduler, identify=request.param)
    async with alive(app) as client:
        yield client


async def test_the_host_says_who_asks_and_our_login_is_off(client):
    first = await client.get("/jobs/runs")
    assert (first.status_code, "Sign in" in first.text) == (401, True)
    assert (await client.get("/jobs/api/jobs")).status_code == 401
    assert (await client.get("/jobs/login")).status_code == 404
    client.cookies.set("cookie", "vera")
    page = await client.get("/jobs")
    assert (page.status_code, "vera" in page.text, "Sign out" in page.text) == (200, True, False)
    assert (await client.get("/jobs/api/jobs")).status_code == 200
    assert (await client.get("/jobs/health/live")).status_code == 200


async def test_roles_and_csrf_tokens_and_the_audit_are_the_same(client, scheduler):
    client.headers["Origin"] = "http://testserver"
    path = "/jobs/jobs/DailyReport/pause"
    client.cookies.set("cookie", "otto")
    page = (await client.get("/jobs/jobs/DailyReport")).text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
    assert csrf == client.cookies[csrf_cookie()]
    assert (await client.post(path, data={"csrf": "forged"})).status_code == 403
    elsewhere = {"Origin": "http://evil.example"}
    assert (await client.post(path, data={"csrf": csrf}, headers=elsewhere)).status_code == 403
    assert (await client.post("/jobs/api/jobs/DailyReport/pause")).status_code == 403
    assert (await client.post(path, data={"csrf": csrf})).status_code == 303
    client.cookies.set("cookie", "vera")
    assert (await client.post(path, data={"csrf": csrf})).status_code == 403
    [entry] = await scheduler.read(lambda db: audit_queries.audit(db, limit=5))
    assert (entry.action, entry.job, "otto" in str(entry.actor)) == ("pause", "DailyReport", True)


async def test_programs_with_an_api_token_come_in_as_ever(client, scheduler):
    now = scheduler.clock.now()
    token = await scheduler.change(
        lambda db: sessions.create_token(db, "prometheus", Role.VIEWER, by="test", now=now)
    )
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await client.get("/jobs/metrics", headers=bearer)).status_code == 200
    wrong = {"Authorization": "Bearer tgc_wrong"}
    assert (await client.get("/jobs/metrics", headers=wrong)).status_code == 401


async def test_an_admin_of_the_host_makes_tokens_but_no_users(client):
    client.cookies.set("cookie", "ada")
    page = (await client.get("/jobs/people")).text
    assert "The application identifies people" in page
    assert "Add user" not in page
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
    user = {"csrf": csrf, "act": "add-user", "name": "noa", "role": "viewer"}
    refused = await client.post("/jobs/people", data=user)
    assert (refused.status_code, "The application identifies people" in refused.text) == (422, True)
    token = {"csrf": csrf, "act": "create-token", "name": "shop", "role": "viewer", "days": "30"}
    made = await client.post("/jobs/people", data=token)
    secret = re.search(r'<code id="secret">([^<]+)</code>', made.text)[1]
    client.cookies.clear()
    bearer = {"Authorization": f"Bearer {secret}"}
    assert (await client.get("/jobs/api/jobs", headers=bearer)).status_code == 200


async def test_a_host_sends_people_to_its_own_login(scheduler):
    app: Any = FastAPI()
    mount(app, scheduler=scheduler, identify=current_user, login_url="/signin?via=jobs")
    async with alive(app) as client:
        answer = await client.get("/jobs/runs?state=failed")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/signin?via=jobs&next=%2Fjobs%2Fruns%3Fstate%3Dfailed"


async def test_a_test_of_the_host_overrides_its_dependency(scheduler):
    app = FastAPI()
    mount(app, scheduler=scheduler, identify=current_user)
    app.dependency_overrides[the_key] = lambda: "other"
    async with alive(app) as client:
        client.cookies.set("other", "ada")
        assert (await client.get("/jobs")).status_code == 200


async def test_programs_of_the_host_need_no_csrf_token(scheduler):
    """A form of another site cannot send this header."""
    secret = HTTPBearer()

    def by_token(given: Annotated[Any, Depends(secret)]):
        return ("robot", "operator") if given.credentials == "theirs" else None

    app = with_scheduler(FastAPI(), scheduler=scheduler, identify=by_token)
    async with alive(app) as client:
        paused = "/jobs/api/jobs/DailyReport/pause"
        right, wrong = ({"Authorization": f"Bearer {word}"} for word in ("theirs", "wrong"))
        assert (await client.post(paused, headers=right)).status_code == 200
        assert (await client.post(paused, headers=wrong)).status_code == 401


def by_cookie_or_token(request):
    """Identify people by cookie and programs by token, as many hosts do."""
    if request.headers.get("Authorization") == "Bearer theirs":
        return "robot", "operator"
    return of_request(request)


PAUSED = "/jobs/api/jobs/DailyReport/pause"
FOREIGN = {"Origin": "http://evil.example"}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"Authorization": "Bearer theirs"}, 200),
        ({"Authorization": "Bearer theirs", "Cookie": "cookie=stranger"}, 200),
        ({"Authorization": "Bearer nonsense", "Cookie": "cookie=otto"}, 403),
        ({"Authorization": "bearer nonsense", "Cookie": "cookie=otto", **FOREIGN}, 403),
        ({"Authorization": "Bearer theirs", "Cookie": "cookie=otto", **FOREIGN}, 403),
        ({"Authorization": "Bearer nonsense"}, 401),
    ],
)
async def test_a_bearer_header_spares_the_csrf_token_only_where_the_host_knows_nobody_without_it(
    sent, status, scheduler
):
    app = with_scheduler(FastAPI(), scheduler=scheduler, identify=by_cookie_or_token)
    async with alive(app) as client:
        assert (await client.post(PAUSED, headers=sent)).status_code == status


async def test_a_bearer_header_spares_no_csrf_token_where_the_host_trusts_an_address(scheduler):
    app = with_scheduler(FastAPI(), scheduler=scheduler, identify=lambda _: ("otto", "operator"))
    async with alive(app) as client:
        sent = {"Authorization": "Bearer nonsense", **FOREIGN}
        assert (await client.post(PAUSED, headers=sent)).status_code == 403


class Blocking:
    """Callable that must not run on an event loop, like Django's ORM."""

    def __call__(self, request):
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return of_request(request)


def handed_on(request):
    """Plain function that returns an awaitable."""
    return asyncio.sleep(0, of_request(request))


class Awaiting:
    async def __call__(self, request):
        return of_request(request)


@pytest.mark.parametrize("identify", [Blocking(), handed_on, Awaiting()])
async def test_a_plain_function_of_the_host_is_called_in_a_thread(identify, scheduler):
    app = with_scheduler(FastAPI(), scheduler=scheduler, identify=identify)
    async with alive(app) as client:
        client.cookies.set("cookie", "vera")
        assert "vera" in (await client.get("/jobs")).text


async def test_a_plain_function_of_a_django_host_may_ask_its_database(scheduler):
    from django.core.asgi import get_asgi_application
    from django.db.utils import ConnectionHandler

    configure_django()
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    connections = ConnectionHandler({"default": database})

    def by_session(request):
        with contextlib.closing(connections["default"]) as connection, connection.cursor() as db:
            key = request.cookies.get("sessionid")
            return db.execute("SELECT %s, 'operator' WHERE %s = 'x1'", ["dana", key]).fetchone()

    app = with_scheduler(get_asgi_application(), scheduler=scheduler, identify=by_session)
    async with alive(app) as client:
        assert (await client.get("/jobs/runs")).status_code == 401
        client.cookies.set("sessionid", "x1")
        page = await client.get("/jobs")
        assert (page.status_code, "dana" in page.text) == (200, True)


async def test_a_wrong_answer_of_the_host_is_an_error_that_says_so(scheduler):
    app: Any = FastAPI()
    mount(app, scheduler=scheduler, identify=lambda: "ada")
    async with alive(app) as client:
        with pytest.raises(TypeError, match=r"return \(name, role\)"):
            await client.get("/jobs")


# Contract of an identity provider.


def asked(**headers: str) -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Request(
        {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": raw}
    )


class Refusing:
    async def authenticate(self, _: Request) -> None:
        raise CredentialsRefused("unknown")


async def test_the_contract_of_an_identity_provider():
    login = HostLogin(of_request)
    identity = await login.authenticate(asked(Cookie="cookie=otto"))
    assert (identity.name, identity.role, bool(identity.csrf)) == ("otto", Role.OPERATOR, True)
    assert await login.authenticate(asked()) is None
    login.ask_also(Refusing())
    assert await login.authenticate(asked(Authorization="Bearer x")) is None
