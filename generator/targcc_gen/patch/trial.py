"""Load the app as its server does, start the app, and report its routes. The project's own Python runs this file.

The file imports nothing from targcc_gen. Usage: `python -c SOURCE RESULT REQUEST` reads JSON from the file REQUEST and writes the answer
as JSON to the file RESULT. The process ends when its standard input closes, that is with its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import importlib.metadata
import inspect
import json
import os
import runpy
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

_LAST_LINES = 6
_MOST_LINES = 60
_START_SECONDS = 3
"""Seconds that an app has, after its lifespan startup, to start the scheduler; a start in the background counts."""


class Served(BaseException):
    """Raised when a script starts a server; has the app and the server's options."""

    def __init__(self, app: Any, options: dict[str, Any]) -> None:
        super().__init__("served")
        self.app, self.options = app, options


def main() -> None:
    """Write the answer and exit at once, since an app may have started threads that do not end."""
    result, request = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    sys.argv[1:] = []
    end_with_parent()
    try:
        answer = versions(request) if "distributions" in request else look(request)
    except BaseException as error:  # noqa: BLE001 - sys.exit() on import is an answer too
        answer = {"error": last_lines(error)}
    draft = result.with_suffix(".draft")
    draft.write_text(json.dumps(answer), encoding="utf-8")
    draft.replace(result)
    sys.stdout.flush()
    os._exit(0)


def last_lines(error: BaseException) -> str:
    """Return the last lines of a traceback, with the whole message unless it is very long."""
    message = "".join(traceback.format_exception_only(error)).splitlines()
    lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
    return "\n".join(lines[-min(max(_LAST_LINES, len(message)), _MOST_LINES) :])


def end_with_parent() -> None:
    """Kill this process and its children when the parent closes standard input; give the app an empty input."""
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(lifeline, 64):
                pass
        if sys.platform == "win32":
            command = ["taskkill", "/T", "/F", "/PID", str(os.getpid())]
            subprocess.run(command, check=False, capture_output=True)
        elif os.getpgid(0) == os.getpid():  # the process group is ours alone
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, name="targcc-trial", daemon=True).start()


def versions(request: dict[str, Any]) -> dict[str, Any]:
    """Return the installed version of each requested distribution, and Python's version."""
    result: dict[str, str | None] = {}
    for name in request["distributions"]:
        try:
            result[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            result[name] = None
    return {"versions": result, "python": list(sys.version_info[:2])}


def look(request: dict[str, Any]) -> dict[str, Any]:
    """Load the app and describe its routes; for a `start` request, start the app and wait for a job."""
    app, options = load(request)
    if request.get("start"):
        lifespan = str(options.get("lifespan") or request["lifespan"])
        loop = (
            asyncio.new_event_loop()
        )  # not closed: a task that does not end must not block the exit
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(Trial(app, request).run(lifespan))
    answer: dict[str, Any] = comparing().described(app)
    return answer


def comparing() -> Any:
    """Import `trial_comparison`, copied to a folder on Python's path."""
    return importlib.import_module("targcc_trial_compare")


def load(request: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the app that the server loads, and the server options of a script."""
    catch_servers()
    try:
        if request.get("script"):
            folder = str(Path(request["script"]).parent.resolve())
            sys.path.insert(0, folder)
            runpy.run_path(request["script"], run_name="__main__")
            raise SystemExit(f"{request['script']} ended without serving an app")
        return named(request["module"], request["name"], factory=request["factory"]), {}
    except Served as served:
        if isinstance(served.app, str):
            module, _, name = served.app.partition(":")
            factory = bool(served.options.get("factory"))
            return named(module, name, factory=factory), served.options
        return served.app, served.options


def named(module: str, name: str, *, factory: bool) -> Any:
    """Return an app by module and name, as a server does; call a factory, or a function without parameters."""
    value: Any = importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    plain = inspect.isfunction(value) and not inspect.iscoroutinefunction(value)
    return value() if factory or (plain and not inspect.signature(value).parameters) else value


def catch_servers() -> None:
    """Replace uvicorn's server functions, so that a call raises `Served` with the app."""

    def serve(app: Any, *_: Any, **options: Any) -> None:
        raise Served(app, options)

    def serve_config(server: Any, *_: Any, **__: Any) -> None:
        raise Served(server.config.app, {"lifespan": server.config.lifespan})

    with contextlib.suppress(ImportError):
        import uvicorn

        uvicorn.run = serve
        uvicorn.Server.run = serve_config  # type: ignore[assignment]
        uvicorn.Server.serve = serve_config  # type: ignore[assignment]


class Trial:
    """Start an app as its server does.

    Args:
        app: The loaded app.
        request: The request's JSON.
    """

    def __init__(self, app: Any, request: dict[str, Any]) -> None:
        self.app = app
        self.request = request
        self.called = threading.Event()

    async def run(self, lifespan: str) -> dict[str, Any]:
        """Start the app's lifespan, check the scheduler and the routes, and stop."""
        self._watch()
        if lifespan == "off":
            return await self._look("its server runs with lifespan off")
        if path := mounted_at(self.app):
            why = f"another app mounts it at {path}, and a server does not run the lifespan of a mounted app"
            return await self._look(why) | {"mounted": path}
        loop = asyncio.get_running_loop()
        messages: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        answered: dict[str, asyncio.Future[dict[str, Any]]] = {
            "startup": loop.create_future(),
            "shutdown": loop.create_future(),
        }

        async def send(message: dict[str, Any]) -> None:
            future = answered[message["type"].split(".")[1]]
            if not future.done():
                future.set_result(message)

        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        task = asyncio.ensure_future(self._call(scope, messages.get, send))
        messages.put_nowait({"type": "lifespan.startup"})
        both: list[asyncio.Future[Any]] = [task, answered["startup"]]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not answered["startup"].done():
            reason = task.exception()
            if lifespan == "on" and reason is not None:
                return {"error": last_lines(reason), "stage": "start"}
            why = f" ({type(reason).__name__}: {reason})" if reason else ""
            return await self._look(f"what the server loads has no lifespan{why}")
        if answered["startup"].result()["type"].endswith("failed"):
            text = answered["startup"].result().get("message") or "its startup failed"
            return {"error": "\n".join(text.rstrip().splitlines()[-_LAST_LINES:]), "stage": "start"}
        answer = await self._look("")
        messages.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait([task], timeout=20)
        return answer

    async def _call(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)

    def _watch(self) -> None:
        """Set `called` when any code starts a scheduler."""
        if not self.request.get("scheduler"):
            return
        kind = importlib.import_module(self.request["scheduler"]).Scheduler
        for name in ("start", "start_in_background"):
            if start := getattr(kind, name, None):
                setattr(kind, name, self._noticing(start))

    def _noticing(self, start: Any) -> Any:
        def noticed(scheduler: Any, *values: Any, **options: Any) -> Any:
            self.called.set()
            return start(scheduler, *values, **options)

        return noticed

    async def _look(self, problem: str) -> dict[str, Any]:
        if not self.request.get("scheduler"):
            return {"started": True}
        wait = 0 if problem else _START_SECONDS
        if not await until(self.called.is_set, wait):
            return {"unserved": problem or "the app starts, but not the scheduler"}
        seen = Path(self.request["seen"])
        if not await until(seen.exists, self.request["seconds"]):
            return {"error": "the scheduler starts, but its first job does not run", "stage": "job"}
        database = Path(self.request["database"])
        if not await asyncio.to_thread(database.exists):
            return {"elsewhere": "the app sets the scheduler's database itself"}
        if not await until(lambda: finished(database), self.request["seconds"]):
            text = "the first job of the scheduler ran, and its run did not end as succeeded"
            return {"error": text, "stage": "job"}
        compared: dict[str, Any] = comparing().compare(
            self.request.get("before"), self.app, self.prefix
        )
        return compared | {"pages": await self._page(), "prefix": self.prefix}

    @property
    def prefix(self) -> str:
        """The prefix of the pages, from the app or, for a scheduler before 0.2, from the settings."""
        if prefix := comparing().prefix_of(self.app):
            return str(prefix)
        settings = importlib.import_module(self.request["scheduler"]).Settings()
        return str(getattr(settings, "dashboard_path", None) or "/jobs")

    async def _page(self) -> dict[str, Any]:
        """Request the first page with a host name that the app allows; return status and location."""
        status, location = 0, ""
        for host in self._hosts():
            status, location = await get(self.app, self.prefix, host)
            if status != 400:  # noqa: PLR2004 - the answer to a host that is not allowed
                break
        return {"status": status, "location": location}

    def _hosts(self) -> list[str]:
        allowed = [
            str(host).replace("*.", "www.")
            for middleware in getattr(comparing().routed(self.app), "user_middleware", ())
            for host in middleware.kwargs.get("allowed_hosts", ())
            if host != "*"
        ]
        return [*allowed, "localhost"]


def mounted_at(app: Any) -> str:
    """Return the path at which another of the loaded apps mounts this app; empty if none does."""
    own = comparing().routed(app)
    routes = {id(route) for route in getattr(own, "routes", None) or ()}
    for value in gc.get_objects():
        kind = type(value)
        if kind.__module__ != "starlette.routing" or kind.__name__ not in {"Mount", "Host"}:
            continue
        if id(value) not in routes and app in comparing().wrappers(value.app):
            return str(getattr(value, "path", "") or getattr(value, "host", "") or "/")
    return ""


def finished(database: Path) -> bool:
    """Whether the trial's database has a run of the trial's job that succeeded."""
    query = "SELECT count(*) FROM c_JobRun WHERE JobName = 'TargccTrial' AND State = 'succeeded'"
    try:
        with contextlib.closing(
            sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
        ) as connection:
            return bool(connection.execute(query).fetchone()[0])
    except sqlite3.Error:  # not created yet, or locked for a moment
        return False


async def until(condition: Any, seconds: float) -> bool:
    """Wait until the condition holds, for a limited time; return whether the condition held."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    return True


async def get(app: Any, path: str, host: str) -> tuple[int, str]:
    """Send a GET request to the app; return the status and the `Location` header."""
    answer: dict[str, Any] = {"status": 0, "location": ""}
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.sleep(3600)
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = {name.lower(): value for name, value in message.get("headers", ())}
            answer["status"] = message["status"]
            answer["location"] = headers.get(b"location", b"").decode("latin-1")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", host.encode()), (b"accept", b"text/html")],
        "client": ("127.0.0.1", 50000),
        "server": (host, 443),
        "state": {},
    }
    try:
        await asyncio.wait_for(app(scope, receive, send), 30)
    except Exception as error:  # noqa: BLE001 - the page's answer
        return 500, f"{type(error).__name__}: {error}"
    return answer["status"], answer["location"]


if __name__ == "__main__":
    main()
