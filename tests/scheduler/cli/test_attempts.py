"""A failed attempt speaks at once: the user's frames, the error, and when the next attempt comes."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from projects import WEB
from targcc_scheduler.cli.attempts import traceback_lines
from targcc_scheduler.cli.main import main

Targcc = Callable[..., Result]
SOON = timedelta(milliseconds=50)
SHORT = """Traceback (most recent call last):
  File "/srv/venv/lib/python3.12/site-packages/targcc_scheduler/kernel/worker/runner.py", line 490, in _call
    return function(**arguments)
  File "/srv/app/jobs/report.py", line 12, in execute
    rows = self.read()
           ^^^^^^^^^^^
  File "/srv/app/jobs/report.py", line 23, in read
    return client.get(1)
  File "/srv/venv/lib/python3.12/site-packages/client/core.py", line 7, in get
    raise KeyError("rows")
KeyError: 'rows'
"""
WINDOWS = r"""Traceback (most recent call last):
  File "C:\app\jobs\report.py", line 23, in read
    return json.loads(text)
  File "C:\Python312\Lib\json\__init__.py", line 346, in loads
    return _default_decoder.decode(s)
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
"""
CAUSED = """Traceback (most recent call last):
  File "/srv/app/jobs/report.py", line 5, in read
    int("x")
ValueError: invalid literal

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/app/jobs/report.py", line 9, in execute
    raise RuntimeError("no report\\nsecond line") from error
RuntimeError: no report
second line
"""
DEEP = (
    "Traceback (most recent call last):\n"
    + "".join(
        f'  File "/srv/app/deep.py", line {n}, in walk\n    walk({n})\n' for n in range(1, 13)
    )
    + "RecursionError: too deep\n"
)
FOREIGN = """Traceback (most recent call last):
  File "/srv/venv/lib/python3.12/site-packages/client/core.py", line 7, in get
    raise KeyError("rows")
KeyError: 'rows'
"""
GROUP = """  + Exception Group Traceback (most recent call last):
  |   File "/srv/app/jobs/report.py", line 3, in execute
  | ExceptionGroup: two (2 sub-exceptions)
"""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            SHORT,
            [
                "/srv/app/jobs/report.py:12 in execute",
                "  rows = self.read()",
                "/srv/app/jobs/report.py:23 in read",
                "  return client.get(1)",
                "KeyError: 'rows'",
            ],
        ),
        (
            WINDOWS,
            [
                r"C:\app\jobs\report.py:23 in read",
                "  return json.loads(text)",
                "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
            ],
        ),
        (
            CAUSED,
            [
                "/srv/app/jobs/report.py:9 in execute",
                '  raise RuntimeError("no report\\nsecond line") from error',
                "RuntimeError: no report",
                "second line",
                "  after ValueError: invalid literal",
            ],
        ),
        (FOREIGN, FOREIGN.splitlines()),
        (GROUP, GROUP.splitlines()),
        ("only a message", ["only a message"]),
        ("", []),
    ],
    ids=[
        "own frames",
        "on Windows",
        "with a cause",
        "no own frame",
        "a group",
        "no frames",
        "empty",
    ],
)
def test_a_traceback_is_cut_to_the_frames_of_the_user(text: str, lines: list[str]):
    assert list(traceback_lines(text, full=False)) == lines
    assert list(traceback_lines(text, full=True)) == text.rstrip().splitlines()


def test_a_deep_traceback_ends_with_its_last_frames():
    lines = list(traceback_lines(DEEP, full=False))
    assert lines[0] == "… 4 more frames: --full shows them"
    assert lines[1] == "/srv/app/deep.py:5 in walk"
    assert lines[-1] == "RecursionError: too deep"


@pytest.fixture
def targcc(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Targcc:
    """Return a function that runs a command line on either database and checks its exit status."""
    monkeypatch.setenv("TARGCC_DATABASE_URL", migrated_url)

    def call(*arguments: str, status: int) -> Result:
        result = CliRunner().invoke(main, arguments, prog_name="targcc")
        assert result.exit_code == status, result.output
        return result

    return call


@pytest.mark.slow
def test_a_try_by_hand_is_not_retried_and_shows_the_error(
    targcc: Targcc, monkeypatch: pytest.MonkeyPatch
):
    patient = replace(WEB, job_options={"SyncStock": {"retries": 3, "backoff": "1h"}})
    monkeypatch.setattr("targcc_scheduler.project._configured", patient)
    result = targcc("job", "run", "SyncStock", "--wait", "--timeout", "60s", status=1)
    [head] = re.findall(
        r"^\d\d:\d\d:\d\d  SyncStock  attempt \d failed after .+$", result.stderr, re.MULTILINE
    )
    assert "attempt 1 failed" in head
    assert re.search(r"^ {10}\S+sync_stock\.py:\d+ in fetch$", result.stderr, re.MULTILINE)
    assert "WarehouseError: the warehouse answered 503" in result.stderr
    assert "Traceback" not in result.stderr
    assert "run 1 of SyncStock failed" in result.stdout


def test_the_whole_traceback_is_there_on_request(targcc: Targcc):
    result = targcc("job", "run", "SyncStock", "--wait", "--full", status=1)
    assert "          Traceback (most recent call last):" in result.stderr


@pytest.mark.slow
def test_retries_on_request_are_announced_with_their_time(
    targcc: Targcc, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("targcc_scheduler.kernel.worker.outcome.backoff", lambda *_: SOON)
    result = targcc("job", "run", "SyncStock", "--wait", "--retries", "1", status=1)
    heads = re.findall(r"attempt (\d) failed", result.stderr)
    assert heads == ["1", "2"]
    assert re.search(r"^ {10}attempt 2 at \d\d:\d\d:\d\d \(.+\)$", result.stderr, re.MULTILINE)


def test_a_run_without_wait_keeps_the_retries_of_its_job(targcc: Targcc):
    targcc("job", "run", "SyncStock", status=0)
    result = targcc("job", "run", "SyncStock", "--retries", "255", status=2)
    assert "--retries" in result.stderr


@pytest.mark.slow
def test_json_stays_one_object_on_stdout(targcc: Targcc):
    result = targcc("job", "run", "SyncStock", "--wait", "--json", status=1)
    run = json.loads(result.stdout)
    assert (run["state"], run["attempt"], result.stderr) == ("failed", 1, "")
    assert Path(run["attempts"][0]["traceback"].split('"')[1]).name == "sync_stock.py"
