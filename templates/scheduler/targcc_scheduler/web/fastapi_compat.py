"""Lifespans of included routers, annotated parameters and paths below ``root_path``, alike for every release of FastAPI and Starlette."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from copy import copy
from functools import wraps
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.dependencies import utils
from starlette.routing import Match, Route

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def both_lifespans(first: Lifespan, second: Lifespan) -> Lifespan:
    """Join two lifespans into one: start the first, then the second; end the second, then the first."""

    @contextlib.asynccontextmanager
    async def both(app: Any) -> AsyncIterator[Any]:
        async with first(app) as state, second(app):
            yield state

    return both


_LIFESPANS = "_targcc_lifespans"
"""Attribute of a router: the lifespans of the scheduler within. Read before FastAPI 0.112.2 alone."""


def router_with(lifespan: Lifespan) -> APIRouter:
    """Return a router whose lifespan is entered by the app that includes the router, directly or through another router."""
    router = APIRouter(lifespan=lifespan)
    if not _include_merges_lifespans():
        _merge_lifespans_of_the_scheduler()
    setattr(router, _LIFESPANS, (lifespan,))
    return router


def _include_merges_lifespans() -> bool:
    """Return whether ``include_router`` merges lifespans, as since FastAPI 0.112.2."""
    router = APIRouter()
    before = router.lifespan_context
    router.include_router(APIRouter(lifespan=both_lifespans(before, before)))
    return router.lifespan_context is not before or hasattr(APIRouter.include_router, "__wrapped__")


def _merge_lifespans_of_the_scheduler() -> None:
    """Let ``include_router`` merge the lifespans of the scheduler's routers. All other routers stay as they are."""
    include = APIRouter.include_router

    @wraps(include)
    def include_router(self: APIRouter, router: APIRouter, **options: Any) -> None:
        include(self, router, **options)
        for lifespan in getattr(router, _LIFESPANS, ()):
            self.lifespan_context = both_lifespans(self.lifespan_context, lifespan)
            setattr(self, _LIFESPANS, (*getattr(self, _LIFESPANS, ()), lifespan))

    APIRouter.include_router = include_router  # type: ignore[method-assign]


def _paths_include_root() -> bool:
    """Return whether routes expect ``root_path`` at the beginning of ``path``, as since Starlette 0.33."""
    scope = {"type": "http", "method": "GET", "root_path": "/a", "path": "/a/b"}
    return Route("/b", lambda _: None).matches(scope)[0] is Match.FULL


PATHS_INCLUDE_ROOT = _paths_include_root()


def _read_annotated_parameters(fastapi: Any) -> None:
    """Let FastAPI 0.103 read ``Annotated[int, Query(ge=0)]`` beside pydantic 2.12, whose ``from_annotation`` returns no ``Query``.

    Changes nothing where FastAPI reads the parameter itself; elsewhere FastAPI accepts no such parameter in any route.
    """
    query = Query(ge=0)
    copied = getattr(fastapi, "copy_field_info", None)
    if copied is None or hasattr(copied(field_info=query, annotation=Annotated[int, query]), "in_"):
        return

    def copy_field_info(*, field_info: Any, annotation: Any) -> Any:
        merged, parameter = type(field_info).from_annotation(annotation), copy(field_info)
        parameter.metadata, parameter.annotation = merged.metadata, merged.annotation
        return parameter

    fastapi.copy_field_info = copy_field_info


_IS_OLD = not _include_merges_lifespans()


def read_annotated_parameters() -> None:
    """Let FastAPI read ``Annotated[int, Query()]``; called before the first such route."""
    if _IS_OLD:
        _read_annotated_parameters(utils)
