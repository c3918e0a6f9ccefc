"""The scheduler's database disappears after a good start: the host keeps serving, every check reports it, and all recover without help."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from hosting_rig import alive, until
from rt_tools import QUICK
from targcc_scheduler import Scheduler, get_scheduler, mount
from targcc_scheduler.core.outage import OUTAGES
from targcc_scheduler.core.states import RunState

Switch = tuple[str, Callable[[], None], Callable[[], None]]


def _move(file: Path, to: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).replace(to.with_name(to.name + suffix))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Switch]:
    """Yield the database URL, and functions that take the database away and bring it back."""
    if request.param == "sqlite":
        url = request.getfixturevalue("database_url")
        file, away = Path(url.removeprefix("sqlite:///")), tmp_path / "away.db"
        yield url, lambda: _move(file, away), lambda: _move(away, file)
        return
    url = request.getfixturevalue("migrated_postgresql_url")
    server = request.getfixturevalue("postgresql_server")
    yield url, server.stop, server.start
    server.start()


@pytest.mark.sqlite  # it moves a file of SQLite
@pytest.mark.slow
async def test_a_host_outlives_a_database_that_goes_later(database, settings):
    url, go, come = database
    made = Scheduler(settings.model_copy(update={"database_url": url, **QUICK}))
    app = FastAPI()

    @app.get("/send")
    async def send(request: Request) -> int:
        return await get_scheduler(request).enqueue("DailyReport")

    app.add_api_route("/own", lambda: "hello")
    mount(app, scheduler=made, identify=lambda _: ("ada", "admin"))
    async with alive(app) as client:

        async def is_ready() -> bool:
            return (await client.get("/jobs/health/ready")).status_code == 200

        async def is_not() -> bool:
            return not await is_ready()

        async def shows() -> int:
            return (await client.get("/jobs")).status_code

        run = (await client.get("/send")).json()
        assert await made.wait(run, timeout=30) == RunState.SUCCEEDED
        assert (await is_ready(), await shows()) == (True, 200)

        go()

        await until(is_not)
        assert (await client.get("/own")).text == '"hello"'
        assert (await client.get("/jobs/health/live")).status_code == 200
        page = await client.get("/jobs")
        assert (page.status_code, "database does not answer" in page.text) == (503, True)
        assert (await client.get("/jobs/api/jobs")).status_code == 503
        with pytest.raises(OUTAGES, match=r"was deleted or moved|connection"):
            await client.get("/send")
        assert (await client.get("/own")).text == '"hello"'

        come()

        await until(is_ready)
        assert await shows() == 200
        run = (await client.get("/send")).json()
        assert await made.wait(run, timeout=30) == RunState.SUCCEEDED
