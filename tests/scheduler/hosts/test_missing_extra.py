"""A setting whose packages are not installed: the application serves, one line of the log names the extra, and commands fail in words."""

import importlib.util
import logging
import sys
from importlib.abc import MetaPathFinder

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


class Blocked(MetaPathFinder):
    """Make packages of the extra ``run`` look as if they were not installed."""

    NAMES = frozenset({"prometheus_client", "psutil", "rich", "uvicorn"})

    def find_spec(self, name, *_):
        if name.partition(".")[0] in self.NAMES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.fixture
def _without_run(monkeypatch):
    """Play an application that requires ``targcc-scheduler[guest]``."""
    monkeypatch.setattr(sys, "meta_path", [Blocked(), *sys.meta_path])
    for name in [*sys.modules]:
        is_ours = name in {
            "targcc_scheduler.web.metric_families",
            "targcc_scheduler.cli.web_server",
        }
        if is_ours or name.partition(".")[0] in Blocked.NAMES:
            monkeypatch.delitem(sys.modules, name)


@pytest.mark.slow
@pytest.mark.usefixtures("_without_run")
async def test_a_guest_shows_its_pages_and_says_who_has_the_metrics(migrated_sqlite_url):
    app = FastAPI()
    settings = Settings(database_url=migrated_sqlite_url, **QUICK)
    mount(app, settings=settings, identify=lambda _: ("ada", "admin"))
    async with alive(app) as client:
        for address in ("/jobs", "/jobs/system", "/jobs/runs", "/jobs/help/jobs"):
            assert (await client.get(address)).status_code == 200
        metrics = await client.get("/jobs/metrics")
        assert metrics.status_code == 503
        assert "needs prometheus-client, which targcc-scheduler[run] has" in metrics.text


@pytest.mark.usefixtures("_without_run")
@pytest.mark.parametrize("words", [["serve"], ["dev"]])
def test_a_command_with_a_server_says_who_has_the_server(words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("targcc_scheduler.cli.commands.dev.find_spec", lambda _: None)

    result = CliRunner().invoke(main, words, prog_name="targcc")

    assert result.exit_code == 2, result.output
    assert f"targcc {words[0]} needs uvicorn, which targcc-scheduler[run] has" in result.stderr
    assert "Traceback" not in result.stderr
