"""Routes that are plain functions get a client whose calls block; async code keeps the scheduler."""

import asyncio
from typing import Annotated, Any

import pytest
import sqlalchemy as sa
from fastapi import Depends, FastAPI, Request
from hosting_rig import alive
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from targcc_scheduler import Client, Scheduler, get_client, get_scheduler, mount, with_scheduler
from targcc_scheduler.core.states import RunState
from targcc_scheduler.db.engines import sync_engine

Jobs = Annotated[Client, Depends(get_scheduler)]
AsyncJobs = Annotated[Scheduler, Depends(get_scheduler)]


@pytest.fixture(params=["sqlite", "postgresql"])
async def scheduler(request, settings):
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
        settings = settings.model_copy(update={"database_url": url})
    made = Scheduler(settings)
    yield made
    await made.stop()


def engine_of(scheduler: Scheduler) -> Any:
    return sync_engine(scheduler.settings.database_url)


@pytest.mark.parametrize("outer", [True, False])
async def test_a_plain_route_enqueues_and_waits(outer, scheduler):
    app = FastAPI()

    @app.get("/send")
    def send(jobs: Jobs) -> dict[str, object]:
        run = jobs.enqueue("DailyReport")
        return {"run": run, "state": jobs.wait(run, timeout=30)}

    served: Any = with_scheduler(app, scheduler=scheduler) if outer else app
    if not outer:
        mount(app, scheduler=scheduler)
    async with alive(served) as client:
        answer = (await client.get("/send")).json()
    assert answer == {"run": 1, "state": RunState.SUCCEEDED}


async def test_a_plain_route_enqueues_in_its_own_transaction(scheduler):
    app = FastAPI()

    @app.get("/send")
    def send(jobs: Jobs, *, keep: bool) -> int:
        with engine_of(scheduler) as engine, Session(engine) as session:
            run = jobs.enqueue("DailyReport", session=session)
            _ = session.commit() if keep else session.rollback()
        return run

    mount(app, scheduler=scheduler)
    async with alive(app) as client:
        await client.get("/send", params={"keep": False})
        run = (await client.get("/send", params={"keep": True})).json()
        assert await scheduler.wait(run, timeout=30) == RunState.SUCCEEDED
    with engine_of(scheduler) as engine, engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM c_JobRun")) == 1


class Signups:
    """Service that a dependency builds, and whose methods are async."""

    def __init__(self, jobs: AsyncJobs) -> None:
        self.jobs = jobs

    async def add(self) -> int:
        return await self.jobs.enqueue("DailyReport")


def signups(jobs: AsyncJobs) -> Signups:
    return Signups(jobs)


async def new_run(jobs: AsyncJobs) -> int:
    return await jobs.enqueue("DailyReport")


def by_request(request: Request) -> Scheduler:
    return get_scheduler(request)


async def test_async_code_keeps_the_scheduler(settings):
    made = Scheduler(settings.model_copy(update={"mode": "pages"}))
    app = FastAPI()

    @app.get("/class")
    async def of_class(service: Annotated[Signups, Depends()]) -> int:
        return await service.add()

    @app.get("/factory")
    async def of_factory(service: Annotated[Signups, Depends(signups)]) -> int:
        return await service.add()

    @app.get("/request")
    async def of_request(jobs: Annotated[Scheduler, Depends(by_request)]) -> int:
        return await jobs.enqueue("DailyReport")

    @app.get("/dependency")
    def of_dependency(run: Annotated[int, Depends(new_run)]) -> int:
        return run

    @app.get("/client")
    async def of_client(client: Annotated[Client, Depends(get_client)]) -> int:
        return await asyncio.to_thread(client.enqueue, "DailyReport")

    mount(app, scheduler=made)
    async with alive(app) as client:
        paths = ["/class", "/factory", "/request", "/dependency", "/client"]
        assert [(await client.get(path)).json() for path in paths] == [1, 2, 3, 4, 5]


async def test_a_plain_endpoint_of_starlette_enqueues(settings):
    made = Scheduler(settings.model_copy(update={"mode": "pages"}))

    def plain(request):
        jobs: Any = get_scheduler(request)
        return JSONResponse(
            [jobs.enqueue("DailyReport"), get_client(request).enqueue("DailyReport")]
        )

    async def waiting(request):
        return JSONResponse(await get_scheduler(request).enqueue("DailyReport"))

    app = Starlette(routes=[Route("/plain", plain), Route("/waiting", waiting)])
    mount(app, scheduler=made)
    async with alive(app) as client:
        assert (await client.get("/plain")).json() == [1, 2]
        assert (await client.get("/waiting")).json() == 3
