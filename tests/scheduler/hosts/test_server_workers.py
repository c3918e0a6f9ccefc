"""Of the worker processes of one web server, one runs the jobs; another worker goes on when it ends."""

import os
import subprocess
import sys

import pytest
from fastapi import FastAPI
from hosting_rig import alive, until
from targcc_scheduler import Scheduler, Settings, mount
from targcc_scheduler.kernel.queries import system
from targcc_scheduler.web import guest, server_workers
from targcc_scheduler.web.server_workers import Turn, server_of_this_worker, turn_of

HOLD = """
import pathlib, sys
from targcc_scheduler.web.server_workers import Turn
print(Turn(pathlib.Path(sys.argv[1]), 7).take(), flush=True)
sys.stdin.read()
"""


@pytest.mark.usefixtures("processes")
def test_a_worker_that_is_killed_leaves_its_turn_to_another(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout.readline() == b"True\n"
        turn = Turn(tmp_path / "lock", 7)
        assert not turn.take()
        assert Turn(tmp_path / "lock", 8).take()  # a worker of another server
        worker.kill()
    assert turn.take()
    assert turn.take()


def test_a_turn_without_a_file_is_everyones(tmp_path):
    assert Turn(tmp_path / "no" / "lock", 7).take()


def test_servers_are_known_by_how_they_start_workers(monkeypatch):
    monkeypatch.delenv("SERVER_SOFTWARE", raising=False)
    assert server_of_this_worker() is None
    assert turn_of("sqlite:///shop.db") is None
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/23.0.0")
    assert server_of_this_worker() == os.getppid()
    monkeypatch.setattr(
        server_workers.multiprocessing, "parent_process", lambda: type("Server", (), {"pid": 12})
    )
    assert server_of_this_worker() == 12


class WaitingTurn(Turn):
    """A turn that the test gives."""

    free = released = False

    def take(self) -> bool:
        return self.free

    def release(self) -> None:
        self.released = True


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, database_url):
    return database_url if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


async def test_a_worker_with_pages_alone_takes_its_turn(monkeypatch, tmp_path, url):
    turn = WaitingTurn(tmp_path / "lock", 7)
    monkeypatch.setattr(guest, "turn_of", lambda _: turn)
    monkeypatch.setattr(guest, "_TURN", guest.timedelta(seconds=0.01))
    app, scheduler = FastAPI(), Scheduler(Settings(database_url=url, keepalive=False))
    mount(app, scheduler=scheduler, identify=lambda: ("ada", "admin"))

    async def nodes() -> int:
        return len(await scheduler.read(system.read_servers))

    async with alive(app) as client:
        page = (await client.get("/jobs/system")).text
        assert "one runs the jobs" in page
        assert (await client.get("/jobs/health/ready")).status_code == 200
        assert await nodes() == 0
        turn.free = True

        async def runs_jobs() -> bool:
            return await nodes() == 1

        await until(runs_jobs)
        assert not turn.released
    assert turn.released


async def test_a_process_that_serves_alone_says_nothing_of_workers(database_url):
    app, scheduler = FastAPI(), Scheduler(Settings(database_url=database_url))
    mount(app, scheduler=scheduler, identify=lambda: ("ada", "admin"))
    async with alive(app) as client:
        assert "one runs the jobs" not in (await client.get("/jobs/system")).text
