"""Serve host applications over ASGI like a server: one lifespan, then requests."""

import asyncio
import contextlib
import sys
import tempfile
import types
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from targcc_scheduler import Scheduler
from targcc_scheduler.features.accounts import roles, users
from web_fixtures import PASSWORD, PASSWORD_HASH

ROOT = "http://testserver"


@contextlib.asynccontextmanager
async def alive(app: Any, *, root_path: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the app between its startup and its shutdown."""
    orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}

    async def served(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    life = asyncio.create_task(app(scope, orders.get, answers.put))

    async def ask(what: str) -> None:
        orders.put_nowait({"type": f"lifespan.{what}"})
        async with asyncio.timeout(30):
            message = await answers.get()
        assert message["type"] == f"lifespan.{what}.complete", message

    await ask("startup")
    try:
        async with client_of(served, root_path=root_path) as client:
            yield client
    finally:
        await ask("shutdown")
        await life


def client_of(app: Any, *, root_path: str = "") -> httpx.AsyncClient:
    """Return a client of the app, started or not."""
    transport = httpx.ASGITransport(app, client=("10.1.2.3", 1234), root_path=root_path)
    return httpx.AsyncClient(transport=transport, base_url=ROOT)


async def add_user(scheduler: Scheduler, name: str = "dana", role: str = "operator") -> None:
    wanted, now = roles.Role(role), datetime.now(UTC)
    await scheduler.change(lambda db: users.add_user(db, name, PASSWORD_HASH, wanted, now))


async def sign_in(client: httpx.AsyncClient, base: str, name: str = "dana") -> None:
    answer = await client.post(f"{base}/login", data={"name": name, "password": PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, base)


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(30):
        while not await check():  # noqa: ASYNC110 - it looks from outside
            await asyncio.sleep(0.02)


_django_files = tempfile.TemporaryDirectory()


def configure_django() -> None:
    """Set Django's settings, once per process, with a login form and three users: a superuser, a member of the staff, and neither."""
    import django
    from django.conf import settings
    from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
    from django.urls import path
    from django.views.decorators.csrf import csrf_exempt

    if settings.configured:
        return

    @csrf_exempt
    def signin(request: Any) -> Any:
        from django.contrib.auth import get_user_model, login

        if request.method == "GET":
            return HttpResponse(
                '<form method="post"><input name="name"><button>Sign in</button></form>'
            )
        user = get_user_model().objects.get(username=request.POST["name"])
        login(request, user)
        return HttpResponseRedirect("/jobs")

    urls = types.ModuleType("django_urls")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path("own", lambda _: JsonResponse({"own": "hello"})),
        path("signin", signin),
    ]
    sys.modules["django_urls"] = urls
    auth = ("django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions")
    database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{_django_files.name}/site.db",
    }
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="django_urls",
        SECRET_KEY="test",
        INSTALLED_APPS=auth,
        DATABASES={"default": database},
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    )
    django.setup()


def make_django_users() -> None:
    """Make the tables and users of Django's database, once per process, outside of an event loop."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connections

    configure_django()
    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    if not users.exists():
        users.create(username="ada", is_superuser=True, is_staff=True)
        users.create(username="otto", is_staff=True)
        users.create(username="vera")
    connections.close_all()
