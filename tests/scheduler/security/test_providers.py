"""Contract of an identity provider, tested for each built-in provider, and the order of providers."""

from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from targcc_scheduler import Scheduler, Settings, make_router
from targcc_scheduler.core.clock import ManualClock
from targcc_scheduler.core.errors import CredentialsRefused
from targcc_scheduler.core.identity import Principal, Role
from targcc_scheduler.features.accounts import sessions
from targcc_scheduler.features.accounts import sessions as account_sessions
from targcc_scheduler.features.accounts.providers import (
    PasswordProvider,
    TokenProvider,
    session_cookie,
)

NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)


def request(**headers):
    """Return a request with these headers."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw})


@pytest.fixture
async def scheduler(migrated_sqlite_url):
    settings = Settings(_env_file=None, database_url=migrated_sqlite_url)
    made = Scheduler(settings, jobs_package=__name__, clock=ManualClock(NOON))
    yield made
    await made.stop()


@pytest.fixture
async def cookie(scheduler):
    start = sessions.start_session
    secret = await scheduler.change(
        lambda db: start(db, "dana", Role.OPERATOR, NOON, timedelta(days=7))
    )
    return {"Cookie": f"{session_cookie()}={secret}"}


@pytest.fixture
async def bearer(scheduler):
    create = account_sessions.create_token
    secret = await scheduler.change(
        lambda db: create(db, "shop", Role.VIEWER, by="test", now=NOON, life=timedelta(days=7))
    )
    return {"Authorization": f"Bearer {secret}"}


PROVIDERS = {"cookie": PasswordProvider, "bearer": TokenProvider}
OWNERS = {"cookie": ("dana", Role.OPERATOR), "bearer": ("shop", Role.VIEWER)}


@pytest.fixture
def credentials(cookie, bearer):
    return {"cookie": cookie, "bearer": bearer}


@pytest.mark.parametrize("kind", PROVIDERS)
async def test_a_provider_knows_who_carries_its_credentials(kind, scheduler, credentials):
    identity = await PROVIDERS[kind](scheduler).authenticate(request(**credentials[kind]))
    assert (identity.name, identity.role) == OWNERS[kind]


@pytest.mark.parametrize(("kind", "other"), [("cookie", "bearer"), ("bearer", "cookie")])
async def test_a_provider_leaves_other_credentials_to_the_next(kind, other, scheduler, credentials):
    provider = PROVIDERS[kind](scheduler)
    assert await provider.authenticate(request(**credentials[other])) is None
    assert await provider.authenticate(request()) is None


async def test_credentials_that_have_ended_let_nobody_in(scheduler, credentials):
    scheduler.clock.advance(timedelta(days=8))
    password, token = PasswordProvider(scheduler), TokenProvider(scheduler)
    assert await password.authenticate(request(**credentials["cookie"])) is None
    with pytest.raises(CredentialsRefused, match="expired"):
        await token.authenticate(request(**credentials["bearer"]))


async def test_only_a_browser_has_a_csrf_token(scheduler, cookie, bearer):
    browser = await PasswordProvider(scheduler).authenticate(request(**cookie))
    program = await TokenProvider(scheduler).authenticate(request(**bearer))
    assert browser.csrf
    assert program.csrf is None


# Order of providers in a web app.


class HostApp:
    """Provider of a host app: a header set by its own proxy."""

    async def authenticate(self, request):
        name = request.headers.get("X-User")
        if name == "intruder":
            raise CredentialsRefused(name)
        return Principal(name, Role.VIEWER) if name else None


@pytest.fixture
async def app(scheduler):
    import httpx

    app = FastAPI()
    app.include_router(make_router(scheduler=scheduler, providers=[HostApp()]))
    app.state.targcc_work = False
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield client


async def status(app, **headers):
    return (await app.get("/jobs/api/queues", headers=headers)).status_code


async def test_an_app_can_bring_a_provider_of_its_own(app):
    assert await status(app) == 401
    assert await status(app, **{"X-User": "dana"}) == 200


async def test_wrong_credentials_are_not_made_good_by_others(app, cookie):
    assert await status(app, **cookie) == 200
    assert await status(app, **cookie, **{"X-User": "intruder"}) == 401
    assert await status(app, **cookie, Authorization="Bearer tgc_wrong") == 401
