"""Hosts with routes named like ours and settings for every route: both stay as they were."""

import contextlib
import re
import types
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from hosting_rig import add_user, alive
from pydantic.fields import FieldInfo
from starlette.middleware.base import BaseHTTPMiddleware
from targcc_scheduler import Scheduler, Settings, make_router, mount, with_scheduler
from targcc_scheduler.web import addresses, fastapi_compat
from targcc_scheduler.web.fastapi_compat import Lifespan

OWN = (
    "/metrics",
    "/health",
    "/health/live",
    "/health/ready",
    "/api/jobs",
    "/api/docs",
    "/static/a",
)
Wire = Callable[[FastAPI], Any]


def own_routes(app: FastAPI, *more: str) -> FastAPI:
    for path in (*OWN, *more):
        app.add_api_route(path, lambda path=path: {"own": path}, methods=["GET"], tags=["own"])
    return app


def crowded(wire: Wire) -> Any:
    """Host whose routes take every name of ours."""
    app = FastAPI()
    wire(app)
    return own_routes(app)


def official_template(wire: Wire) -> Any:
    """Host with operation ids built from tags, like the full-stack template, and a dependency on every route."""

    def unique_id(route: APIRoute) -> str:
        return f"{route.tags[0]}-{route.name}-{route.path}"

    def refuse(request: Request) -> None:
        if "X-Key" not in request.headers:
            raise HTTPException(401)

    app = FastAPI(generate_unique_id_function=unique_id, dependencies=[Depends(refuse)])
    wire(app)
    return own_routes(app)


def with_middlewares(wire: Wire) -> Any:
    app = FastAPI()
    app.add_middleware(GZipMiddleware, minimum_size=1)
    app.add_middleware(CORSMiddleware, allow_origins=["http://other"], allow_credentials=True)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["testserver"])
    wire(app)
    return own_routes(app)


def with_its_own_errors(wire: Wire) -> Any:
    """Host with handlers for all errors, and a middleware that reads the body and writes a header."""
    app = FastAPI()

    async def teapot(*_: Any) -> JSONResponse:
        return JSONResponse({"own": "error"}, 418)

    for kind in (404, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, teapot)

    async def dispatch(request: Request, call_next: Any) -> Any:
        await request.body()
        response = await call_next(request)
        response.headers["X-Own"] = "yes"
        return response

    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    wire(app)
    return own_routes(app)


def as_a_part(wire: Wire) -> Any:
    """Host mounted in another app, which enters the lifespan of the mounted app."""
    part = FastAPI()
    wire(part)
    own_routes(part)
    app = FastAPI(lifespan=lambda _: part.router.lifespan_context(part))
    app.mount("/part", part)
    return own_routes(app)


def included_below(wire: Wire) -> Any:
    """Host that includes our router below a prefix, in a router of its own."""
    app, inner = FastAPI(), APIRouter()
    wire(inner)
    app.include_router(inner, prefix="/v1")
    return own_routes(app)


def wrapped(wire: Wire) -> Any:
    """Host wrapped in another ASGI class; it keeps even its own /jobs when the scheduler is at /ops."""
    app: Any = own_routes(FastAPI(), "/jobs", "/jobs/runs")
    return wire(GZipMiddleware(app))


# Host, prefix that its proxy removes, and path of the pages.
HOSTS: dict[str, tuple[Any, str, str]] = {
    "crowded": (crowded, "", "/jobs"),
    "template": (official_template, "", "/jobs"),
    "proxy": (crowded, "/shop", "/shop/jobs"),
    "middlewares": (with_middlewares, "", "/jobs"),
    "errors": (with_its_own_errors, "", "/jobs"),
    "part": (as_a_part, "", "/part/jobs"),
    "below": (included_below, "", "/v1/jobs"),
    "wrapped": (wrapped, "", "/ops"),
}


@pytest.fixture
async def scheduler(settings: Settings):
    made = Scheduler(settings.model_copy(update={"mode": "pages"}))
    yield made
    await made.stop()


def wiring(name: str, scheduler: Scheduler) -> Wire:
    if name == "wrapped":
        return lambda app: with_scheduler(app, "/ops", scheduler=scheduler)
    if name in {"below", "template"}:
        return lambda app: app.include_router(make_router(scheduler=scheduler))
    return lambda app: mount(app, scheduler=scheduler)


async def answers(client: httpx.AsyncClient) -> dict[str, Any]:
    paths = (*OWN, "/jobs/runs", "/openapi.json", "/docs", "/nothing", "/part/metrics")
    responses = [await client.get(path, headers={"X-Key": "1"}) for path in paths]
    return {
        response.url.path: (response.status_code, response.text, response.headers.get("X-Own"))
        for response in responses
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTS)
async def test_a_host_answers_as_before_and_the_pages_beside_it(name, scheduler):
    make, root, base = HOSTS[name]
    async with alive(make(lambda app: app), root_path=root) as client:
        before = await answers(client)
    assert before["/metrics"][:2] == (200, '{"own":"/metrics"}')
    async with alive(make(wiring(name, scheduler)), root_path=root) as client:
        after = await answers(client)
        await the_pages_work(client, scheduler, base, base.removeprefix(root))
    if name != "wrapped":
        before.pop("/jobs/runs"), after.pop("/jobs/runs")
    assert after == before


async def the_pages_work(
    client: httpx.AsyncClient, scheduler: Scheduler, base: str, sent: str
) -> None:
    """Sign in, read pages and send a form; ``sent`` is the requested prefix, ``base`` the prefix in links."""
    assert (await client.get(f"{sent}/health/ready")).json()["status"] == "ready"
    assert (await client.get(f"{sent}/metrics")).status_code == 401
    assert (
        (await client.get(f"{sent}/api/jobs"))
        .headers["content-type"]
        .startswith("application/problem+json")
    )
    assert (await client.get(f"{sent}/no/such")).status_code == 404
    first = await client.get(sent)
    assert (first.status_code, first.headers["location"]) == (303, f"{base}/login")
    await add_user(scheduler)
    client.headers["Origin"] = "http://testserver"
    form = {"name": "dana", "password": "a good long password"}
    answer = await client.post(f"{sent}/login", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, base)
    page = (await client.get(f"{sent}/jobs/DailyReport")).text
    links = set(re.findall(r'(?:href|src|action|hx-get)="(/[^"?#]*)', page))
    assert {link for link in links if not link.startswith(base)} == set()
    asset = next(link for link in links if link.endswith(".css"))
    assert (await client.get(asset.replace(base, sent))).status_code == 200
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
    target = next(link for link in links if link.endswith("/pause")).replace(base, sent)
    done = await client.post(target, data={"csrf": csrf})
    assert (done.status_code, done.headers["location"]) == (303, base), done.text
    described = (await client.get(f"{sent}/api/openapi.json")).json()
    assert described["servers"] == [{"url": base}]
    docs = (await client.get(f"{sent}/api/docs")).text
    assert f"http://testserver{base}/api/jobs" in docs


@pytest.mark.parametrize(
    ("scope", "root", "path"),
    [
        ({"path": "/jobs/runs"}, "", "/jobs/runs"),
        ({"path": "/shop/jobs/runs", "root_path": "/shop"}, "/shop", "/shop/jobs/runs"),
        ({"path": "/jobs/runs", "root_path": "/shop"}, "/shop", "/shop/jobs/runs"),
        ({"path": "/v1/jobs/runs", "path_params": {"path": "runs"}}, "/v1", "/v1/jobs/runs"),
        ({"path": "/jobs/jobs/runs", "path_params": {"path": "runs"}}, "/jobs", "/jobs/jobs/runs"),
        ({"path": "/v1/jobs", "path_params": {}}, "/v1", "/v1/jobs"),
        (
            {"path": "/s/v1/jobs/runs/7", "root_path": "/s", "path_params": {"path": "runs/7"}},
            "/s/v1",
            "/s/v1/jobs/runs/7",
        ),
    ],
)
def test_what_stands_before_the_prefix_is_the_root(monkeypatch, scope, root, path):
    for whole in (True, False):  # Starlette before 0.33 expects paths without the root
        monkeypatch.setattr(addresses, "PATHS_INCLUDE_ROOT", whole)
        child_scope = addresses.scope_below(scope, "/jobs")
        expected = path if whole else path.removeprefix(root)
        assert (child_scope["root_path"], child_scope["path"]) == (root, expected)


async def test_an_app_enters_the_scheduler_alone_where_fastapi_enters_no_included_router(
    monkeypatch,
):
    """FastAPI before 0.112.2 copies the routes of an included router and leaves its lifespan out."""
    entered: list[str] = []

    def lifespan(name: str) -> Lifespan:
        @contextlib.asynccontextmanager
        async def enter(_: Any) -> AsyncIterator[None]:
            entered.append(name)
            yield

        return enter

    class OldRouter(APIRouter):
        def include_router(self, router: APIRouter, **_: Any) -> None:
            self.routes += router.routes

    monkeypatch.setattr(fastapi_compat, "APIRouter", OldRouter)
    scheduler, inner = fastapi_compat.router_with(lifespan("scheduler")), OldRouter()
    inner.include_router(scheduler, prefix="/v1")
    app = OldRouter(lifespan=lifespan("app"))
    for router in (OldRouter(lifespan=lifespan("other")), inner):
        app.include_router(router)
    async with app.lifespan_context(None):
        assert entered == ["app", "scheduler"]
    fastapi_compat.router_with(
        lifespan("a second scheduler")
    )  # wraps include_router no second time
    OldRouter(lifespan=lifespan("app")).include_router(scheduler)
    assert not hasattr(OldRouter.include_router.__wrapped__, "__wrapped__")


def test_annotated_parameters_are_read_where_fastapi_loses_their_kind():
    """FastAPI 0.103 expects a ``Query`` from pydantic's ``from_annotation``; since pydantic 2.12 the method returns another type."""
    query = Query(ge=3)
    wanted = {"field_info": query, "annotation": Annotated[int, query]}
    fastapi = types.SimpleNamespace(copy_field_info=lambda **_: FieldInfo())
    fastapi_compat._read_annotated_parameters(fastapi)
    copied = fastapi.copy_field_info(**wanted)
    assert (copied.in_, copied.annotation, copied is query) == (query.in_, int, False)
    assert copied.metadata == query.metadata
    mended = fastapi.copy_field_info
    fastapi_compat._read_annotated_parameters(fastapi)
    assert fastapi.copy_field_info is mended
