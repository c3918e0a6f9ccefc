"""Routes of the API, health checks and metrics, below a prefix and at the root.

The paths are listed here, so that a process has the routes before importing the API. The import of all parts takes 8 MiB and a third of a
second; a request imports the part that has its path.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, cached_property
from importlib import import_module
from typing import Any

from fastapi import APIRouter
from starlette.routing import BaseRoute, Match, Route

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
    return [
        Route(f"{prefix}{path}", HeadersOnly(_Answers(prefix, path)), include_in_schema=False)
        for path in (*PATHS, *_feature_paths())
    ]


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
    """The ASGI app behind a route; passes requests to the part of the API that has the path.

    Args:
        prefix: The prefix of the pages.
        path: The path below the prefix.
    """

    def __init__(self, prefix: str, path: str) -> None:
        self._prefix = prefix
        self._path = path

    @cached_property
    def _routers(self) -> tuple[str, ...]:
        return routers(self._path)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._part(scope)(scope, receive, send)

    def _part(self, scope: Any) -> APIRouter:
        """Return the part with a route for the request, else the part that knows the path with another method."""
        nearest, so_far = APIRouter(), Match.NONE
        for router in self._routers:
            part = answering(self._prefix, router)
            match = max((route.matches(scope)[0] for route in part.routes), key=_how_well)
            if match is Match.FULL:
                return part
            if match is Match.PARTIAL and so_far is Match.NONE:
                nearest, so_far = part, match
        return nearest


def _how_well(match: Match) -> int:
    return match.value


@cache
def answering(prefix: str, router: str) -> APIRouter:
    """Return the routes of a router, as :func:`routers` names it, below a prefix. FastAPI builds the routes once, at the first request."""
    below = APIRouter()
    below.include_router(imported(router), prefix=prefix, include_in_schema=False)
    return below


# Parts of the API, health checks and metrics by the beginning of the path, so that a process imports few of the modules.

_KERNEL = {
    "jobs": "api.jobs",
    "jobs/*/trigger/files": "api.files",
    "history": "api.jobs",
    "chains": "api.jobs",
    "runs": "api.runs",
    "runs/*/files": "api.files",
    "runs/*/events": "api.events",
    "runs/*/log.txt": "api.events",
    "events": "api.events",
    "limits": "api.limits",
    "": "api.system",
    "openapi.json": "openapi",
    "docs": "openapi",
    "/health": "health",
    "/metrics": "health",
}
"""Modules of the kernel by the beginning of the path after ``/api/``."""


def routers(path: str) -> tuple[str, ...]:
    """Return the routers that may serve a path such as ``/api/jobs/DailyReport/why``, as ``module:name``, most likely first."""
    patterns = [(pattern, f"{__package__}.{module}:router") for pattern, module in _KERNEL.items()]
    patterns += [
        (pattern, f"{feature.package}.{part.ref}")
        for feature, part in feature_parts(Routes)
        for pattern in part.paths
    ]
    matching = [pair for pair in patterns if _begins(path.removeprefix("/api/"), pair[0])]
    matching.sort(key=lambda pair: len(pair[0]), reverse=True)
    anywhere = [
        f"{feature.package}.{part.ref}" for feature, part in feature_parts(Routes) if not part.paths
    ]
    return tuple(dict.fromkeys([*(router for _, router in matching), *anywhere]))


def imported(router: str) -> APIRouter:
    """Import a router, as :func:`routers` names it."""
    module, _, name = router.partition(":")
    found: APIRouter = getattr(import_module(module), name)
    return found


def _begins(path: str, pattern: str) -> bool:
    """Return whether a path begins with the segments of a pattern; ``*`` is any segment."""
    segments, pattern_segments = path.split("/"), pattern.split("/") if pattern else []
    return len(segments) >= len(pattern_segments) and all(
        expected in {"*", segment}
        for segment, expected in zip(segments, pattern_segments, strict=False)
    )
