"""Comparison made by a trial, meaning of its results, and its process."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
import psutil
import pytest
from a2wsgi import WSGIMiddleware
from django import urls
from fastapi import APIRouter, FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles
from targcc_gen.errors import InputError
from targcc_gen.patch import trial_comparison
from targcc_gen.patch.layout import Layout
from targcc_gen.patch.server_settings import Entry
from targcc_gen.patch.verify import Outcome, ask, judged, missing, project_python
from targcc_scheduler import mount, with_scheduler

PYTHON = Path(sys.executable)
ENTRY = Entry("acme.main", "app", "here")


def scheduler() -> APIRouter:
    router = APIRouter()
    router.add_api_route("/jobs", lambda: None, include_in_schema=False)
    router.add_api_route("/jobs/{path:path}", lambda path: path, include_in_schema=False)
    return router


def compared(make: Callable[..., FastAPI]) -> dict[str, Any]:
    """Compare an app with and without the scheduler."""
    return trial_comparison.compare(
        trial_comparison.described(make(patched=False)), make(patched=True), "/jobs"
    )


def shop(
    *paths: str, first: bool = False, alter: Callable[[FastAPI], object] = lambda _: None
) -> Callable[..., FastAPI]:
    """Return a function that makes an app with these routes; with `first` the routes precede the scheduler's."""

    def make(*, patched: bool) -> FastAPI:
        app = FastAPI()
        if patched and not first:
            app.include_router(scheduler())
        for path in paths:
            app.add_api_route(path, lambda: None)
        if patched and first:
            app.include_router(scheduler())
        if patched:
            alter(app)
        return app

    return make


def test_an_app_that_is_as_before_has_nothing_to_tell():
    assert not any(compared(shop("/", "/items/{item}")).values())


def test_a_route_of_the_app_that_the_scheduler_would_answer_is_found():
    assert compared(shop("/jobs", "/jobs/{name}"))["hidden"] == ["GET /jobs", "GET /jobs/{name}"]


def test_a_catch_all_behind_the_scheduler_is_no_conflict():
    assert not any(compared(shop("/{path:path}")).values())


def test_a_route_in_front_of_the_scheduler_is_found():
    comparison = compared(shop("/{path:path}", first=True))
    assert comparison["shadowed"] == ["GET /jobs", "GET /jobs/{path:path}"]


def test_a_route_that_is_lost_is_found():
    assert compared(shop("/a", alter=lambda app: app.router.routes.pop()))["routes"] == ["/a"]


def test_another_order_of_routes_is_found():
    comparison = compared(shop("/a", "/b", alter=lambda app: app.router.routes.reverse()))
    assert comparison["routes"] == ["their order"]


def test_other_middleware_is_found():
    assert compared(shop(alter=lambda app: app.add_middleware(GZipMiddleware)))["middleware"]


def test_another_openapi_is_found():
    comparison = compared(shop("/a", alter=lambda app: setattr(app, "title", "other")))
    assert comparison["openapi"] == ["info"]


def with_parts(app: FastAPI) -> FastAPI:
    """Add routes below our usual prefix: the app's own route, a mount of that name, and a route in an app mounted at the root."""
    app.add_api_route("/jobs", lambda: None)
    app.mount("/jobs/files", StaticFiles(directory=Path(__file__).parent))
    part = APIRouter()
    part.add_api_route("/jobs/{name}", lambda: None)
    app.mount("/", FastAPI(routes=part.routes, openapi_url=None))
    return app


FRONT = ["GET /jobs", "GET /jobs/files", "GET /jobs/{name}"]


@pytest.mark.parametrize("known", [True, False])
def test_routes_of_the_app_behind_the_scheduler_are_found_as_in_it(known):
    plain = trial_comparison.described(with_parts(FastAPI())) if known else None
    wrapped = with_scheduler(GZipMiddleware(with_parts(FastAPI())), "/jobs")
    mounted = FastAPI()
    mount(mounted, "/jobs")
    elsewhere = with_scheduler(with_parts(FastAPI()), "/ops")

    assert trial_comparison.compare(plain, wrapped, "/jobs")["hidden"] == FRONT
    assert trial_comparison.compare(plain, with_parts(mounted), "/jobs")["hidden"] == FRONT
    assert not any(trial_comparison.compare(plain, elsewhere, "/ops").values())
    assert [trial_comparison.prefix_of(app) for app in (wrapped, mounted, elsewhere)] == [
        "/jobs",
        "/jobs",
        "/ops",
    ]


def test_paths_of_flask_and_django_behind_the_scheduler_are_found():
    flask_app = flask.Flask(__name__)
    flask_app.add_url_rule("/jobs/<name>", "jobs")
    front = with_scheduler(WSGIMiddleware(flask_app), "/jobs")  # type: ignore[arg-type]
    assert trial_comparison.compare(None, front, "/jobs") == {"hidden": ["/jobs/<name>"]}

    inner = [urls.path("<int:job>/", print), urls.re_path("^own$", print)]
    patterns = [
        urls.path("jobs/", urls.include(inner)),
        urls.path("", print),
        urls.path("<slug:page>", print),
    ]
    assert list(trial_comparison.django_paths(patterns, "/")) == [
        "/jobs/<int:job>/",
        "/jobs/own$",
        "/",
        "/<slug:page>",
    ]


def test_an_app_that_cannot_describe_its_api_is_compared_all_the_same():
    def make(*, patched: bool) -> FastAPI:
        app = shop("/a")(patched=patched)
        app.openapi = lambda: 1 / 0  # type: ignore[method-assign, return-value, assignment]
        return app

    assert not any(compared(make).values())


def outcome(**answer: Any) -> Outcome:
    return judged(ENTRY, {"pages": {"status": 200, "location": ""}, "prefix": "/jobs", **answer})


def page(status: int, location: str = "") -> Outcome:
    return outcome(pages={"status": status, "location": location})


@pytest.mark.parametrize(
    ("found", "kind", "text"),
    [
        (outcome(), "verified", ""),
        (page(303, "/jobs/login"), "verified", ""),
        (page(303, "/sign-in"), "untried", "GET /jobs answers 303"),
        (page(401), "untried", "something of the app's own stands before the pages"),
        (page(404), "failed", "the pages of acme.main:app do not answer: GET /jobs: 404"),
        (outcome(error="boom"), "failed", "does not work with the scheduler in it\n  boom"),
        (outcome(unserved="no lifespan"), "refused", "no lifespan, so that no job would run"),
        (outcome(hidden=["GET /jobs"]), "refused", "answers GET /jobs itself"),
        (outcome(shadowed=["GET /jobs"] * 6), "refused", "and 2 more"),
        (outcome(routes=["/a"]), "refused", "routes of acme.main:app would not be as before: /a"),
        (outcome(openapi=["/a"]), "refused", "the OpenAPI of acme.main:app"),
        (outcome(middleware=True), "refused", "the middleware of acme.main:app"),
    ],
)
def test_what_an_answer_means(found: Outcome, kind: str, text: str):
    assert found.kind == kind
    assert text in found.text


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path, tmp_path, "main", "")


def asked(layout: Layout, text: str, timeout: float = 60) -> dict[str, Any]:
    (layout.root / "main.py").write_text(text)
    request = {"module": "main", "name": "app", "factory": False, "lifespan": "auto"}
    return ask(PYTHON, layout, request, timeout=timeout)


@pytest.mark.usefixtures("processes")
def test_a_process_that_never_ends_is_stopped_with_its_children(layout: Layout):
    text = (
        "import subprocess, sys, threading\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('child', 'w').write(str(child.pid))\nthreading.Event().wait()\n"
    )
    assert asked(layout, text, timeout=10)["error"] == "it took longer than 10 s"
    pid = int((layout.root / "child").read_text())
    with contextlib.suppress(psutil.NoSuchProcess):  # the parent may have reaped it already
        child = psutil.Process(pid)
        assert child.status() == psutil.STATUS_ZOMBIE or not psutil.wait_procs([child], 30)[1]


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise ValueError('no database')\n", "ValueError: no database"),
        ("import sys\nsys.exit('not now')\n", "SystemExit: not now"),
        ("import os\nos._exit(7)\n", "ended with status 7"),
    ],
)
def test_a_module_that_does_not_load_says_why(layout: Layout, text: str, reason: str):
    assert reason in asked(layout, text)["error"]


@pytest.mark.usefixtures("processes")
def test_a_running_thread_does_not_keep_the_process_alive_and_nothing_is_compiled(layout: Layout):
    text = (
        "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
        "import sys\nassert sys.stdin.read() == ''\nclass app: routes = []\n"
    )
    assert asked(layout, text)["routes"] == []
    assert not list(layout.root.rglob("__pycache__"))


@pytest.mark.usefixtures("processes")
def test_what_the_environment_lacks_is_listed(layout: Layout):
    wanted = ["fastapi>=0.100", "fastapi>=9000", "no-such-distribution-here>=1"]
    assert missing(PYTHON, layout, wanted) == wanted[1:]


@pytest.mark.usefixtures("processes")
def test_an_interpreter_that_does_not_run_is_said(layout: Layout):
    with pytest.raises(InputError, match="does not run"):
        missing(layout.root / "no-python", layout, [])


def test_the_projects_environment_comes_before_the_active_one(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))
    assert project_python(tmp_path) == PYTHON
    for folder in ("active", ".venv"):
        (tmp_path / folder / "bin").mkdir(parents=True)
        (tmp_path / folder / "bin" / "python").touch()
        assert project_python(tmp_path) == tmp_path / folder / "bin" / "python"
