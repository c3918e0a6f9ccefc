"""The first command of the README."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).with_name("targcc-gen")


@contextlib.contextmanager
def demo(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [PROGRAM, "demo", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C on a terminal signals the whole process group
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def read_until(process: subprocess.Popen[str], pattern: str, seconds: float = 60) -> str:
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    seen = ""
    while time.monotonic() < deadline and (line := process.stdout.readline()):
        seen += line
        if match := re.search(pattern, line):
            return match.group(0)
    raise AssertionError(f"{pattern!r} did not come:\n{seen}")


# The demo of an installed wheel covers the package in the quick tests too.
PACKAGE = pytest.param(("--scheduler", "package"), marks=pytest.mark.soak)


@pytest.mark.parametrize("more", [(), PACKAGE])
def test_demo_check_runs_a_job_over_rest_and_stops(more: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [PROGRAM, "demo", "--check", *more],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert (
        "own .venv" not in done.stdout
    )  # the tests' interpreter has the requirements of both ways
    assert re.search(r"Heartbeat, run \d+: succeeded", done.stdout)
    assert list(tmp_path.iterdir()) == []


def test_demo_shows_its_dashboard_until_ctrl_c_and_keeps_a_named_folder(tmp_path: Path) -> None:
    with demo("acme", cwd=tmp_path) as process:
        link = read_until(process, r"http://127\.0\.0\.1:\d+/\S+token=\S+")
        with urllib.request.urlopen(link, timeout=30) as page:
            body = page.read().decode()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)

    assert "acme-jobs" in body
    assert process.returncode == 0
    assert (tmp_path / "acme" / "targcc.yaml").is_file()


def test_demo_into_a_folder_with_files_of_the_same_name_writes_nothing(tmp_path: Path) -> None:
    precious = tmp_path / "acme" / "pyproject.toml"
    precious.parent.mkdir()
    precious.write_text("mine", encoding="utf-8")

    done = subprocess.run(
        [PROGRAM, "demo", "acme", "--check"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3
    assert "pyproject.toml" in done.stderr
    assert [path for path in precious.parent.rglob("*") if path.is_file()] == [precious]
    assert precious.read_text(encoding="utf-8") == "mine"
