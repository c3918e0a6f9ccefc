import os
import signal

from targcc_scheduler.cli import interrupts
from targcc_scheduler.cli.interrupts import Interrupts


def test_the_first_stops_the_second_hurries_the_third_kills(monkeypatch):
    done: list[object] = []
    clock = iter([0.0, 0.1, 1.0, 1.2, 2.0])
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(os, "_exit", done.append)
    handler = Interrupts(lambda: done.append("stop"), lambda: done.append("hurry")).told
    after = []
    # the second and fourth signals follow so soon that they count as the same key press
    for _ in range(5):
        handler(signal.SIGINT)
        after.append(list(done))
    assert after == [
        ["stop"],
        ["stop"],
        ["stop", "hurry"],
        ["stop", "hurry"],
        ["stop", "hurry", 130],
    ]
