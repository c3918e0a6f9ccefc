"""The scheduler as part of a FastAPI app: one router with the dashboard, the REST API, the health checks and its own lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI

from ..project import current
from ..scheduler import Scheduler
from ..security.providers.base import IdentityProvider
from ..security.providers.registry import standard_providers
from ..settings import Settings
from . import health, openapi
from .api import router as api
from .dashboard import router as dashboard
from .metrics import Metrics
from .state import Web

__all__ = ["create_app", "make_router", "scheduler_router"]


def make_router(
    settings: Settings | None = None,
    *,
    scheduler: Scheduler | None = None,
    providers: Sequence[IdentityProvider] = (),
) -> APIRouter:
    """The router to include in an app; its lifespan starts and stops the scheduler.

    Args:
        settings: Default: from the environment and ``.env``.
        scheduler: Default: one is made when the app starts, and stopped when it stops.
        providers: Ways to know who sends a request, besides API tokens and passwords; asked before those.
    """
    settings = settings or (scheduler.settings if scheduler is not None else Settings())
    router = APIRouter(lifespan=_lifespan(settings, scheduler, providers))
    # Not in the app's own schema, which is open to everybody; /api/docs shows the API to who is signed in.
    router.include_router(api.router, include_in_schema=False)
    router.include_router(openapi.router)
    router.include_router(health.router)
    for pages in dashboard.ROUTERS:
        router.include_router(pages, prefix=settings.dashboard_path)
    return router


def _lifespan(
    settings: Settings, scheduler: Scheduler | None, providers: Sequence[IdentityProvider]
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        running = scheduler or Scheduler(settings)
        work = getattr(app.state, "targcc_work", True)
        await running.start(work=work, schedule=work)
        metrics = Metrics(running)
        await metrics.start()
        app.state.targcc = Web(running, metrics, (*providers, *standard_providers(running)))
        app.state.targcc_dashboard_path = settings.dashboard_path
        try:
            yield
        finally:
            app.state.targcc = None
            await running.stop()

    return lifespan


def create_app(settings: Settings | None = None, *, scheduler: Scheduler | None = None) -> FastAPI:
    """An app that is nothing but the scheduler."""
    app = FastAPI(title=current().name, docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(make_router(settings, scheduler=scheduler))
    return app


scheduler_router = make_router()
"""For the project's ``main.py``: ``app.include_router(scheduler_router)``."""
