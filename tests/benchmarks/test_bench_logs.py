"""Processor time of the page of a long log, by size; run with `-m benchmark -n0 -s`."""

import statistics
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from bench_results import measured
from targcc_scheduler.kernel.queries.models import LogLine
from targcc_scheduler.web.dashboard.run_log import lines_html

pytestmark = pytest.mark.benchmark

LINE = 20_000
ODD = {
    "control characters": "\x01",
    "colours": "\x1b[31mx\x1b[0m",
    "addresses": "http://a.example/x ",
    "directions of text": "\u202e",
    "brackets after an address": "http://a.example/" + ")" * LINE,
}


def report(line: str) -> None:
    print(line)  # noqa: T201 - what the benchmark is for


def seconds(unit: str, characters: int) -> float:
    """Return the processor time that the lines of a log take to become HTML."""
    message = (unit * (LINE // len(unit) + 1))[:LINE]
    at = datetime(2026, 11, 30, tzinfo=UTC)
    lines = [LogLine(number, 1, at, "info", message) for number in range(characters // LINE)]
    before = time.process_time()
    lines_html(lines, ZoneInfo("UTC"))
    return time.process_time() - before


@pytest.mark.parametrize("kind", ODD)
def test_a_log_of_ten_megabytes_takes_ten_times_as_long_as_one(kind: str):
    rounds = [(seconds(ODD[kind], 1_000_000), seconds(ODD[kind], 10_000_000)) for _ in range(3)]
    small, large = (list(samples) for samples in zip(*rounds, strict=True))
    ratio = statistics.median(large) / statistics.median(small)
    measured("Page of a log", f"1 MB of {kind}", "processor", "s", small)
    measured("Page of a log", f"10 MB of {kind}", "processor", "s", large)
    report(f"\n{kind}: {statistics.median(large):.2f} s, {ratio:.1f} x a tenth")
    assert ratio <= 15
