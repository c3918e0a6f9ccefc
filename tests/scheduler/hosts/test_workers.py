"""Several web processes of one application, started by the commands of ``docs/hosts/fastapi.md``."""

import os
import re
import signal
from pathlib import Path

import httpx
import pages
import pytest
from served import answers, free_port, process, rows, run, until

pytestmark = pytest.mark.soak

TICK = '''from ..scheduler import job


@job("* * * * * *", misfire="skip", overlap="allow")
def tick() -> None:
    """Every second."""
'''
TABLES = "import asyncio\nfrom shop.database import Base, engine\nasync def make():\n    async with engine.begin() as db: await db.run_sync(Base.metadata.create_all)\nasyncio.run(make())"
UVICORN = "-m uvicorn shop.main:app --workers 4 --port {port}"
GUNICORN = (
    "-m gunicorn shop.main:app --workers 4 --worker-class uvicorn_worker.UvicornWorker"
    " --bind 127.0.0.1:{port}"
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = pages.write("fastapi.md", tmp_path)
    (root / "shop" / "jobs" / "tick.py").write_text(TICK, encoding="utf-8")
    run(root, "-c", TABLES)
    run(root, "-c", "from shop.scheduler import migrate; migrate()")
    return root


def nodes(root: Path) -> int:
    return len(rows(root / "shop.db", "SELECT Id FROM c_JobServer"))


def sign_up_many(port: int) -> None:
    """Post on a new connection each time, so that every process gets some of the requests."""
    for number in range(24):
        answer = httpx.post(
            f"http://127.0.0.1:{port}/users", params={"name": f"user {number}"}, timeout=30
        )
        assert answer.status_code == 200, answer.text


def greeted(root: Path) -> int:
    wanted = "SELECT count(*) FROM c_JobRun WHERE JobName = 'SendWelcome' AND State = 'succeeded'"
    return rows(root / "shop.db", wanted)[0][0]


@pytest.mark.parametrize("server", [UVICORN, GUNICORN], ids=["uvicorn", "gunicorn"])
def test_one_of_four_web_processes_works_and_another_goes_on_when_it_is_killed(shop, server):
    port = free_port()
    done = "SELECT ScheduledFor, count(*) FROM c_LoggedJob WHERE JobName = 'Tick' GROUP BY 1"
    with process(shop, server.format(port=port), TARGCC_MODE="embedded"):
        until(lambda: nodes(shop) == 1, "one node")
        sign_up_many(port)
        until(lambda: greeted(shop) == 24, "everybody is greeted")
        until(lambda: len(rows(shop / "shop.db", done)) >= 4, "four slots")
        assert nodes(shop) == 1
        [(worker,)] = rows(shop / "shop.db", "SELECT ProcessId FROM c_JobServer")
        os.kill(worker, signal.SIGKILL)
        slots = len(rows(shop / "shop.db", done))
        until(lambda: len(rows(shop / "shop.db", done)) >= slots + 4, "four more slots")
        assert {count for _, count in rows(shop / "shop.db", done)} == {1}
    left = rows(shop / "shop.db", "SELECT ProcessId FROM c_JobServer")
    assert left in ([], [(worker,)])  # until another node declares the killed worker lost


def test_four_web_processes_show_and_enqueue_and_a_worker_works(shop):
    port = free_port()
    with process(shop, GUNICORN.format(port=port), TARGCC_MODE="pages"):
        until(lambda: answers(f"http://127.0.0.1:{port}/jobs/health/ready"), "the pages")
        sign_up_many(port)
        states = "SELECT State, count(*) FROM c_JobRun GROUP BY State"
        assert rows(shop / "shop.db", states) == [("enqueued", 24)]
        assert nodes(shop) == 0
        with process(shop, "-m targcc_scheduler --project shop worker"):
            until(lambda: greeted(shop) == 24, "everybody is greeted")
            assert nodes(shop) == 1
            ticks = "SELECT count(*) FROM c_LoggedJob WHERE JobName = 'Tick'"
            until(lambda: rows(shop / "shop.db", ticks)[0][0] >= 3, "three slots")
    log = (shop / "log.txt").read_text(encoding="utf-8")
    assert not re.search(r"Traceback|ERROR", log), log
