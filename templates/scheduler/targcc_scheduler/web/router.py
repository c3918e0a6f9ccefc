"""The scheduler as part of a FastAPI app: one router with everything below one prefix, and its own lifespan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.routing import Route

from ..features.accounts.providers import IdentityProvider
from ..features.hosts.addresses import address_routes
from ..features.hosts.guest import Guest, Outer, both_lifespans, compress
from ..features.hosts.login import HostLogin
from ..project import current
from ..scheduler import Scheduler
from ..settings import Settings

__all__ = [
    "create_app",
    "make_router",
    "mount",
    "root_addresses",
    "scheduler_router",
    "with_scheduler",
]


def make_router(
    settings: Settings | None = None,
    *,
    prefix: str | None = None,
    scheduler: Scheduler | None = None,
    providers: Sequence[IdentityProvider] = (),
    identify: Callable[..., Any] | None = None,
    login_url: str = "",
) -> APIRouter:
    """The router to include in an app; its lifespan starts and stops the scheduler.

    To the app it is two routes, the prefix and what is below it: whatever the app does to its own routes, such as dependencies for all of
    them, names of operations or error handlers, does not reach the pages.

    Args:
        settings: Default: from the environment and ``.env``.
        prefix: Where everything is. Default: ``dashboard_path`` of the settings, which is ``/jobs``.
        scheduler: Default: one is made when the app starts, and stopped when it stops.
        providers: Ways to know who sends a request, besides API tokens and passwords; asked before those.
        identify: As :func:`mount` has it, with the next.
        login_url: Where people sign in to the app.
    """
    return _router(
        _guest(settings, prefix, scheduler, providers, identify=identify, login_url=login_url)
    )


def mount(
    app: Starlette,
    prefix: str | None = None,
    *,
    identify: Callable[..., Any] | None = None,
    login_url: str = "",
    scheduler: Scheduler | None = None,
    settings: Settings | None = None,
) -> None:
    """Put the scheduler into a FastAPI or Starlette app: pages, API, health and metrics below one prefix, started and stopped with the app.

    Args:
        app: The app; call it before a ``mount("/")`` and any route that catches all.
        prefix: Default: ``dashboard_path`` of the settings, which is ``/jobs``.
        identify: Says who asks: a function of the request, or a dependency of a FastAPI app such as its ``current_user``. A plain
            function is called in a thread. It returns a name and a role (``viewer``, ``operator`` or ``admin``), or ``None`` for somebody unknown, or raises ``HTTPException``. With it
            there is no login page here; API tokens work as ever.
        login_url: Where people sign in to the app; without it they get the status 401.
        scheduler: Default: one is made when the app starts.
        settings: Default: from the environment and ``.env``.

    Raises:
        TypeError: this is neither a FastAPI nor a Starlette app: :func:`with_scheduler` takes any.
    """
    if not isinstance(app, Starlette):
        raise TypeError(
            f"mount() takes a FastAPI or Starlette app, not {type(app).__qualname__}: wrap it, app = with_scheduler(app)"
        )
    _mount(app, _guest(settings, prefix, scheduler, (), identify=identify, login_url=login_url))


def with_scheduler(
    app: Any,
    prefix: str | None = None,
    *,
    scheduler: Scheduler | None = None,
    identify: Callable[..., Any] | None = None,
    login_url: str = "",
) -> Outer:
    """Any ASGI app with the scheduler in front of it: requests at the prefix are the scheduler's, all others the app's.

    The lifespans of both are entered, the app's first; an app that has none, such as Django's, needs none.

    Args:
        app: What the server got before.
        prefix: Default: ``dashboard_path`` of the settings, which is ``/jobs``.
        scheduler: Default: one is made when the app starts, and stopped when it stops.
        identify: As :func:`mount` has it, with the next.
        login_url: Where people sign in to the app.
    """
    return Outer(app, _guest(None, prefix, scheduler, (), identify=identify, login_url=login_url))


def _guest(
    settings: Settings | None,
    prefix: str | None,
    scheduler: Scheduler | None,
    providers: Sequence[IdentityProvider],
    *,
    identify: Callable[..., Any] | None,
    login_url: str,
) -> Guest:
    settings = settings or (scheduler.settings if scheduler is not None else Settings())
    if prefix is not None:
        settings = settings.at(prefix)
    login = HostLogin(identify, login_url) if identify is not None else None
    return Guest(settings, scheduler, providers=providers, login=login)


def _mount(app: Starlette, guest: Guest) -> None:
    if isinstance(app, FastAPI):
        app.include_router(_router(guest))
        return
    app.router.routes += _routes(guest)
    app.router.lifespan_context = both_lifespans(app.router.lifespan_context, guest.lifespan)


def _router(guest: Guest) -> APIRouter:
    router = APIRouter(lifespan=guest.lifespan)
    router.routes += _routes(guest)
    return router


def _routes(guest: Guest) -> list[Route]:
    paths = (guest.prefix, f"{guest.prefix}/{{path:path}}")
    return [Route(path, guest, name="targcc", include_in_schema=False) for path in paths]


def create_app(settings: Settings | None = None, *, scheduler: Scheduler | None = None) -> FastAPI:
    """An app that is nothing but the scheduler; what programs ask is also at ``/api``, ``/health`` and ``/metrics``."""
    app = FastAPI(title=current().name, docs_url=None, redoc_url=None, openapi_url=None)
    compress(app)
    app.include_router(make_router(settings, scheduler=scheduler))
    app.router.routes += root_addresses.routes  # the same ones in every app, worked out once
    return app


root_addresses = APIRouter(routes=address_routes())
"""For an app that is nothing but jobs: the API, the health checks and the metrics at ``/api``, ``/health`` and ``/metrics``, too.
What the app sets for its own routes, such as dependencies, does not reach these."""

scheduler_router = make_router()
"""For the project's ``main.py``: ``app.include_router(scheduler_router)``."""
