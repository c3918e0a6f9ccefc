"""The same call for every host: ``with_scheduler(app)`` enters both lifespans and leaves the host's own pages unchanged."""

import asyncio
import contextlib
import logging
from typing import Annotated, Any

import pytest
from a2wsgi import WSGIMiddleware
from fastapi import Depends, FastAPI, Request
from hosting_rig import alive, client_of, configure_django, until
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from targcc_scheduler import Scheduler, Settings, get_scheduler, hosting, mount, with_scheduler
from targcc_scheduler.core.states import RunState


@pytest.fixture
async def scheduler(settings: Settings):
    made = Scheduler(settings)
    yield made
    await made.stop()


def fastapi_app(life: list[str]) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(_):
        life.append("starts")
        yield {"greeting": "hello"}
        life.append("ends")

    app = FastAPI(lifespan=lifespan)

    @app.get("/own")
    async def own(request: Request):
        return {"own": request.state.greeting}

    return GZipMiddleware(app)


def starlette_app(life: list[str]) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(_):
        life.append("starts")
        yield
        life.append("ends")

    return Starlette(
        routes=[Route("/own", lambda _: JSONResponse({"own": "hello"}))], lifespan=lifespan
    )


def flask_app(life: list[str]) -> Any:
    import flask

    app = flask.Flask(__name__)

    @app.get("/own")
    def own():
        return {"own": "hello"}

    life += ["starts", "ends"]  # WSGI has no lifespan
    return WSGIMiddleware(app)


def django_app(life: list[str]) -> Any:
    from django.core.asgi import get_asgi_application

    configure_django()
    life += ["starts", "ends"]  # Django has no lifespan
    return get_asgi_application()


def litestar_app(life: list[str]) -> Any:
    import litestar

    @litestar.get("/own")
    async def own() -> dict[str, str]:
        return {"own": "hello"}

    return litestar.Litestar(
        [own],
        on_startup=[lambda: life.append("starts")],
        on_shutdown=[lambda: life.append("ends")],
    )


HOSTS = {
    "fastapi": fastapi_app,
    "starlette": starlette_app,
    "flask": flask_app,
    "django": django_app,
    "litestar": litestar_app,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("name", HOSTS)
async def test_any_host_has_the_scheduler_in_front_of_it(name, scheduler):
    life: list[str] = []
    app = with_scheduler(HOSTS[name](life), "/ops", scheduler=scheduler)
    async with alive(app) as client:
        assert life[:1] == ["starts"]
        assert (await client.get("/own")).json() == {"own": "hello"}
        assert (await client.get("/ops/health/ready")).json()["checks"]["node"] == "ok"
        first = await client.get("/ops")
        assert (first.status_code, first.headers["location"]) == (303, "/ops/login")
        assert (await client.get("/ops/")).headers["location"] == "/ops"
        page = await client.get("/ops/login")
        assert 'href="/ops/static/dashboard.css' in page.text
        assert (await client.get("/opsimism")).status_code == 404
        run = await scheduler.enqueue("DailyReport")
        assert await scheduler.wait(run, timeout=30) == RunState.SUCCEEDED
    assert life == ["starts", "ends"]
    assert scheduler.node is None


async def test_a_starlette_app_mounts_it_too(scheduler):
    life: list[str] = []
    app = starlette_app(life)
    mount(app, "/ops", scheduler=scheduler)
    async with alive(app) as client:
        assert (await client.get("/own")).json() == {"own": "hello"}
        assert (await client.get("/ops/health/ready")).status_code == 200
    assert life == ["starts", "ends"]


def test_what_has_no_mount_is_told_what_to_do():
    with pytest.raises(TypeError, match=r"app = with_scheduler\(app\)"):
        mount(flask_app([]))


async def test_a_host_whose_start_fails_does_not_start(scheduler):
    @contextlib.asynccontextmanager
    async def broken(_):
        raise RuntimeError("no licence")
        yield

    orders: asyncio.Queue[Any] = asyncio.Queue()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    orders.put_nowait({"type": "lifespan.startup"})
    app = with_scheduler(Starlette(lifespan=broken), scheduler=scheduler)
    await app({"type": "lifespan", "state": {}}, orders.get, answers.put)
    message = answers.get_nowait()
    assert message["type"] == "lifespan.startup.failed"
    assert "no licence" in message["message"]
    assert scheduler.node is None


@pytest.mark.parametrize("outer", [True, False])
async def test_routes_of_the_host_get_the_scheduler(outer, scheduler):
    app: Any = FastAPI()

    @app.get("/send")
    async def send(found: Annotated[Scheduler, Depends(get_scheduler)]):
        return await found.enqueue("DailyReport")

    if outer:
        served = with_scheduler(GZipMiddleware(app), scheduler=scheduler)
    else:
        mount(app, scheduler=scheduler)
        served = app
    async with alive(served) as client:
        run = (await client.get("/send")).json()
        assert await scheduler.wait(run, timeout=30) == RunState.SUCCEEDED


async def test_without_a_lifespan_pages_are_shown_and_say_that_nothing_runs(scheduler):
    """As under a server without lifespan support: the app creates runs, and a separate worker executes them."""
    app = with_scheduler(Starlette(), scheduler=scheduler)
    async with client_of(app) as client:
        ready = await client.get("/jobs/health/ready")
        assert (ready.status_code, ready.json()["checks"]["scheduler"]) == (503, "failed")
        assert (await client.get("/jobs/login")).status_code == 200
    assert scheduler.node is None


# Failures of the scheduler do not stop the host.


async def test_a_host_starts_without_the_database_and_all_heals(settings, tmp_path, caplog):
    """The folder of the database does not exist yet."""
    caplog.set_level(logging.ERROR)
    folder = tmp_path / "volume"
    url = f"sqlite:///{folder / 'jobs.db'}"
    made = Scheduler(settings.model_copy(update={"database_url": url}))
    app = FastAPI()
    app.add_api_route("/own", lambda: "hello")
    mount(app, scheduler=made)
    async with alive(app) as client:
        assert (await client.get("/own")).text == '"hello"'
        assert (await client.get("/jobs/health/live")).status_code == 200
        assert (await client.get("/jobs/health/ready")).status_code == 503
        page = await client.get("/jobs/login")
        assert (page.status_code, "database does not answer" in page.text) == (503, True)
        assert "starting the scheduler fails and will be tried again" in caplog.text
        folder.mkdir()

        async def healed():
            return (await client.get("/jobs/health/ready")).status_code == 200

        await until(healed)
        run = await made.enqueue("DailyReport")
        assert await made.wait(run, timeout=30) == RunState.SUCCEEDED
        assert (await client.get("/jobs/login")).status_code == 200
    assert made.node is None


async def test_a_host_ends_while_the_database_is_away(settings, tmp_path):
    url = f"sqlite:///{tmp_path / 'nowhere' / 'jobs.db'}"
    app = FastAPI()
    mount(app, scheduler=Scheduler(settings.model_copy(update={"database_url": url})))
    async with alive(app) as client:
        assert (await client.get("/jobs/health/ready")).status_code == 503


async def test_tables_of_a_newer_release_stop_no_host(scheduler):
    await scheduler.change(
        lambda db: db.exec_driver_sql("UPDATE c_AlembicVersion SET version_num = '9999'")
    )
    await scheduler.stop()
    app = FastAPI()
    mount(app, scheduler=scheduler)
    async with alive(app) as client:
        assert (await client.get("/jobs/health/ready")).status_code == 503
        page = await client.get("/jobs/login")
        assert (page.status_code, "another release" in page.text) == (503, True)


@pytest.mark.slow
async def test_what_is_wrong_with_services_stops_no_host_and_is_shown(settings, monkeypatch):
    def broken() -> None:
        raise RuntimeError("the services have no licence")

    whole = hosting.project_services
    monkeypatch.setattr(hosting, "project_services", broken)
    events: list[Any] = []

    async def notify(event: Any) -> None:
        events.append(event)

    made = Scheduler(settings, notify=notify)
    app = FastAPI()
    app.add_api_route("/own", lambda: "hello")
    mount(app, scheduler=made, identify=lambda _: ("ada", "admin"))
    async with alive(app) as client:
        assert (await client.get("/own")).text == '"hello"'
        page = await client.get("/jobs")
        assert (page.status_code, "the services have no licence" in page.text) == (200, True)
        assert (await client.get("/jobs/health/ready")).status_code == 503
        monkeypatch.setattr(hosting, "project_services", whole)

        async def healed() -> bool:
            return (await client.get("/jobs/health/ready")).status_code == 200

        await until(healed)
        assert "licence" not in (await client.get("/jobs")).text
    assert len(events) == 1
