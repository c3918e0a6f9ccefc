"""Schedulers in mode off: an application's tests run no job, connect to no database, and see the enqueued runs."""

from typing import Annotated, Any

import pytest
import served
from fastapi import Depends, FastAPI
from hosting_rig import alive, client_of
from targcc_scheduler import Client, Scheduler, Settings, get_scheduler, make_router
from targcc_scheduler.core.actor import SYSTEM
from targcc_scheduler.core.errors import ArgumentsError, SchedulerOff
from targcc_scheduler.core.states import RunState


@pytest.fixture(autouse=True)
def _under_pytest(monkeypatch, tmp_path):
    monkeypatch.delenv("TARGCC_MODE")
    monkeypatch.setenv("TARGCC_DATABASE_URL", f"sqlite:///{tmp_path / 'theirs.db'}")


def host() -> FastAPI:
    app = FastAPI()
    app.include_router(make_router())

    @app.post("/users/{user_id}")
    async def invite(user_id: int, scheduler: Annotated[Scheduler, Depends(get_scheduler)]) -> int:
        return await scheduler.enqueue("MailUser", user_id=user_id)

    return app


def test_pytest_turns_schedulers_off_and_a_word_turns_them_on(monkeypatch):
    assert Settings().effective_mode == "off"
    monkeypatch.setenv("TARGCC_MODE", "pages")
    assert Settings().effective_mode == "pages"
    monkeypatch.setenv("TARGCC_MODE", "auto")
    for name in ("PYTEST_VERSION", "PYTEST_CURRENT_TEST"):
        monkeypatch.delenv(name)
    assert Settings().effective_mode == "off"  # as in earlier releases without either setting


APP = """
import os, threading, unittest
from unittest.mock import patch
from targcc_scheduler import Project, Settings, client, configure

configure(Project(name="shop", package="shop", database_url="sqlite:///real.db"))
AT_IMPORT = Settings()


class AppTest(unittest.TestCase):
    def test_it_is_off(self):
        self.assertEqual((AT_IMPORT.effective_mode, AT_IMPORT.why_off.split()[5]), ("off", "unittest"))
        modes = []
        thread = threading.Thread(target=lambda: modes.append(Settings().effective_mode))
        thread.start()
        thread.join()
        self.assertEqual(modes, ["off"])


class AsyncAppTest(unittest.IsolatedAsyncioTestCase):
    async def test_it_is_off(self):
        self.assertEqual(Settings().effective_mode, "off")


def in_production():
    with patch.dict(os.environ):  # a mock is no test
        print(Settings().effective_mode)


if __name__ == "__main__":
    unittest.main()
"""


@pytest.mark.usefixtures("processes")
def test_every_test_runner_turns_schedulers_off(tmp_path):
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    served.run(tmp_path, "-m", "unittest", "app")
    served.run(tmp_path, "app.py")
    assert served.run(tmp_path, "-c", "import app; app.in_production()") == "embedded\n"
    assert not list(tmp_path.glob("*.db"))


MANAGED = """
import os, sys
import django
from django.apps import AppConfig
from django.conf import settings
from django.core.management import execute_from_command_line
from django.test import SimpleTestCase
from targcc_scheduler import Project, Scheduler, Settings, configure

configure(Project(name="shop", package="shop", database_url="sqlite:///real.db"))


class Config(AppConfig):
    name = "managed"
    path = os.path.dirname(os.path.abspath(__file__))

    def ready(self):  # before the command is known
        Config.mode = Settings().effective_mode


class ManagedTest(SimpleTestCase):
    def test_it_is_off(self):
        self.assertEqual((Config.mode, Settings().effective_mode), ("off", "off"))
        self.assertIn("manage.py test runs", Settings().why_off)


if __name__ == "__main__":
    import managed

    databases = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.db"}}
    settings.configure(SECRET_KEY="x", INSTALLED_APPS=["managed.Config"], DATABASES=databases)
    execute_from_command_line(sys.argv)
    print(managed.Config.mode)
"""


@pytest.mark.usefixtures("processes")
def test_manage_py_test_turns_schedulers_off_before_the_application_is_imported(tmp_path):
    (tmp_path / "managed.py").write_text(MANAGED, encoding="utf-8")
    served.run(tmp_path, "managed.py", "test", "managed")
    assert served.run(tmp_path, "managed.py", "check").endswith("embedded\n")


@pytest.mark.parametrize("lives", [True, False])
async def test_a_host_is_tested_without_a_database(lives, enqueued, tmp_path):
    """With and without the app's lifespan, because many tests skip the lifespan."""
    app = host()
    async with alive(app) if lives else client_of(app) as client:
        assert (await client.post("/users/7")).status_code == 200
        assert (await client.get("/jobs/health/live")).status_code == 200
        assert (await client.get("/jobs/health/ready")).status_code == 503
        page = await client.get("/jobs/login")
        assert (page.status_code, "as pytest runs" in page.text) == (503, True)
    [run] = enqueued("MailUserJob")
    assert (run.job, run.arguments["user_id"], run.state) == ("MailUser", 7, RunState.ENQUEUED)
    assert enqueued("DailyReport") == []
    assert list(tmp_path.iterdir()) == []


async def test_a_scheduler_that_is_off_starts_nothing_and_says_so(tmp_path):
    async with Scheduler() as scheduler:
        with pytest.raises(SchedulerOff, match="TARGCC_MODE=embedded"):
            await scheduler.change(_nothing)
        with pytest.raises(ArgumentsError):
            await scheduler.enqueue("MailUser", user_id="nobody")
        await scheduler.pause("DailyReport", by=SYSTEM)
        assert scheduler.node is None
    assert list(tmp_path.iterdir()) == []


async def _nothing(_: Any) -> None:
    raise AssertionError


async def test_what_is_enqueued_elsewhere_is_recorded_too(enqueued):
    many = [{"user_id": 1}, {"user_id": 2}]
    first = await Scheduler().enqueue_many("MailUser", many, session=object())
    second = Client().enqueue("MailUser", user_id=3)
    later = await Scheduler().schedule("MailUser", delay="15m", user_id=4)
    recorded_runs = enqueued()
    assert [run.run_id for run in recorded_runs] == [*first, second, later]
    assert [run.arguments["user_id"] for run in recorded_runs] == [1, 2, 3, 4]
    assert recorded_runs[-1].state == RunState.SCHEDULED
    assert await Scheduler().cancel(later, by=SYSTEM) == RunState.CANCELLED
    with pytest.raises(TimeoutError, match="still enqueued"):
        await Scheduler().wait(second, timeout=1)


async def test_jobs_run_inline_where_the_fixture_is_used(scheduler, enqueued):
    async with client_of(host()) as client:
        assert (await client.post("/users/7")).status_code == 200
    assert enqueued("MailUser")[0].state == RunState.SUCCEEDED
    run = await scheduler.enqueue("MailUser", user_id=8)
    assert await scheduler.wait(run) == RunState.SUCCEEDED
    assert Client(scheduler).enqueue("MailUser", user_id=9) == run + 1


async def test_what_a_job_raises_inline_comes_through(scheduler, enqueued):
    with pytest.raises(Exception, match="warehouse"):
        await scheduler.enqueue("SyncStock")
    assert enqueued("SyncStock")[0].state == RunState.FAILED
