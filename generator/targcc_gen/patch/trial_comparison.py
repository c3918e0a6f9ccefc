"""Compare an app's routes, OpenAPI and middleware with before the patch. The project's own Python runs this file.

The file imports nothing from targcc_gen.
"""

from __future__ import annotations

import importlib
import json
import re
from collections import Counter
from typing import Any


def described(app: Any) -> dict[str, Any]:
    """Return an app's routes, middleware and OpenAPI as comparable values."""
    inner = routed(app)
    if inner is None:
        return {"routes": None}
    try:
        schema = inner.openapi() if hasattr(inner, "openapi") else None
    except Exception as error:  # noqa: BLE001 - the app's own fault
        schema = {"fails": type(error).__name__}
    return {
        "routes": [signature(route) for route in inner.routes],
        "middleware": [
            shown(middleware.cls) for middleware in getattr(inner, "user_middleware", ())
        ],
        "openapi": json.loads(json.dumps(schema, default=str)),
    }


def shown(kind: Any) -> str:
    """Return the qualified name of a class or function with its module."""
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', repr(type(kind)))}"


def routed(app: Any) -> Any:
    """Return the app with routes inside its wrappers, or `None`."""
    routed_apps = (
        wrapper for wrapper in wrappers(app) if isinstance(getattr(wrapper, "routes", None), list)
    )
    return next(routed_apps, None)


def wrappers(app: Any) -> Any:
    """Yield the app and the apps inside its wrappers, outermost first."""
    for _ in range(20):
        if app is None:
            return
        yield app
        inner = (getattr(app, name, None) for name in ("app", "application", "_app"))
        app = next((inner_app for inner_app in inner if inner_app), None)


def in_front(app: Any) -> str:
    """Return the prefix that `with_scheduler` serves in front of the app; empty without `with_scheduler`."""
    outer = (wrapper for wrapper in wrappers(app) if is_from(wrapper, _OUTER))
    return next((str(wrapper.prefix) for wrapper in outer), "")


def prefix_of(app: Any) -> str:
    """Return the scheduler's prefix from the app's wrappers or routes; empty when the app has none."""
    if prefix := in_front(app):
        return prefix
    inner = routed(app)
    for route, path in leaves(inner.routes) if inner is not None else ():
        if is_from(getattr(route, "endpoint", None), _GUEST) and "{" not in path:
            return str(path)
    return ""


_GUEST = (".web.guest:Guest", ".web.hosts.guest:Guest")
_OUTER = (".web.guest:Outer", ".web.hosts.outer:Outer")
"""Classes of the scheduler, in this release and in copies of the release before."""


def is_from(value: Any, classes: tuple[str, ...]) -> bool:
    """Whether a value is an instance of a scheduler class, from a vendored copy or from the package."""
    return f"{type(value).__module__}:{type(value).__name__}".endswith(classes)


def signature(route: Any) -> list[Any]:
    """Return the part of a route that must not change: kind, path, methods, name, operation id, inner routes."""
    router = getattr(route, "original_router", None)
    inner = getattr(router, "routes", None) or getattr(getattr(route, "app", None), "routes", None)
    return [
        type(route).__name__,
        str(getattr(route, "path", "")),
        sorted(getattr(route, "methods", None) or ()),
        str(getattr(route, "name", "")),
        str(getattr(route, "operation_id", None) or getattr(route, "unique_id", "")),
        [signature(item) for item in inner] if isinstance(inner, list) else [],
    ]


def leaves(routes: Any, prefix: str = "") -> Any:
    """Yield each route with its full path. Newer FastAPI keeps an included router as one route; older FastAPI copies it."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            more = getattr(getattr(route, "include_context", None), "prefix", "") or ""
            yield from leaves(inner.routes, prefix + more)
        elif getattr(route, "path", None) is not None:
            parts = getattr(route, "routes", None)  # the routes of a mounted app
            mounted = isinstance(parts, list) and parts and not hasattr(route, "endpoint")
            yield from (
                leaves(parts, prefix + route.path) if mounted else [(route, prefix + route.path)]
            )


def examples(routes: Any) -> Any:
    """Yield an example request for each route and method; path parameters become `1`."""
    for route, path in leaves(routes):
        for method in sorted(getattr(route, "methods", None) or {"GET"}):
            if method not in {"HEAD", "OPTIONS"}:
                yield method, path, re.sub(r"\{[^}]*\}", "1", path) or "/"


def matches(route: Any, path: str, method: str) -> bool:
    """Whether the route answers the request."""
    from starlette.routing import Match

    scope = {
        "type": "http",
        "path": path,
        "root_path": "",
        "method": method,
        "headers": [],
        "query_string": b"",
    }
    return bool(route.matches(scope)[0] is Match.FULL)


def compare(before: dict[str, Any] | None, app: Any, prefix: str) -> dict[str, Any]:
    """Return the changes of the app's own routes, OpenAPI and middleware, and the routes that other routes hide."""
    inner, front = routed(app), in_front(app)
    if inner is None:
        return {"hidden": [path for path in other_paths(app) if front and is_below(path, front)]}
    after = described(app)
    if before is None or before.get("routes") is None:
        ours = [is_ours(route) for route in inner.routes]
    else:
        ours = added(before["routes"], after["routes"])
    app_routes = [
        route_entry for route_entry, is_own in zip(after["routes"], ours, strict=True) if not is_own
    ]
    answer = {
        "shadowed": crossing(inner.routes, ours, own=True),
        "hidden": crossing(inner.routes, ours, own=False),
    }
    if front:
        answer["hidden"] = [
            f"{method} {path}"
            for route, is_own in zip(inner.routes, ours, strict=True)
            for method, path, example in examples([] if is_own else [route])
            if is_below(example, front)
        ]
    if before is not None and before.get("routes") is not None:
        answer["routes"] = [
            route_entry[1] for route_entry in before["routes"] if route_entry not in app_routes
        ]
        if not answer["routes"] and before["routes"] != app_routes:
            answer["routes"] = ["their order"]
        answer["middleware"] = before["middleware"] != after["middleware"]
        answer["openapi"] = schema_changes(before["openapi"], after["openapi"], prefix)
    return answer


def is_below(path: str, prefix: str) -> bool:
    """Whether a path is the prefix or below the prefix."""
    return path == prefix or path.startswith(f"{prefix}/")


def other_paths(app: Any) -> Any:
    """Yield the paths of a Django or Flask app."""
    for wrapper in wrappers(app):
        if hasattr(wrapper, "url_map"):
            yield from (rule.rule for rule in wrapper.url_map.iter_rules())
        elif type(wrapper).__module__.startswith("django."):
            resolver = importlib.import_module("django.urls").get_resolver()
            yield from django_paths(resolver.url_patterns, "/")


def django_paths(patterns: Any, before: str) -> Any:
    """Yield the paths of URL patterns and included patterns, as written without a leading `^`."""
    for pattern in patterns:
        path = before + str(pattern.pattern).lstrip("^/")
        inner = getattr(pattern, "url_patterns", None)
        yield from [path] if inner is None else django_paths(inner, path)


def is_ours(route: Any) -> bool:
    """Whether a route is the scheduler's, by the modules of its endpoints; used without routes from before the patch."""
    modules = [getattr(item, "endpoint", None) for item, _ in leaves([route])]
    names = [f".{getattr(item, '__module__', '')}" for item in modules]
    return bool(names) and all(
        ".scheduler." in name or name.startswith(".targcc_scheduler.") for name in names
    )


def added(before: list[Any], after: list[Any]) -> list[bool]:
    """Return a flag for each route: whether the patch added the route."""
    known = Counter(map(json.dumps, before))
    result = []
    for dump in map(json.dumps, after):
        result.append(not known[dump])
        known[dump] -= bool(known[dump])
    return result


def crossing(routes: Any, ours: list[bool], *, own: bool) -> list[str]:
    """Return the scheduler's routes that the app answers first; with `own=False`, the app's that the scheduler answers first."""
    of_other = [(i, candidate) for i, candidate in enumerate(routes) if ours[i] is not own]
    result = []
    for index, route in enumerate(routes):
        if ours[index] is not own:
            continue
        for method, path, example in examples([route]):
            other = next(
                (i for i, candidate in of_other if matches(candidate, example, method)), index
            )
            if other < index and not any(
                matches(candidate, example, method)
                for candidate, is_ours in zip(routes[:other], ours, strict=False)
                if is_ours is own
            ):
                result.append(f"{method} {path}")
    return result


def schema_changes(before: Any, after: Any, prefix: str) -> list[str]:
    """Return the parts of the app's OpenAPI that differ, without the scheduler's prefix."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return [] if before == after else ["all of it"]
    paths = {
        path: operation
        for path, operation in after.get("paths", {}).items()
        if not path.startswith(prefix)
    }
    changed = [
        path for path in before.get("paths", {}) if before["paths"][path] != paths.get(path)
    ] + [path for path in paths if path not in before.get("paths", {})]
    rest = {"paths", "components", "tags"}
    changed += [key for key in {*before, *after} - rest if before.get(key) != after.get(key)]
    return sorted(changed)
