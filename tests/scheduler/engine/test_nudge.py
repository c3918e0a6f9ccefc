"""A process hears at once of work that another process on the machine wrote to the same database file."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from targcc_scheduler.kernel.engine import sqlite
from targcc_scheduler.kernel.engine.sqlite import WakeFile

Listen = Callable[[Path], "asyncio.Future[tuple[WakeFile, asyncio.Queue[None]]]"]


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """Return a function that listens for a database file and returns the listener and a queue of notifications."""
    made: list[WakeFile] = []

    async def begin(database: Path) -> tuple[WakeFile, asyncio.Queue[None]]:
        heard: asyncio.Queue[None] = asyncio.Queue()
        made.append(WakeFile(database))
        await made[-1].listen(lambda: heard.put_nowait(None))
        return made[-1], heard

    yield begin
    for listener in made:
        listener.close()


async def test_all_others_of_the_same_file_hear_it(tmp_path, listen):
    me, own_queue = await listen(tmp_path / "jobs.db")
    others = [await listen(tmp_path / "jobs.db") for _ in range(2)]
    _, elsewhere = await listen(tmp_path / "other.db")

    me.send()

    for _, heard in others:
        await asyncio.wait_for(heard.get(), 30)
    assert own_queue.empty()
    assert elsewhere.empty()


async def test_a_path_says_the_same_however_it_is_written(tmp_path, listen, monkeypatch):
    _, heard = await listen(tmp_path / "jobs.db")
    monkeypatch.chdir(tmp_path)
    me = WakeFile(Path("jobs.db"))
    me.send()
    await asyncio.wait_for(heard.get(), 30)
    me.close()


async def test_many_at_once_are_two_and_the_last_is_not_lost(tmp_path, listen):
    me, _ = await listen(tmp_path / "jobs.db")
    sent: list[float] = []
    me._send = lambda: sent.append(asyncio.get_running_loop().time())  # type: ignore[method-assign]
    for _ in range(100):
        me.send()
    assert len(sent) == 1
    me.close()  # as a command does right after its write
    assert len(sent) == 2
    me.send()  # a late wake-up after close
    assert len(sent) == 2


@pytest.mark.parametrize("missing", ["bind", "setsockopt"])
async def test_a_machine_without_multicast_goes_on_without(tmp_path, listen, monkeypatch, missing):
    class Denied(socket.socket):
        pass

    def deny(*_: object) -> None:
        raise OSError("not here")

    monkeypatch.setattr(Denied, missing, deny, raising=False)
    monkeypatch.setattr(sqlite.socket, "socket", Denied)
    me, heard = await listen(tmp_path / "jobs.db")
    me.send()
    assert heard.empty()
