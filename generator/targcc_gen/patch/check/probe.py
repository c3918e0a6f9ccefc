"""Run by the project's own Python: import the app and say what it serves. It uses nothing of ours.

Called as `python -c SOURCE RESULT REQUEST`: the answer to the JSON in REQUEST is written as JSON to the file RESULT.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import json
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer, and leave at once: an app may have started threads that never end."""
    result, request = Path(sys.argv[1]), json.loads(sys.argv[2])
    sys.argv[1:] = []
    try:
        answer = versions(request) if "distributions" in request else look(request)
    except BaseException as error:  # noqa: BLE001 - sys.exit() on import is an answer too
        last = "".join(traceback.format_exception(error)).rstrip().splitlines()
        answer = {"error": "\n".join(last[-6:])}
    result.write_text(json.dumps(answer), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)


def versions(request: dict[str, Any]) -> dict[str, Any]:
    """The installed version of each distribution asked for, and Python's."""
    found: dict[str, str | None] = {}
    for name in request["distributions"]:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return {"versions": found, "python": list(sys.version_info[:2])}


def look(request: dict[str, Any]) -> dict[str, Any]:
    """Import both modules, and see whether the app's router has the scheduler's routes and reaches them."""
    module = importlib.import_module(request["module"])
    router = importlib.import_module(request["scheduler"]).scheduler_router
    app, how = find_app(module, request)
    if app is None:
        return {"looked": how}
    included = [route for route in app.routes if is_ours(route, router)]
    if not included:
        return {"error": f"{how} is there, but it does not include scheduler_router"}
    return {"looked": how, "shadowed": shadowed(app, router), "hidden": hidden(app, router)}


def find_app(module: Any, request: dict[str, Any]) -> tuple[Any, str]:
    """The app and what it was found as; `None` and why it was not looked at."""
    for name in request["names"]:
        app = unwrapped(getattr(module, name, None))
        if app is not None:
            return app, f"{request['module']}:{name}"
    factory = getattr(module, request["factory"] or "", None)
    if factory is None or inspect.iscoroutinefunction(factory):
        return None, "imported"
    needed = [
        parameter
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        return None, f"imported; {request['factory']} was not called, it needs {needed[0].name}"
    return unwrapped(factory()), f"{request['module']}:{request['factory']}()"


def unwrapped(app: Any) -> Any:
    """The FastAPI app inside its middlewares, or `None`."""
    from fastapi import FastAPI

    for _ in range(20):
        if isinstance(app, FastAPI):
            return app
        app = getattr(app, "app", None)
    return None


def leaves(routes: Any, prefix: str = "") -> Any:
    """Each route with its full path; newer FastAPI keeps an included router as one route, older copies it."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            more = getattr(getattr(route, "include_context", None), "prefix", "") or ""
            yield from leaves(inner.routes, prefix + more)
        elif getattr(route, "path", None) is not None:
            yield route, prefix + route.path


def endpoints(router: Any) -> set[int]:
    """The scheduler's functions, by identity."""
    return {id(getattr(route, "endpoint", route)) for route, _ in leaves(router.routes)}


def is_ours(route: Any, router: Any) -> bool:
    """Whether a route of the app is the included router, or one that was copied from it."""
    if getattr(route, "original_router", None) is router:
        return True
    return id(getattr(route, "endpoint", None)) in endpoints(router)


def matches(route: Any, path: str, method: str) -> bool:
    """Whether the route answers."""
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


def examples(routes: Any) -> Any:
    """A request for each route: parameters become `1`."""
    for route, path in leaves(routes):
        for method in sorted(getattr(route, "methods", None) or {"GET"}):
            if method not in {"HEAD", "OPTIONS"}:
                yield method, path, re.sub(r"\{[^}]*\}", "1", path)


def shadowed(app: Any, router: Any) -> list[str]:
    """The scheduler's routes that another route answers first."""
    found = []
    for method, path, example in examples(route for route in app.routes if is_ours(route, router)):
        first = next((route for route in app.routes if matches(route, example, method)), None)
        if first is not None and not is_ours(first, router):
            found.append(f"{method} {path}")
    return found


def hidden(app: Any, router: Any) -> list[str]:
    """The app's own routes that the scheduler now answers."""
    found = []
    for method, path, example in examples(
        route for route in app.routes if not is_ours(route, router)
    ):
        first = next((route for route in app.routes if matches(route, example, method)), None)
        if first is not None and is_ours(first, router):
            found.append(f"{method} {path}")
    return found


if __name__ == "__main__":
    main()
