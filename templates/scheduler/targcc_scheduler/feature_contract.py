"""Check that a feature keeps the contract of features, for the feature's own test."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa

from .kernel import feature as points
from .kernel.feature import Feature

_PATIENCE = 10.0
"""Seconds that a loop may take to end."""
_ROWS = 3
_REFUSED = {303, 401, 403}


def check_feature(feature: Feature) -> None:
    """Check that a feature keeps the contract of features. The project's jobs and its database are not touched.

    Each part can be imported. No other feature has the names of the feature's commands, paths and tables. The feature can be left out. A
    migration creates its tables, and retention removes old rows. Its routes and pages refuse people who have not signed in, its pages render for
    an administrator, and its loops end.

    Args:
        feature: The manifest. The project has to name the feature: ``features`` of targcc.yaml.

    Raises:
        AssertionError: The feature breaks the contract; the message says how.
    """
    project = feature.package.rpartition(".features.")[0]
    if project not in {"", __package__}:
        import_module(f"{project}.scheduler")  # configures the project
    names = [other.name for other in points.installed()]
    assert feature.name in names, f"{feature.name} is not installed: name it in targcc.yaml"
    for part in feature.parts:
        try:
            loaded = feature.load(part)
        except (ImportError, AttributeError) as error:
            raise AssertionError(f"{part} cannot be loaded: {error}") from error
        assert loaded is not None, f"{part} is None"
    _check_names(feature)
    for other in points.installed():
        needed = feature.name in other.needs
        assert not needed, f"{feature.name} cannot be left out: {other.name} needs it"
    with TemporaryDirectory() as folder:
        asyncio.run(_check_at_work(feature, f"sqlite:///{Path(folder) / 'feature.db'}"))


def _check_names(feature: Feature) -> None:
    own = list(_names(feature))
    others = [
        name for other in points.installed() if other is not feature for name in _names(other)
    ]
    taken = {*others, *_kernel_names()}
    for name in own:
        assert name not in taken, f"{name} of {feature.name} is taken"
        assert own.count(name) == 1, f"{feature.name} has {name} twice"


def _names(feature: Feature) -> Iterator[str]:
    """Yield the names of a feature's commands, tables, routes and pages."""
    for part in feature.parts:
        if isinstance(part, points.Commands):
            yield f"command {part.name}"
        elif isinstance(part, points.OwnedTable):
            yield f"table {str(feature.load(part).name).lower()}"
        elif isinstance(part, points.Routes | points.Pages):
            yield from _route_names(feature.load(part))


def _route_names(router: Any) -> Iterator[str]:
    for route in router.routes:
        path = re.sub(r"{[^}]*}", "{}", route.path)
        yield from (f"{method} {path}" for method in sorted(route.methods))


def _kernel_names() -> Iterator[str]:
    from .cli.main import KERNEL
    from .db.tables import metadata
    from .web.api.router import PARTS
    from .web.dashboard.router import ROUTERS

    yield from (f"command {name}" for name in KERNEL)
    yield from (f"table {table.lower()}" for table in metadata.tables)
    of_features = points.load(points.Routes) + points.load(points.Pages)
    for router in (*PARTS, *ROUTERS):
        if not any(router is other for other in of_features):
            yield from _route_names(router)


async def _check_at_work(feature: Feature, url: str) -> None:
    import httpx
    from fastapi import FastAPI

    from .scheduler import Scheduler
    from .settings import Settings
    from .web.router import mount

    settings = Settings(database_url=url, mode="embedded", keepalive=False)
    scheduler = Scheduler(settings)
    visitor: list[tuple[str, str] | None] = [None]
    app = FastAPI()
    mount(app, "/jobs", identify=lambda _request: visitor[0], scheduler=scheduler)
    app.state.targcc_work = False
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver")
        )
        await _check_tables(feature, scheduler)
        for part in feature.parts:
            if isinstance(part, points.Routes | points.Pages):
                for route in feature.load(part).routes:
                    await _check_refusal(route, client)
        visitor[0] = ("tester", "admin")
        for part in feature.parts:
            if isinstance(part, points.Routes | points.Pages):
                for route in feature.load(part).routes:
                    await _check_answer(route, client)
        await _check_loops(feature, scheduler)


async def _check_refusal(route: Any, client: Any) -> None:
    path = "/jobs" + re.sub(r"{[^}]*}", "1", route.path)
    for method in sorted(route.methods - {"HEAD", "OPTIONS"}):
        status = (await client.request(method, path)).status_code
        assert status in _REFUSED, f"{method} {path} needs no role: status {status} for a stranger"


async def _check_answer(route: Any, client: Any) -> None:
    if "GET" in route.methods and "{" not in route.path:
        try:
            answer = await client.get(f"/jobs{route.path}")
        except Exception as error:
            raise AssertionError(f"GET /jobs{route.path} fails: {error}") from error
        ok = answer.status_code == 200  # noqa: PLR2004 - the status of success
        assert ok, f"GET /jobs{route.path}: status {answer.status_code}, {answer.text[:300]}"


async def _check_tables(feature: Feature, scheduler: Any) -> None:
    tables = [feature.load(part) for part in feature.parts if isinstance(part, points.OwnedTable)]
    prunes = [feature.load(part) for part in feature.parts if isinstance(part, points.Retention)]
    now = scheduler.clock.now()
    long_ago = now - timedelta(days=10_000)
    for table in tables:
        assert prunes, f"the table {table.name} grows: {feature.name} has no Retention"
        await scheduler.change(lambda db, table=table: _insert(db, table, long_ago))
    for prune in prunes:
        while await scheduler.change(lambda db, prune=prune: prune(db, now, now, 1)):
            pass
    for table in tables:
        count = sa.select(sa.func.count()).select_from(table)
        left = await scheduler.read(lambda db, count=count: db.scalar(count))
        assert left == 0, f"retention leaves {left} of {_ROWS} old rows of {table.name}"


async def _insert(connection: Any, table: sa.Table, at: datetime) -> None:
    for number in range(_ROWS):
        row = {
            column.name: _value(column, number, at)
            for column in table.columns
            if not column.primary_key or not isinstance(column.type, sa.Integer)
        }
        await connection.execute(sa.insert(table).values(row))


def _value(column: sa.Column[Any], number: int, at: datetime) -> Any:
    """Return a value for a row of a test: old instants, other numbers and texts for each row."""
    of_column: Any = column.type
    kind = getattr(of_column, "impl_instance", of_column).python_type
    if issubclass(kind, date):
        return at if kind is datetime else at.date()
    if issubclass(kind, int | float | Decimal):
        return kind(number)
    return str(number) if kind is str else None if column.nullable else kind()


async def _check_loops(feature: Feature, scheduler: Any) -> None:
    """Start each loop on the scheduler's event loop, and check that the loop ends."""
    for part in feature.parts:
        if isinstance(part, points.Loop):
            await scheduler.call(_begin_and_end(feature, part, scheduler))


async def _begin_and_end(feature: Feature, part: points.Loop, scheduler: Any) -> None:
    from .kernel.node.loops import NodeContext
    from .kernel.worker.node_services import NodeServices

    engine = scheduler._host.engine  # noqa: SLF001 - loops of a node use it
    services = NodeServices(
        scheduler.store, engine, scheduler.clock, scheduler.settings, lambda _event: None
    )
    context = NodeContext(services, scheduler.definitions)
    background = feature.load(part)(context)
    if background is None:
        return
    task = asyncio.create_task(background.run())
    done, _ = await asyncio.wait([task], timeout=0.1)
    if done:
        task.result()  # raises its error
        raise AssertionError(f"the loop {part.name} of {feature.name} ends by itself")
    context.ending.set()
    background.end()
    done, _ = await asyncio.wait([task], timeout=_PATIENCE)
    assert done, f"the loop {part.name} of {feature.name} does not end"
    task.result()
