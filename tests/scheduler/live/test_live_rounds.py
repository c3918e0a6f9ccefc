"""Polling loop behind open pages."""

import asyncio
import logging

from targcc_scheduler.web import hubs
from targcc_scheduler.web.hubs import PollLoop


async def test_a_fault_is_logged_and_those_who_look_go_on_hearing(monkeypatch, caplog):
    monkeypatch.setattr(hubs, "_AFTER_FAULT_SECONDS", 0.01)
    faults, logged = [LookupError("no such column"), TypeError("no number")], asyncio.Event()

    async def once() -> float:
        if faults:
            raise faults.pop(0)
        logged.set()
        return 60

    live: PollLoop[object] = PollLoop("following runs", once)
    with live.join(object()):
        async with asyncio.timeout(30):
            await logged.wait()
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in records] == [
        "following runs failed, which is a fault; it goes on"
    ] * 2
    for text in ("in once", "LookupError: no such column", "TypeError: no number"):
        assert text in caplog.text  # the traceback of the error
