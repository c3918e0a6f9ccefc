"""``with_scheduler(app)`` hides nothing of the host: attributes are read and set there, and the host's own test client works."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from hosting_rig import alive, configure_django
from starlette.applications import Starlette
from targcc_scheduler import Scheduler, Settings, with_scheduler
from targcc_scheduler.web.guest import Outer


@pytest.fixture
async def scheduler(settings: Settings):
    made = Scheduler(settings.model_copy(update={"mode": "pages"}))
    yield made
    await made.stop()


class QuartLike:
    """An app like Quart's: settings in ``config``, views by decorator, no ``state``."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {"MODE": "shop"}
        self.views: dict[str, Any] = {}
        self.debug = False

    def route(self, path: str) -> Any:
        return lambda view: self.views.setdefault(path, view)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["type"] == "http":
            body = (await self.views[scope["path"]]()).encode()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})


def litestar() -> Any:
    from litestar import Litestar

    return Litestar([])


@pytest.mark.parametrize("make", [Starlette, FastAPI, litestar])
def test_the_state_of_the_host_is_read_and_set_through_the_scheduler(make, scheduler):
    host = make()
    host.state.greeting = "hello"
    app: Any = with_scheduler(host, scheduler=scheduler)
    assert app.state is host.state
    app.state.greeting = "good day"
    assert host.state.greeting == "good day"
    assert isinstance(app, type(host))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of properties of Litestar
@pytest.mark.parametrize("make", [Starlette, FastAPI, litestar, QuartLike])
def test_every_public_attribute_is_the_hosts(make, scheduler):
    host = make()
    app = with_scheduler(host, scheduler=scheduler)
    names = [name for name in dir(host) if not name.startswith("_")]
    assert {name for name in names if name not in dir(app)} == set()
    for name in names:
        assert getattr(app, name, None) == getattr(host, name, None), name


@pytest.mark.parametrize("make", [Starlette, FastAPI, QuartLike])
def test_an_attribute_is_set_and_removed_at_the_host(make, scheduler, monkeypatch):
    host = make()
    app: Any = with_scheduler(host, scheduler=scheduler)
    app.debug = True
    assert host.debug is True
    app.extra = {"unit": "shop"}
    assert host.extra == {"unit": "shop"}
    with monkeypatch.context() as patch:
        patch.setattr(app, "extra", {"unit": "test"})
        assert host.extra == {"unit": "test"}
    assert host.extra == {"unit": "shop"}
    del app.extra
    assert "extra" not in vars(host)


def test_an_unknown_attribute_is_missing_as_at_the_host(scheduler):
    app = with_scheduler(FastAPI(), scheduler=scheduler)
    with pytest.raises(AttributeError, match="'FastAPI' object has no attribute 'colour'"):
        _ = app.colour


async def test_views_are_added_after_the_scheduler(scheduler):
    app: Any = with_scheduler(QuartLike(), scheduler=scheduler)

    @app.route("/own")
    async def own() -> str:
        return str(app.config["MODE"])

    async with alive(app) as client:
        assert (await client.get("/own")).text == "shop"
        assert (await client.get("/jobs/health/live")).status_code == 200


async def test_a_test_overrides_a_dependency_of_the_host(scheduler):
    host = FastAPI()

    def unit() -> str:
        return "shop"

    @host.get("/unit")
    def read(name: Annotated[str, Depends(unit)]) -> str:
        return name

    app: Any = with_scheduler(host, scheduler=scheduler)
    app.dependency_overrides[unit] = lambda: "test"
    async with alive(app) as client:
        assert (await client.get("/unit")).json() == "test"


def test_a_litestar_app_is_tested_by_its_own_client(scheduler):
    import litestar
    from litestar.datastructures import State
    from litestar.testing import TestClient as LitestarClient

    @litestar.get("/own")
    async def own(state: State) -> str:
        return str(state.greeting)

    host = litestar.Litestar(
        [own], on_startup=[lambda app: setattr(app.state, "greeting", "hello")]
    )
    with LitestarClient(with_scheduler(host, scheduler=scheduler)) as client:
        assert client.get("/own").text == "hello"
        assert client.app.state.greeting == "hello"
        assert client.app.state.copy().dict() == {"greeting": "hello"}  # nothing of the scheduler
        assert client.get("/jobs/health/live").status_code == 200


def _django() -> Any:
    from django.core.asgi import get_asgi_application

    configure_django()
    return get_asgi_application()


async def test_a_host_without_state_has_the_state_of_the_pages(scheduler):
    app: Any = with_scheduler(_django(), scheduler=scheduler)
    assert type(app) is Outer
    app.state.unit = "shop"
    async with alive(app):
        assert app.state.targcc.scheduler is scheduler
        assert app.state.unit == "shop"
