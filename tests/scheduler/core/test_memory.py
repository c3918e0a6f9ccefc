"""Modules that scheduler processes import only on demand; each test uses a fresh interpreter."""

import json
import subprocess
import sys
import textwrap

import pytest
from processes import environment
from projects import PATH
from targcc_scheduler.web import health, openapi
from targcc_scheduler.web.addresses import PATHS, imported, routers
from targcc_scheduler.web.api.router import PARTS


def said_by(code: str, **variables: str) -> list[str]:
    """Run ``code`` in a process that defers the ORM; return the printed lines."""
    begin = "import sys\nfrom targcc_scheduler.core.memory import leave_orm_until_asked\nleave_orm_until_asked()\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + textwrap.dedent(code)],
        env=environment(PYTHONPATH=PATH, **variables),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.usefixtures("processes")
def test_sessions_are_there_for_whoever_asks():
    lines = said_by("""
        import sqlalchemy.ext.asyncio as package
        from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
        print("sqlalchemy.orm" in sys.modules)

        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(lambda _: package.AsyncSession, range(64)))
        print(len(found), found == {sys.modules["sqlalchemy.ext.asyncio.session"].AsyncSession})
        print("sqlalchemy.orm" in sys.modules, package.AsyncConnection is AsyncConnection)
        print(hasattr(package, "Nothing"), "__getattr__" in vars(package))
        """)

    assert lines == ["False", "1 True", "True True", "False False"]


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    "asking",
    [
        "from sqlalchemy.ext.asyncio import async_sessionmaker as found",
        "from sqlalchemy.ext.asyncio import *; found = async_sessionmaker",
        "import sqlalchemy.ext.asyncio.session as found",
        "from sqlalchemy.orm import Session as found",
    ],
)
def test_an_application_imports_as_ever(asking):
    assert said_by(f"{asking}\nprint(found is not None, 'sqlalchemy.orm' in sys.modules)") == [
        "True True"
    ]


@pytest.mark.usefixtures("processes")
def test_where_the_whole_package_is_there_it_stays():
    lines = said_by("""
        sys.meta_path.pop(0)
        import sqlalchemy.ext.asyncio as package
        leave_orm_until_asked()
        print("__getattr__" in vars(package), type(sys.meta_path[0]).__name__)
        """)

    assert lines[0].startswith("False ")
    assert "_Finder" not in lines[0]


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("words", [["worker"], ["serve", "--port", "0"]], ids=" ".join)
def test_an_idle_process_has_neither_orm_nor_api_and_is_not_collected_again(database_url, words):
    """After the start the process prints its imported modules and how many objects garbage collections omit and see, and ends."""
    code = f"""
    import gc, json, os, click
    from projects import WEB
    from targcc_scheduler import configure, main

    configure(WEB)
    echo = click.echo
    def heard(message=None, *rest, **more):
        echo(message, *rest, **more)
        if str(message).startswith(("Queues", "Open")):
            objects = gc.get_freeze_count(), len(gc.get_objects())
            print(json.dumps([sorted(sys.modules), *objects]), flush=True)
            os._exit(0)
    click.echo = heard
    main({words!r})
    """

    lines = said_by(code, TARGCC_DATABASE_URL=database_url)

    modules, omitted, seen = json.loads(lines[-1])
    assert seen < omitted / 10
    loaded = set(modules)
    assert "sqlalchemy.ext.asyncio.engine" in loaded
    assert not {name for name in loaded if name.startswith("sqlalchemy.orm")}
    assert not {name for name in loaded if name.startswith("targcc_scheduler.web.api.")}
    features = {name for name in loaded if name.startswith("targcc_scheduler.features.")}
    assert not {name for name in features if name.endswith((".api", ".schemas"))}


def test_the_addresses_are_those_of_the_routes():
    parts = [*PARTS, openapi.router, health.router]
    paths = dict.fromkeys(route.path for part in parts for route in part.routes)
    assert list(PATHS) == list(paths)


def test_the_first_router_of_each_address_has_it():
    for path in PATHS:
        assert path in {route.path for route in imported(routers(path)[0]).routes}, path


@pytest.mark.usefixtures("processes")
def test_a_request_imports_its_part_of_the_api_alone(database_url):
    """The process prints status and imported parts after each request, then the route that ``If-Match`` reads for another part."""
    lines = said_by(
        """
        from fastapi.testclient import TestClient
        from projects import WEB
        from targcc_scheduler import configure

        configure(WEB)
        from targcc_scheduler import create_app

        def ask(method, path):
            status = client.request(method, path).status_code
            known = (name.rpartition("targcc_scheduler.")[2] for name in sys.modules if "targcc_scheduler." in name)
            parts = {"web.health", "web.openapi", "web.api.limits", "web.api.jobs", "web.api.system", "features.triage.api", "features.audit.api"}
            print(status, *sorted(parts & set(known)))

        client = TestClient(create_app(), raise_server_exceptions=False)
        ask("GET", "/jobs/api/limits")
        ask("HEAD", "/jobs/api/limits")
        ask("GET", "/health/live")
        ask("GET", "/jobs/api/jobs/DailyReport/why")
        ask("PUT", "/jobs/api/limits")
        from targcc_scheduler.web.api_route import _reading
        print(_reading("/api/runs/{run_id}").path)
        """,
        TARGCC_DATABASE_URL=database_url,
    )

    assert lines == [
        "401 web.api.limits",
        "401 web.api.limits",
        "200 web.api.limits web.health",
        "401 features.triage.api web.api.limits web.health",
        "405 features.triage.api web.api.jobs web.api.limits web.api.system web.health",
        "/api/runs/{run_id}",
    ]
