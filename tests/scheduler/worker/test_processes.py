"""Jobs in separate processes: real processes, a real database."""

import asyncio
import json
import os
import queue
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace

import isolated_jobs as jobs
import psutil
import pytest
import sql_server
from rt_tools import QUICK, Database, ServerDatabase, until
from targcc_scheduler import (
    Actor,
    ActorKind,
    JobContext,
    RunState,
    Scheduler,
    Settings,
    job,
    migrate,
)
from targcc_scheduler.core.clock import uptime
from targcc_scheduler.core.errors import JobError
from targcc_scheduler.kernel.jobs.context import StopReason
from targcc_scheduler.kernel.jobs.declaration import Declaration, define
from targcc_scheduler.kernel.worker.claimer import Lease
from targcc_scheduler.kernel.worker.processes import ProcessPool
from targcc_scheduler.project import Project

DANA = Actor(ActorKind.MANUAL, "dana")


async def _ignore(_event: object) -> None:
    """Send no alerts."""


@pytest.fixture(scope="module")
def database(shared_database):
    """One database for all tests of this module, because processes take a moment to start."""
    return shared_database


@pytest.fixture
def own_database(tmp_path, empty_database, request):
    if sql_server.STORE:
        url = request.getfixturevalue("mssql_url")
        migrate(url)
        return ServerDatabase(url, tmp_path)
    shutil.copy(empty_database, tmp_path / "jobs.db")
    return Database(tmp_path / "jobs.db")


@pytest.fixture(scope="module")
def scheduler(database):
    settings = Settings(database_url=database.url, **QUICK)
    made = Scheduler(settings, jobs_package="isolated_jobs", notify=_ignore)
    _run(made.start(schedule=False))
    yield made
    _run(made.stop())


def _run(coroutine):
    """Run a coroutine in a separate thread, so that this thread keeps its event loop."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, coroutine).result()


async def _end(scheduler, run_id):
    """Wait for the end of a run and return its state."""
    return await scheduler.wait(run_id, 60)


@pytest.mark.usefixtures("processes")
async def test_a_job_runs_in_another_process_with_all_it_has_in_this_one(scheduler, database):
    run_id = await scheduler.enqueue(jobs.ReportJob, note="first")
    assert await _end(scheduler, run_id) == RunState.SUCCEEDED
    [row] = database.history(run_id)
    assert row["ResultMessage"] == "first ünï"
    metadata = json.loads(row["MetadataJson"])
    assert metadata["note"] == "first"
    assert metadata["pid"] in {child.pid for child in psutil.Process().children()}
    [line] = database.rows("SELECT Message FROM c_JobLogLine WHERE RunId = ?", run_id)
    assert line["Message"] == "began note=first"
    assert (database.run(run_id)["ProgressDone"], database.run(run_id)["ProgressTotal"]) == (1, 2)


@pytest.mark.usefixtures("processes")
async def test_it_sees_the_runs_that_it_waited_for(scheduler, database):
    parents = [await scheduler.enqueue(jobs.ReportJob, note=note) for note in ("one", "two")]
    child = await scheduler.enqueue(jobs.after_report, after=parents)
    assert await _end(scheduler, child) == RunState.SUCCEEDED
    [row] = database.history(child)
    seen = json.loads(row["MetadataJson"])
    assert seen == {"said": [parents[0], "succeeded", "two ünï", "two"], "all": 2}


@pytest.mark.usefixtures("processes")
async def test_its_process_waits_warm_for_the_next(scheduler, database):
    pids = []
    for note in ("one", "two"):
        run_id = await scheduler.enqueue(jobs.ReportJob, note=note)
        await _end(scheduler, run_id)
        pids.append(json.loads(database.history(run_id)[0]["MetadataJson"])["pid"])
    assert pids[0] == pids[1]


@pytest.mark.usefixtures("processes")
async def test_a_process_that_nobody_wants_does_not_wait_for_ever(scheduler, monkeypatch):
    monkeypatch.setattr("targcc_scheduler.kernel.worker.processes._IDLE_SECONDS", 0.2)
    pool = ProcessPool("targcc_scheduler.worker_process", scheduler._host._process_setup())
    pool.warm_up()
    # The scheduler's own pool warms up too, so not all children of this process belong to this pool.
    [made] = await until(lambda: list(pool._all))
    process = psutil.Process(made.pid)
    await until(lambda: not _lives(process))
    pool.stop()


@pytest.mark.usefixtures("processes")
async def test_a_plain_function_runs_there_too(scheduler, database):
    run_id = await scheduler.enqueue(jobs.plain)
    assert await _end(scheduler, run_id) == RunState.SUCCEEDED
    assert database.history(run_id)[0]["ResultMessage"] == f"Plain {run_id} 1 False"


@pytest.mark.usefixtures("processes")
async def test_what_it_raises_is_in_the_history_with_its_traceback(scheduler, database):
    run_id = await scheduler.enqueue(jobs.RaisesJob)
    assert await _end(scheduler, run_id) == RunState.FAILED
    [row] = database.history(run_id)
    assert row["ErrorMessage"] == "ValueError: the order has no lines"
    assert "isolated_jobs.py" in row["StackTrace"]
    assert "worker/processes" not in row["StackTrace"]


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("exit", "exit status 7"),
        pytest.param(
            "kill",
            "SIGKILL",
            marks=pytest.mark.skipif("sys.platform == 'win32'", reason="no signals"),
        ),
        ("segfault", "0xc0000005" if sys.platform == "win32" else "SIGSEGV"),
    ],
)
async def test_a_process_that_dies_costs_its_own_run_alone(scheduler, database, how, said):
    patient = await scheduler.enqueue(jobs.PatientJob)
    await until(lambda: database.run(patient)["State"] == "running")
    run_id = await scheduler.enqueue(jobs.DiesJob, how=how)
    assert await _end(scheduler, run_id) == RunState.FAILED
    [row] = database.history(run_id)
    assert said in row["ErrorMessage"]
    assert database.run(patient)["State"] == "running"
    after = await scheduler.enqueue(jobs.ReportJob)
    assert await _end(scheduler, after) == RunState.SUCCEEDED
    await scheduler.cancel(patient, by=DANA)
    assert await _end(scheduler, patient) == RunState.CANCELLED


@pytest.mark.usefixtures("processes")
@pytest.mark.skipif("sys.platform == 'win32'", reason="it does not fork")
async def test_a_job_that_forks_ends_once_and_its_copy_does_not_live_on(scheduler, database):
    pids = set()
    for _ in range(2):
        run_id = await scheduler.enqueue(jobs.TwinJob)
        assert await _end(scheduler, run_id) == RunState.SUCCEEDED
        [row] = database.history(run_id)
        pids |= set(json.loads(row["MetadataJson"])["pids"])
    assert len(pids) == 4  # neither process was reused
    await until(lambda: not [pid for pid in pids if psutil.pid_exists(pid)])


@pytest.mark.usefixtures("processes")
async def test_arguments_that_are_too_long_for_a_process_fail_the_run(
    scheduler, database, monkeypatch
):
    monkeypatch.setattr("targcc_scheduler.kernel.worker.processes.LONGEST", 1000)
    run_id = await scheduler.enqueue(jobs.ReportJob, note="x" * 1000)
    assert await _end(scheduler, run_id) == RunState.FAILED
    [row] = database.history(run_id)
    assert "its arguments: 1" in row["ErrorMessage"]
    assert "which take 1000" in row["ErrorMessage"]


@pytest.mark.usefixtures("processes")
async def test_a_timeout_ends_code_that_holds_the_interpreter(scheduler, database):
    run_id = await scheduler.enqueue(jobs.DeafJob)
    assert await _end(scheduler, run_id) == RunState.FAILED
    [row] = database.history(run_id)
    assert "timed out" in row["ErrorMessage"]
    assert "abandoned" not in row["ErrorMessage"]
    assert row["DurationMs"] < 10_000
    message = database.one("SELECT Message FROM c_JobLogLine WHERE RunId = ?", run_id)
    await until(lambda: not psutil.pid_exists(int(message.removeprefix("deaf pid="))))


@pytest.mark.usefixtures("processes")
async def test_a_job_that_takes_more_memory_than_it_may_is_ended(scheduler, database):
    run_id = await scheduler.enqueue(jobs.GreedyJob)
    assert await _end(scheduler, run_id) == RunState.FAILED
    assert "and may use 200" in database.history(run_id)[0]["ErrorMessage"]


@pytest.mark.usefixtures("processes")
async def test_a_step_that_is_kept_is_not_repeated_by_another_process(scheduler, database):
    run_id = await scheduler.enqueue(jobs.SteppingJob)
    assert await _end(scheduler, run_id) == RunState.SUCCEEDED
    rows = database.history(run_id)
    assert [row["Success"] for row in rows] == [0, 1]
    assert rows[-1]["ResultMessage"] == "True 1"


@pytest.mark.usefixtures("processes")
async def test_its_processor_time_and_memory_are_its_own(scheduler, database):
    run_id = await scheduler.enqueue(jobs.BurnsJob)
    await _end(scheduler, run_id)
    [row] = database.history(run_id)
    assert 450 <= row["CpuTimeMs"] <= 1_500
    if sys.platform == "linux":
        assert 95 <= row["MemoryUsedMB"] <= 130


@pytest.mark.usefixtures("processes")
async def test_it_may_start_other_jobs(scheduler, database):
    run_id = await scheduler.enqueue(jobs.StartsOtherJob)
    assert await _end(scheduler, run_id) == RunState.SUCCEEDED, database.history(run_id)[0][
        "ErrorMessage"
    ]
    other = int(database.history(run_id)[0]["ResultMessage"])
    assert await _end(scheduler, other) == RunState.SUCCEEDED


@pytest.mark.usefixtures("processes")
async def test_no_process_is_left_when_the_node_stops(own_database):
    database = own_database
    settings = Settings(database_url=database.url, **QUICK)
    scheduler = Scheduler(settings, jobs_package="isolated_jobs", notify=_ignore)
    others = psutil.Process().children()
    await scheduler.start(schedule=False)
    await _end(scheduler, await scheduler.enqueue(jobs.ReportJob))
    busy = await scheduler.enqueue(jobs.PatientJob)
    await until(lambda: database.run(busy)["State"] == "running")
    children = [child for child in psutil.Process().children() if child not in others]
    assert children
    await scheduler.stop()
    assert psutil.wait_procs(children, timeout=30)[1] == []
    assert database.run(busy)["State"] == "enqueued"


_NODE = """
import asyncio, sys
from projects import RIG
from targcc_scheduler import Scheduler, Settings
from targcc_scheduler.project import configure

async def main():
    configure(RIG)
    scheduler = Scheduler(Settings(database_url=sys.argv[1]), jobs_package="isolated_jobs")
    await scheduler.start(schedule=False)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("name", ["Deaf", "Patient"])
async def test_no_process_outlives_a_node_that_is_killed(own_database, name):
    database = own_database
    settings = Settings(database_url=database.url, **QUICK)
    client = Scheduler(settings, jobs_package="isolated_jobs")
    run_id = await client.trigger(name, by=DANA)
    await client.stop()
    command = [sys.executable, "-c", _NODE, database.url]
    node = psutil.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        await until(lambda: database.run(run_id)["State"] == "running", 60)
        children = await until(node.children)
    finally:
        node.kill()
        node.wait()
    await until(lambda: not any(_lives(child) for child in children))


def _lives(process):
    """Return whether a process runs; a zombie does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _declared(isolation=None, queue="default", memory_limit=None):
    options = {"isolation": isolation, "queue": queue, "memory_limit": memory_limit}
    project = Project(name="any", package="any", process_queues=("heavy",))
    return Declaration(jobs.plain, None, options).complete(project)


def test_a_queue_may_say_it_for_its_jobs():
    assert _declared().isolation == "thread"
    assert _declared(queue="heavy").isolation == "process"
    assert _declared("thread", "heavy").isolation == "thread"
    assert _declared(memory_limit=100).isolation == "process"


def test_what_another_process_cannot_import_is_refused():
    with pytest.raises(JobError, match="top of a module"):

        @job(isolation="process")
        def inner():
            """Job defined within a function."""


@pytest.mark.parametrize(
    "options", [("fiber",), ("thread", "default", 5), ("process", "default", 0)]
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(JobError, match=r"isolation is|memory_limit is"):
        _declared(*options)


@pytest.mark.usefixtures("processes")
def test_what_is_told_to_stop_while_its_process_starts_never_begins(scheduler):
    """While a frozen node starts a process, another node takes the run over; the run must not begin when the first node wakes."""
    pool = ProcessPool("targcc_scheduler.worker_process", scheduler._host._process_setup())
    heard = queue.SimpleQueue()
    invocation, ctx = _begin(pool, heard)
    lost = (StopReason.LOST, "another node has taken the run over")
    ctx.tell_to_stop(*lost)
    invocation.tell(*lost)
    ended = heard.get(timeout=30)
    assert (ended.interrupted, ended.outcome.ok, ctx.noticed) == (True, False, True)
    pool.stop()


@pytest.mark.usefixtures("processes")
async def test_what_has_its_process_when_the_node_wakes_waits_for_the_next_heartbeat(scheduler):
    """The node has no news yet: the next heartbeat decides whether the run is still the node's."""
    pool = ProcessPool("targcc_scheduler.worker_process", scheduler._host._process_setup())
    lease, heard = Lease(20), queue.SimpleQueue()
    _begin(pool, heard, when=lease.then)
    lost, lost_ctx = _begin(pool, heard, when=lease.then)
    await until(lambda: len(lease._calls) == 2, 60)
    assert heard.empty()
    lost_ctx.tell_to_stop(StopReason.LOST, "another node has taken the run over")
    lost.tell(StopReason.LOST, "another node has taken the run over")
    lease.renew(uptime())
    messages = [heard.get(timeout=30) for _ in range(3)]
    ended = [message for message in messages if not isinstance(message, str)]
    assert sorted((message.interrupted, message.outcome.ok) for message in ended) == [
        (False, True),
        (True, False),
    ]
    assert messages.count("begun") == 1
    pool.stop()


def _begin(pool, heard, when=lambda call: call()):
    """Begin an attempt whose messages and end go to a queue."""
    ctx = JobContext(
        define(jobs.ReportJob),
        run_id=1,
        attempt=1,
        scheduled_for=datetime.now(UTC),
        triggered_by="test",
        recorder=SimpleNamespace(write=lambda *_: heard.put("log")),
    )
    recorder = SimpleNamespace(write=lambda *_: None, progress=lambda *_: None)
    invocation = pool.begin(
        ctx.definition,
        ctx,
        ('{"note": "n"}', None),
        recorder=recorder,
        when=when,
        on_begin=lambda: heard.put("begun"),
        on_end=heard.put,
    )
    return invocation, ctx


@pytest.mark.usefixtures("processes")
async def test_an_attempt_takes_the_first_process_that_is_free(scheduler, tmp_path, monkeypatch):
    """The attempt does not wait for the process that starts for it; the number of starting processes is limited."""
    monkeypatch.setattr("targcc_scheduler.kernel.worker.processes._MOST_STARTING", 1)
    pool = ProcessPool("targcc_scheduler.worker_process", scheduler._host._process_setup())
    pool.warm_up()
    await until(lambda: pool._idle)
    (tmp_path / "never_ready.py").write_text("def main():\n    import sys\n    sys.stdin.read()\n")
    monkeypatch.syspath_prepend(tmp_path)
    pool._module = "never_ready"
    heard = queue.SimpleQueue()
    for _ in range(4):
        _begin(pool, heard)
    messages = [heard.get(timeout=30) for _ in range(8)]
    ended = [message for message in messages if message != "begun"]
    assert [message.outcome.ok for message in ended] == [True] * 4
    assert len(pool._starting) == 1
    pool.stop()


@pytest.mark.usefixtures("processes")
def test_a_process_that_ends_before_it_is_ready_costs_one_attempt(scheduler, tmp_path, monkeypatch):
    (tmp_path / "never_begins.py").write_text("def main():\n    raise SystemExit(7)\n")
    monkeypatch.syspath_prepend(tmp_path)
    pool = ProcessPool("never_begins", scheduler._host._process_setup())
    heard = queue.SimpleQueue()
    for _ in range(3):
        _begin(pool, heard)
    ended = [heard.get(timeout=30) for _ in range(3)]
    assert {message.outcome.ok for message in ended} == {False}
    assert all("exit status 7" in message.outcome.message for message in ended)
    pool.stop()
    assert heard.empty()


@pytest.mark.usefixtures("processes")
def test_attempts_that_wait_for_a_process_end_with_the_node(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr("targcc_scheduler.kernel.worker.processes._MOST_STARTING", 1)
    (tmp_path / "not_ready.py").write_text("def main():\n    import sys\n    sys.stdin.read()\n")
    monkeypatch.syspath_prepend(tmp_path)
    pool = ProcessPool("not_ready", scheduler._host._process_setup())
    heard = queue.SimpleQueue()
    for _ in range(3):
        _begin(pool, heard)
    pool.stop()
    ended = [heard.get(timeout=30) for _ in range(3)]
    assert ["shutting down" in str(message.outcome) for message in ended] == [True] * 3


@pytest.mark.usefixtures("processes")
async def test_a_process_that_has_closed_its_pipes_and_is_still_there_gets_no_run(
    scheduler, monkeypatch
):
    """A killed process closes its pipes first; for a moment the system still reports the process as running."""
    pool = ProcessPool("targcc_scheduler.worker_process", scheduler._host._process_setup())
    pool.warm_up()
    [made] = await until(lambda: list(pool._all))
    await until(lambda: pool._idle and made.is_ready)
    made._process.kill()
    made._reader.join(30)
    monkeypatch.setattr(made._process, "poll", lambda: None)
    heard = queue.SimpleQueue()
    made.listen(heard.put)
    assert heard.get(timeout=30) is None
    assert pool._take() is None
    pool.stop()
