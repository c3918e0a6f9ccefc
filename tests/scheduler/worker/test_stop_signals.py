"""Stop signals sent to the processes beside a node: a service manager signals every process of a service."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import isolated_jobs as jobs
import psutil
import pytest
from guarantee_rig import Ledger, until
from processes import environment
from projects import PATH
from targcc_scheduler import RunState, Scheduler, Settings
from targcc_scheduler.core import stop_signals
from targcc_scheduler.kernel.node.keepalive import _spawn
from targcc_scheduler.kernel.worker.processes import WorkerProcess, ended_from_outside

JOB_PROCESS = "targcc_scheduler.worker_process"
STOPS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
GRACE = 30.0

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="no signals")


@pytest.fixture
def ledger(migrated_url):
    return Ledger(migrated_url)


@pytest.fixture
async def scheduler(migrated_url):
    """A node that gives running jobs much time at a stop."""

    async def nobody(_event: object) -> None:
        """Send no alerts."""

    settings = Settings(
        _env_file=None, database_url=migrated_url, shutdown_grace=GRACE, migrate_on_start=False
    )
    made = Scheduler(settings, jobs_package="isolated_jobs", notify=nobody)
    await made.start(schedule=False)
    yield made
    await made.stop()


def _start_node(url):
    words = [sys.executable, str(Path(PATH) / "run_node.py"), "{}"]
    variables = {
        "TARGCC_DATABASE_URL": url,
        "TARGCC_LOST_AFTER_SECONDS": "30",
        "TARGCC_KEEPALIVE": "true",
        "JOBS_PACKAGE": "isolated_jobs",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.Popen(
        words,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


async def _running(scheduler, ledger):
    """Start a run that ignores signals; return its id and its process."""
    run_id = await scheduler.enqueue(jobs.BlocksJob)
    process = await until(lambda: _busy(scheduler), "its job runs")
    await until(lambda: ledger.run(run_id).State == "running", "it is running")
    return run_id, process


def _busy(scheduler):
    attempts = list(scheduler._host.node.executor._running.values())
    for attempt in attempts:
        if attempt._has_begun and (process := attempt.invocation._process) is not None:
            return psutil.Process(process.pid)
    return None


def _assert_handed_back(ledger, run_id):
    run = ledger.run(run_id)
    assert (run.State, run.Attempt) == ("enqueued", 0)
    assert ledger.attempts(run_id) == []


@pytest.mark.usefixtures("processes")
async def test_a_stop_of_every_process_hands_the_runs_of_job_processes_back(migrated_url, ledger):
    """As when systemd stops a unit: the signal reaches the processes beside the node first."""
    node = _start_node(migrated_url)
    client = Scheduler(
        Settings(_env_file=None, database_url=migrated_url, migrate_on_start=False),
        jobs_package="isolated_jobs",
    )
    try:
        run_id = await client.enqueue(jobs.PatientJob)
        await until(lambda: ledger.run(run_id).State == "running", "its job runs")
        children = psutil.Process(node.pid).children
        beside = await until(lambda: len(children()) == 2 and children(), "both are beside it")
        for process in beside:
            for number in STOPS:
                process.send_signal(number)
        node.send_signal(signal.SIGTERM)
        await until(lambda: node.poll() is not None, "it stops")
    finally:
        node.kill()
        output = node.communicate()[0]
        await client.stop()
    _assert_handed_back(ledger, run_id)
    assert "keepalive process has ended" not in output


@pytest.mark.usefixtures("processes")
async def test_a_job_process_that_is_killed_while_its_node_stops_gives_its_run_back(
    scheduler, ledger
):
    run_id, process = await _running(scheduler, ledger)
    stopping = asyncio.create_task(scheduler.stop())
    executor = scheduler._host.node.executor
    await until(lambda: executor._stopping, "its jobs are told")
    process.kill()
    await stopping
    _assert_handed_back(ledger, run_id)


@pytest.mark.usefixtures("processes")
async def test_a_job_process_that_is_killed_just_before_its_node_is_told_gives_its_run_back(
    scheduler, ledger
):
    run_id, process = await _running(scheduler, ledger)
    process.kill()
    scheduler.hold()
    await until(lambda: ledger.run(run_id).State != "running", "its run is settled")
    _assert_handed_back(ledger, run_id)


@pytest.mark.usefixtures("processes")
async def test_a_job_process_that_is_killed_while_its_node_works_fails_its_run(scheduler, ledger):
    run_id, process = await _running(scheduler, ledger)
    process.kill()
    assert await scheduler.wait(run_id, 60) == RunState.FAILED
    [row] = ledger.attempts(run_id)
    assert "SIGKILL" in row.ErrorMessage


@pytest.mark.usefixtures("processes")
async def test_what_a_job_starts_takes_signals_as_any_program_does(scheduler, ledger):
    run_id = await scheduler.enqueue(jobs.StartsProgramJob)
    assert await scheduler.wait(run_id, 60) == RunState.SUCCEEDED
    [row] = ledger.attempts(run_id)
    seen = json.loads(row.MetadataJson)
    assert seen["program"] == "['SIGTERM', 'SIGINT', 'SIGHUP']\n"
    assert seen["copy"] == -signal.SIGTERM


@pytest.mark.usefixtures("processes")
async def test_a_job_process_that_starts_leaves_signals_to_its_node(scheduler):
    process = WorkerProcess(JOB_PROCESS, scheduler._host._process_setup())
    for number in STOPS:
        os.kill(process.pid, number)
    try:
        await until(lambda: process.is_ready or not process.alive, "it is ready")
        assert process.is_ready
    finally:
        process.end()


@pytest.mark.usefixtures("processes")
async def test_a_keepalive_process_that_starts_leaves_signals_to_its_node():
    with _spawn() as process:
        for number in STOPS:
            process.send_signal(number)
        try:
            process.stdin.write(b'{"silence": 60}\n')
            running = psutil.Process(process.pid)
            await until(lambda: running.num_threads() == 2, "it watches")
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("code", "windows", "outside"),
    [
        (-signal.SIGKILL, False, True),
        (-signal.SIGTERM, False, True),
        (-signal.SIGHUP, False, True),
        (-signal.SIGQUIT, False, True),
        (-signal.SIGSEGV, False, False),
        (-signal.SIGABRT, False, False),
        (-signal.SIGBUS, False, False),
        (0, False, False),
        (1, False, False),
        (7, False, False),
        (0xC000013A, False, False),
        (1, True, True),  # TerminateProcess, as taskkill and service managers call it
        (0xC000013A, True, True),  # a console event without a handler
        (0x40010004, True, True),  # the end of a session
        (0xC0000005, True, False),
        (0, True, False),
        (7, True, False),
    ],
)
def test_who_ended_a_process_is_told_by_its_exit_status(code, windows, outside):
    assert ended_from_outside(code, windows=windows) is outside


def test_console_events_of_windows_are_left_to_the_node_as_signals_are(monkeypatch):
    """Windows sends Ctrl+C and Ctrl+Break to every process of a console; Python maps them to SIGINT and SIGBREAK."""
    handlers = {}
    windows = {"SIGINT": 2, "SIGTERM": 15, "SIGBREAK": 21}
    for name in ("SIGHUP", "pthread_sigmask", "siginterrupt"):
        monkeypatch.delattr(signal, name)
    monkeypatch.setattr(signal, "SIGBREAK", windows["SIGBREAK"], raising=False)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    stop_signals.leave_to_node()
    assert sorted(handlers) == sorted(windows.values())
