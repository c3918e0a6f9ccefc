"""A setting whose packages are not installed: the application serves, one line of the log names the extra, and commands fail in words."""

import importlib.util
import logging

import pytest
from click.testing import CliRunner
from fastapi import FastAPI, Request
from hosting_rig import alive
from rt_tools import QUICK
from targcc_scheduler import Settings, get_scheduler, main, migrate, mount
from targcc_scheduler.core.errors import ExtraMissing

MESSAGE = "PostgreSQL needs psycopg and procrastinate, which targcc-scheduler[postgresql] has"
URL = "postgresql://localhost/shop"


@pytest.fixture(autouse=True)
def _without_the_packages(monkeypatch):
    find = importlib.util.find_spec
    missing = {"psycopg", "procrastinate"}
    monkeypatch.setattr(
        "targcc_scheduler.core.extras.find_spec",
        lambda name: None if name in missing else find(name),
    )


async def test_the_application_serves_and_the_log_names_the_extra(caplog):
    app = FastAPI()
    app.add_api_route("/own", lambda: "hello")

    @app.get("/send")
    async def send(request: Request) -> int:
        return await get_scheduler(request).enqueue("DailyReport")

    mount(app, settings=Settings(database_url=URL, **QUICK), identify=lambda _: ("ada", "admin"))
    with caplog.at_level(logging.ERROR):
        async with alive(app) as client:
            assert (await client.get("/own")).text == '"hello"'
            page = await client.get("/jobs")
            assert (page.status_code, MESSAGE in page.text) == (503, True)
            assert (await client.get("/jobs/health/ready")).status_code == 503
            with pytest.raises(ExtraMissing, match="where the application requires"):
                await client.get("/send")

    [record] = [record for record in caplog.records if record.name == "targcc.web.guest"]
    assert MESSAGE in record.getMessage()
    assert record.exc_info is None


@pytest.mark.parametrize("words", [["job", "list"], ["migrate"], ["serve"]])
def test_a_command_says_it_without_a_traceback(words, monkeypatch):
    monkeypatch.setenv("TARGCC_DATABASE_URL", URL)

    result = CliRunner().invoke(main, words, prog_name="targcc")

    assert (result.exit_code, MESSAGE in result.stderr) == (2, True), result.output
    assert "error[TS615]: " in result.stderr
    assert "Traceback" not in result.stderr


def test_migrate_of_the_application_says_it():
    with pytest.raises(ExtraMissing, match=r"targcc-scheduler\[postgresql\]"):
        migrate(URL)
