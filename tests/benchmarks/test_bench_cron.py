"""Speed of finding the next run, compared with croniter's `get_next`; run with `-m benchmark -n0 -s`."""

import os
import subprocess
import sys
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from targcc_scheduler.schedules.cron import CronSchedule

pytestmark = pytest.mark.benchmark
BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 1, 1, tzinfo=BERLIN)
CALLS = 40
"""Calls of a round, which is shorter than the time that a busy processor gives to another process."""
ROUNDS = 70


def report(line):
    print(f"\n{line}", end="")  # noqa: T201 - what the benchmark is for


def ours(expression):
    schedule = CronSchedule.parse(expression)
    moment = START
    for _ in range(CALLS):
        moment = schedule.next(moment, BERLIN)


def theirs(expression):
    iterator = croniter(expression, START, max_years_between_matches=50)
    for _ in range(CALLS):
        iterator.get_next(datetime)


def seconds(run, argument):
    started = time.perf_counter()
    run(argument)
    return time.perf_counter() - started


@pytest.mark.parametrize("expression", ["*/5 * * * *", "0 2 * * *", "0 2 1 * *", "0 0 29 2 *"])
def test_next_is_at_least_as_fast_as_croniter(expression):
    rounds = [(seconds(ours, expression), seconds(theirs, expression)) for _ in range(ROUNDS)]
    # the rounds that the machine disturbed least
    own, peer = map(min, zip(*rounds, strict=True))
    per_call = [f"{least / CALLS * 1e6:6.1f} us" for least in (own, peer)]
    report(f"{expression:12} ours {per_call[0]}  croniter {per_call[1]}  ratio {peer / own:.1f}")
    assert own <= peer


def test_an_impossible_date_is_refused_at_once():
    schedule = CronSchedule.parse("0 0 30 2 *")
    started = time.perf_counter()
    assert schedule.next(START, BERLIN) is None
    elapsed = time.perf_counter() - started
    report(f"0 0 30 2 *   none after {elapsed * 1e6:.0f} us")
    assert elapsed < 0.05


def test_importing_costs_little_more_than_its_standard_library(tmp_path):
    # Compile once, like installed packages.
    compiled = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    compiled.pop("PYTHONDONTWRITEBYTECODE", None)

    def execute(code):
        subprocess.run([sys.executable, "-c", code], check=True, env=compiled)

    bare = min(seconds(execute, "import dataclasses, datetime, re, zoneinfo") for _ in range(6))
    whole = min(seconds(execute, "import targcc_scheduler.schedules") for _ in range(6))
    report(
        f"import targcc_scheduler.schedules {whole * 1e3:.0f} ms, of it standard library {bare * 1e3:.0f} ms"
    )
    assert whole < bare * 2.5
