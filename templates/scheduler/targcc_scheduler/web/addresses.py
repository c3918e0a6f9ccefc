"""Routes of the API, health checks and metrics, below a prefix and at the root.

The paths are listed here, so that a process has the routes before importing the API. The import takes 8 MiB and a third of a second, and
few processes ever get an API request.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from fastapi import APIRouter
from starlette.routing import BaseRoute, Route

from ..kernel.feature import Routes
from ..kernel.feature import parts as feature_parts
from .fastapi_compat import PATHS_INCLUDE_ROOT
from .headers_only import HeadersOnly

# Paths of the API, the OpenAPI document, the health checks and the metrics. A test compares the list with the routes.

PATHS = (
    "/api/jobs",
    "/api/chains",
    "/api/jobs/{name}",
    "/api/jobs/{name}/trigger",
    "/api/jobs/{name}/history",
    "/api/history",
    "/api/jobs/{name}/stats",
    "/api/jobs/{name}/pause",
    "/api/jobs/{name}/resume",
    "/api/runs",
    "/api/runs/{run_id}",
    "/api/runs/{run_id}/log",
    "/api/runs/{run_id}/cancel",
    "/api/runs/{run_id}/fail",
    "/api/runs/{run_id}/retry",
    "/api/jobs/{name}/trigger/files",
    "/api/runs/{run_id}/files",
    "/api/runs/{run_id}/files/{file_id}",
    "/api/limits",
    "/api/runs/{run_id}/events",
    "/api/events",
    "/api/runs/{run_id}/log.txt",
    "/api/system",
    "/api/queues",
    "/api/queues/{name}",
    "/api/queues/{name}/pause",
    "/api/queues/{name}/resume",
    "/api/servers",
    "/api/servers/{name}/busy",
    "/api/servers/{name}/drain",
    "/api/servers/{name}/resume",
    "/api/releases",
    "/api/releases/{name}/use",
    "/api/sessions",
    "/api/sessions/{session_id}",
    "/api/tokens",
    "/api/users",
    "/api/views",
    "/api/views/{name}",
    "/api/overrides",
    "/api/jobs/{name}/overrides",
    "/api/owners",
    "/api/jobs/{name}/owner",
    "/api/batches",
    "/api/batches/{batch_id}",
    "/api/batches/{batch_id}/cancel",
    "/api/batches/{batch_id}/retry",
    "/api/batches/{batch_id}/events",
    "/api/flows",
    "/api/flows/{flow_id}",
    "/api/flows/{flow_id}/cancel",
    "/api/flows/{flow_id}/rerun",
    "/api/flows/{flow_id}/events",
    "/api/calendar",
    "/api/timeline",
    "/api/jobs/{name}/trend",
    "/api/heatmap",
    "/api/inbox",
    "/api/inbox/{cause}",
    "/api/inbox/{cause}/runs",
    "/api/seen",
    "/api/jobs/{name}/backfill",
    "/api/jobs/{name}/why",
    "/api/runs/{run_id}/why",
    "/api/bulk/count",
    "/api/bulk",
    "/api/bulk/{bulk_id}",
    "/api/bulk/{bulk_id}/stop",
    "/api/bulk/{bulk_id}/undo",
    "/api/calendars",
    "/api/calendars/{name}",
    "/api/maintenance",
    "/api/maintenance/{window_id}",
    "/api/webhooks",
    "/api/webhooks/{webhook_id}/rotate",
    "/api/webhooks/{webhook_id}",
    "/api/webhooks/{webhook_id}/disable",
    "/api/webhooks/{webhook_id}/enable",
    "/api/webhooks/{webhook_id}/test",
    "/api/webhooks/{webhook_id}/deliveries",
    "/api/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
    "/api/audit",
    "/api/audit/export",
    "/api/audit/verify",
    "/api/openapi.json",
    "/api/docs",
    "/health/live",
    "/health/ready",
    "/metrics",
)


# Scopes for pages below one prefix of a host; the host may be behind a proxy, mounted, or included with a prefix.

Scope = Any
"""An ASGI scope: a mutable mapping."""


def path_within(scope: Scope) -> str:
    """Return the path of a request without the host's ``root_path``, as the host's own routes see the path."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if path == root or path.startswith(f"{root}/") else path


def is_below(path: str, prefix: str) -> bool:
    """Return whether a path is the prefix or below the prefix."""
    return path == prefix or path.startswith(f"{prefix}/")


def scope_below(scope: Scope, prefix: str) -> Scope:
    """Return the scope for an app whose routes begin with ``prefix``; the host's path before the prefix moves into ``root_path``.

    Args:
        scope: The host's scope. When a route of the host matched, the path parameter ``path`` holds the rest after the prefix.
        prefix: The prefix of the app, such as ``/jobs``. The path may have more segments before, as when the host includes the router
            with a prefix.
    """
    path, root = path_within(scope), str(scope.get("root_path", "")).rstrip("/")
    matched = scope.get("path_params")
    if matched is not None:
        base = path[: len(path) - len(matched.get("path", ""))].rstrip("/")
        before = base.removesuffix(prefix)
        root, path = root + before, path[len(before) :]
    whole = root + path if PATHS_INCLUDE_ROOT else path
    return {**scope, "root_path": root, "path": whole, "path_params": {}}


# Routes for ``/api``, ``/health`` and ``/metrics``, below a prefix or at the root of an app of the scheduler alone.


def address_routes(prefix: str = "") -> list[BaseRoute]:
    """Return one route for each path; the first request imports the endpoints."""
    answers, paths = HeadersOnly(_Answers(prefix)), [*PATHS, *_feature_paths()]
    return [Route(f"{prefix}{path}", answers, include_in_schema=False) for path in paths]


def _feature_paths() -> Iterator[str]:
    """Yield the paths of the API of the project's own features, where possible without importing the API."""
    for feature, part in feature_parts(Routes):
        if feature.is_built_in:
            continue
        for pattern in part.paths:
            path = f"/api/{pattern}"
            while "*" in path:
                path = path.replace("*", f"{{segment{path.count('{')}}}", 1)
            yield from (path, f"{path}/{{rest:path}}")
        if not part.paths:
            yield from (route.path for route in feature.load(part).routes)


class _Answers:
    """The ASGI app behind each route; passes requests to the router of its prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await answering(self._prefix)(scope, receive, send)


@cache
def answering(prefix: str) -> APIRouter:
    """Return the router of the API, health checks and metrics below a prefix. FastAPI builds the routes once, at the first request."""
    router = APIRouter()
    for part in parts():
        router.include_router(part, prefix=prefix, include_in_schema=False)
    return router


def parts() -> tuple[APIRouter, ...]:
    """Return the routers of the API, the OpenAPI document, the health checks and metrics; the import takes a third of a second."""
    from . import health, openapi
    from .api import router

    return (*router.PARTS, *openapi.PARTS, health.router)
