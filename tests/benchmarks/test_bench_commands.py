"""Processor time of a command that is sent to a server, beside the import of its libraries; run with `-m benchmark -n0 -s`."""

import http.server
import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_results import measured

pytestmark = pytest.mark.benchmark

TOPIC = "Start of a command"
LIBRARIES = "import click, httpx"
TARGCC = """
from targcc_scheduler import Project, configure
configure(Project(name="acme-jobs", package="acme_jobs"))
from targcc_scheduler.cli.main import main
main()
"""
JOB = {
    "name": "DailyReport",
    "schedule_words": "at 02:00 every day",
    "next_run": "2026-12-01T02:00:00Z",
    "last_run": {"state": "succeeded", "completed_at": "2026-11-30T02:00:05Z"},
    "owner": "new",
    "paused": None,
    "chain": None,
    "left_spec": False,
}
MOST = 1.5


def report(line: str) -> None:
    print(line)  # noqa: T201 - what the benchmark is for


class Answers(http.server.BaseHTTPRequestHandler):
    """Answer as a server with 20 jobs does."""

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        answer: Any = [JOB] * 20 if name == "jobs" else {"package": "acme_jobs", "broken": []}
        content = json.dumps(answer).encode()
        self.send_response(http.HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    """Serve the answers, and return the address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def processor_seconds(*words: str, environment: dict[str, str]) -> float:
    """Run Python and return the processor time of the process, user and system."""
    before = os.times()
    subprocess.run(
        [sys.executable, *words], check=True, capture_output=True, env=os.environ | environment
    )
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])


def test_a_command_at_a_server_starts_about_as_fast_as_its_libraries(address: str, tmp_path: Path):
    environment = {
        "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled"),  # both sides run compiled modules
        "PYTHONDONTWRITEBYTECODE": "",
        "TARGCC_PROFILES": str(tmp_path / "profiles.toml"),
    }
    command = ("-c", TARGCC, "--server", address, "job", "list")
    rounds = [
        (
            processor_seconds("-c", LIBRARIES, environment=environment),
            processor_seconds(*command, environment=environment),
        )
        for _ in range(10)
    ][1:]
    libraries, listed = (list(samples) for samples in zip(*rounds, strict=True))
    ratio = statistics.median(listed) / statistics.median(libraries)
    measured(TOPIC, "targcc job list at a server", "processor", "s", listed)
    measured(TOPIC, LIBRARIES, "processor", "s", libraries)
    report(f"\njob list at a server: {ratio:.2f} of {LIBRARIES}")
    assert ratio <= MOST
