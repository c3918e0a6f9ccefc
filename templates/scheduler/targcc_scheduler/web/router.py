"""Put the scheduler into a web app: a router with pages, API, health and metrics below a single prefix, and its lifespan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.routing import Route

from ..core.identity import IdentityProvider
from ..project import current
from ..scheduler import Scheduler
from ..settings import Settings
from .addresses import address_routes
from .fastapi_compat import both_lifespans, router_with
from .guest import Guest, Outer, compress
from .host_login import HostLogin

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
    """Return the router to include in an app; its lifespan starts and stops the scheduler.

    The app sees two routes: the prefix, and all paths below the prefix. The app's own settings for routes, such as shared dependencies, operation
    names or error handlers, do not reach the pages.

    Args:
        settings: Default: from the environment and ``.env``.
        prefix: Path of pages and API. Default: ``dashboard_path`` of the settings, whose default is ``/jobs``.
        scheduler: Default: a scheduler that starts and stops with the app.
        providers: Identity providers, called before API tokens and passwords.
        identify: See :func:`mount`.
        login_url: See :func:`mount`.
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
    """Put the scheduler into a FastAPI or Starlette app: pages, API, health and metrics below a single prefix, started and stopped with the app.

    Args:
        app: App. Call ``mount`` before a ``mount("/")`` and before any catch-all route.
        prefix: Default: ``dashboard_path`` of the settings, whose default is ``/jobs``.
        identify: Function of the request that identifies the user, or a dependency of a FastAPI app such as its ``current_user``. A plain
            function is called in a thread. The function returns a name and a role (``viewer``, ``operator`` or ``admin``), returns ``None`` for an
            unknown user, or raises ``HTTPException``. With ``identify``, the scheduler has no login page; API tokens still work. Ready-made
            functions: :mod:`.host_users`.
        login_url: Login page of the app; without this address, unknown users get status 401.
        scheduler: Default: a scheduler that starts and stops with the app.
        settings: Default: from the environment and ``.env``.

    Raises:
        TypeError: ``app`` is neither a FastAPI nor a Starlette app; use :func:`with_scheduler`, which takes any ASGI app.
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
) -> Any:
    """Wrap any ASGI app: the scheduler serves requests at the prefix, the app serves the rest.

    Both lifespans are entered, the app's first. An app without a lifespan, such as Django's, needs none.

    Args:
        app: ASGI app that the server ran before.
        prefix: Default: ``dashboard_path`` of the settings, whose default is ``/jobs``.
        scheduler: Default: a scheduler that starts and stops with the app.
        identify: See :func:`mount`.
        login_url: See :func:`mount`.

    Returns:
        ASGI app. The type is open, so that type checkers accept ``app = with_scheduler(app)``.
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
    router = router_with(guest.lifespan)
    router.routes += _routes(guest)
    return router


def _routes(guest: Guest) -> list[Route]:
    paths = (guest.prefix, f"{guest.prefix}/{{path:path}}")
    return [Route(path, guest, name="targcc", include_in_schema=False) for path in paths]


def create_app(settings: Settings | None = None, *, scheduler: Scheduler | None = None) -> FastAPI:
    """Return an app that holds only the scheduler, with the addresses for programs also at ``/api``, ``/health`` and ``/metrics``."""
    app = FastAPI(title=current().name, docs_url=None, redoc_url=None, openapi_url=None)
    compress(app)
    app.include_router(make_router(settings, scheduler=scheduler))
    app.router.routes += root_addresses.routes  # shared by all apps, built once
    return app


root_addresses = APIRouter(routes=address_routes())
"""Routes for an app that holds only jobs: API, health checks and metrics also at ``/api``, ``/health`` and ``/metrics``.
The app's settings for its own routes, such as dependencies, do not reach these routes."""

scheduler_router = make_router()
"""Router for the project's ``main.py``: ``app.include_router(scheduler_router)``."""
