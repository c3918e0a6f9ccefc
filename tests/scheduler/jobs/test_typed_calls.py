"""Type checkers compare the arguments of calls that create runs with the job's signature; at run time both forms of a call do the same."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from targcc_scheduler import (
    Actor,
    ActorKind,
    ArgumentsError,
    Client,
    JobContext,
    Scheduler,
    Settings,
    job,
    run_job,
)
from targcc_scheduler.db.tables import job_audit, job_run

ROOT = Path(__file__).parents[3]
CALLS = ROOT / "tests/data/typed_calls/calls.py"
ANNA = Actor(ActorKind.API, "anna")


@job()
class SyncTenantJob:
    async def execute(self, ctx: JobContext, tenant_id: str, rows: int = 0) -> str:
        return f"{ctx.attempt} {tenant_id} {rows}"


@job()
class MoveJob:
    async def execute(self, queue: str = "none", priority: int = 0) -> str:
        return f"moved {queue} {priority}"


@job()
async def count_rows(ctx: JobContext, table: str) -> str:
    return f"{ctx.attempt} {table}"


def _marked_lines() -> set[int]:
    lines = CALLS.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if "# error" in line}


def _reported_lines(*command: str | Path) -> set[int]:
    environment = os.environ | {"NO_COLOR": "1"}
    result = subprocess.run(
        [sys.executable, "-m", *map(str, command), CALLS.name],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=CALLS.parent,
        env=environment,
    )
    reports = re.findall(r"calls\.py:(\d+)(?::\d+)?:? (?:- )?error", result.stdout)
    assert reports, result.stdout + result.stderr
    return set(map(int, reports))


@pytest.mark.usefixtures("processes")
def test_mypy_finds_an_error_in_each_wrong_call_and_in_no_right_call():
    cache = ("--cache-dir", ROOT / ".mypy_cache")
    assert _reported_lines("mypy", "--strict", *cache) == _marked_lines()


@pytest.mark.usefixtures("processes")
def test_pyright_finds_an_error_in_each_wrong_call_and_in_no_right_call(tmp_path):
    options = tmp_path / "pyrightconfig.json"
    options.write_text(
        json.dumps({"include": [str(CALLS.parent)], "typeCheckingMode": "standard"}),
        encoding="utf-8",
    )
    python = ("--pythonpath", sys.executable)
    checker = ("basedpyright", "--level", "error", "--project", options)
    assert _reported_lines(*checker, *python) == _marked_lines()


class Editor:
    """A language server, asked as an editor asks."""

    def __init__(self, folder: Path) -> None:
        self._root = folder.as_uri()
        command = [
            sys.executable,
            "-c",
            "from basedpyright.langserver import main; main()",
            "--stdio",
        ]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._count = 0
        self._ask("initialize", processId=None, rootUri=self._root, capabilities={})
        self._send(method="initialized", params={})

    def names_at_the_end_of(self, text: str) -> list[str]:
        """Return the keyword arguments that the server offers behind the text of a file."""
        uri = f"{self._root}/typed.py"
        document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        self._send(method="textDocument/didOpen", params={"textDocument": document})
        lines = text.split("\n")
        place = {"line": len(lines) - 1, "character": len(lines[-1])}
        answer = self._ask("textDocument/completion", textDocument={"uri": uri}, position=place)
        self._send(method="textDocument/didClose", params={"textDocument": {"uri": uri}})
        labels = (item["label"] for item in answer["items"])
        return sorted(label for label in labels if label.endswith("="))

    def close(self) -> None:
        """End the server."""
        self._ask("shutdown")
        self._send(method="exit")
        self._server.communicate()

    def _ask(self, method: str, **params: object) -> dict[str, Any]:
        self._count += 1
        self._send(id=self._count, method=method, params=params)
        while True:
            message = self._receive()
            if message.get("id") == self._count and "method" not in message:
                return message["result"]
            if "id" in message:  # a request of the server
                items = message.get("params", {}).get("items", [])
                settings = [{"pythonPath": sys.executable}] * len(items)
                self._send(id=message["id"], result=settings)

    def _send(self, **message: object) -> None:
        content = json.dumps({"jsonrpc": "2.0"} | message).encode()
        self._server.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
        self._server.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        length = 0
        while line := self._server.stdout.readline().strip():
            if line.startswith(b"Content-Length:"):
                length = int(line.partition(b":")[2])
        return json.loads(self._server.stdout.read(length))


@pytest.fixture
def editor(tmp_path):
    made = Editor(tmp_path)
    yield made
    made.close()


@pytest.mark.usefixtures("processes")
def test_editors_complete_the_names_of_arguments_and_options(editor):
    start = (
        CALLS.read_text(encoding="utf-8").partition("async def right_plain")[0]
        + "\n\nasync def call(scheduler: Scheduler) -> None:\n    "
    )
    assert editor.names_at_the_end_of(f"{start}await scheduler.job(SyncTenantJob).enqueue(") == [
        "full=",
        "tenant_id=",
    ]
    options = editor.names_at_the_end_of(f"{start}scheduler.job(SyncTenantJob, ")
    assert {"queue=", "delay=", "after="} <= set(options)
    plain = editor.names_at_the_end_of(f"{start}await scheduler.enqueue(SyncTenantJob, ")
    assert {"tenant_id=", "full=", "queue="} <= set(plain)


@pytest.fixture
def scheduler(not_started):
    return not_started


async def _run(scheduler, run_id):
    query = sa.select(job_run).where(job_run.c.Id == run_id)
    return (await scheduler.read(lambda db: db.execute(query))).one()


async def test_a_job_with_options_creates_the_run_that_enqueue_creates(scheduler):
    parent = await scheduler.enqueue(SyncTenantJob, tenant_id="parent")
    options = {"queue": "bulk", "priority": 3, "by": ANNA, "after": parent, "on": "finish"}
    plain = await _run(
        scheduler, await scheduler.enqueue(SyncTenantJob, tenant_id="x", rows=7, **options)
    )
    bound_id = await scheduler.job(SyncTenantJob, **options).enqueue(tenant_id="x", rows=7)
    bound = await _run(scheduler, bound_id)
    for column in ("JobName", "JobType", "Queue", "Priority", "ArgumentsJson", "State"):
        assert bound._mapping[column] == plain._mapping[column], column
    assert bound.State == "awaiting"


async def test_a_job_with_a_delay_starts_later(scheduler):
    plain = await scheduler.schedule(SyncTenantJob, delay="15m", tenant_id="x")
    bound = await scheduler.job(SyncTenantJob, delay="15m").enqueue(tenant_id="x")
    rows = [await _run(scheduler, run_id) for run_id in (plain, bound)]
    assert [(row.State, row.JobType) for row in rows] == [("scheduled", rows[0].JobType)] * 2


async def test_a_person_triggers_a_job_with_options(scheduler):
    run_id = await scheduler.job(SyncTenantJob, by=ANNA).trigger(tenant_id="x")
    query = sa.select(sa.func.count()).where(job_audit.c.RunId == run_id)
    assert await scheduler.read(lambda db: db.scalar(query)) == 1
    with pytest.raises(TypeError, match="queue"):
        await scheduler.job(SyncTenantJob, by=ANNA, queue="bulk").trigger(tenant_id="x")


async def test_arguments_by_position_follow_the_signature_without_the_context(scheduler):
    by_class = await scheduler.enqueue(SyncTenantJob, "x", rows=7)
    by_function = await scheduler.job(count_rows).enqueue("orders")
    texts = [(await _run(scheduler, run_id)).ArgumentsJson for run_id in (by_class, by_function)]
    assert [json.loads(text) for text in texts] == [
        {"tenant_id": "x", "rows": 7},
        {"table": "orders"},
    ]


@pytest.mark.parametrize(
    ("positional", "message"),
    [(("x", 7, 3), "takes 2 arguments, but got 3"), (("x", 8), "got rows twice")],
)
async def test_arguments_by_position_must_fit(scheduler, positional, message):
    with pytest.raises(ArgumentsError, match=message):
        await scheduler.enqueue(SyncTenantJob, *positional, rows=7)


@pytest.mark.parametrize("option", [{"queue": "bulk"}, {"priority": 3}])
async def test_an_option_with_the_name_of_an_argument_is_refused(scheduler, option):
    [name] = option
    with pytest.raises(ArgumentsError, match=rf"{name} is an argument of Move and an option"):
        await scheduler.enqueue(MoveJob, **option)
    with pytest.raises(ArgumentsError, match=rf"job\(Move\).enqueue\({name}=...\)"):
        await scheduler.schedule(MoveJob, delay="1m", **option)
    await scheduler.enqueue(MoveJob, expires_in="5m")


async def test_an_argument_with_the_name_of_an_option_goes_into_the_second_call(scheduler):
    run_id = await scheduler.job(MoveJob, queue="bulk").enqueue(queue="other", priority=9)
    run = await _run(scheduler, run_id)
    assert run.Queue == "bulk"
    assert json.loads(run.ArgumentsJson) == {"queue": "other", "priority": 9}


async def test_the_jobs_of_a_batch_take_options_and_arguments_in_two_calls(scheduler):
    async with scheduler.batch("tenants") as batch:
        batch.job(SyncTenantJob, priority=3).enqueue(tenant_id="x")
        batch.enqueue(SyncTenantJob, "y", priority=3)
        with pytest.raises(ArgumentsError, match="queue is an argument of Move and an option"):
            batch.enqueue(MoveJob, queue="bulk")
    query = sa.select(job_run.c.Priority, job_run.c.ArgumentsJson).order_by(job_run.c.Id)
    rows = (await scheduler.read(lambda db: db.execute(query))).all()
    assert [row.Priority for row in rows] == [3, 3]
    assert [json.loads(row.ArgumentsJson)["tenant_id"] for row in rows] == ["x", "y"]


def test_the_client_takes_options_and_arguments_in_two_calls_too(migrated_url):
    settings = Settings(database_url=migrated_url, migrate_on_start=False)
    scheduler = Scheduler(settings, jobs_package=__name__)
    with Client(scheduler) as client:
        run_ids = [
            client.job(MoveJob, queue="bulk").enqueue(queue="other"),
            client.job(MoveJob, delay="15m").enqueue("other"),
            client.enqueue(MoveJob, "other"),
        ]
        with pytest.raises(ArgumentsError, match="queue is an argument of Move and an option"):
            client.enqueue(MoveJob, queue="bulk")
        rows = [scheduler.call_now(_run(scheduler, run_id)) for run_id in run_ids]
    assert [row.State for row in rows] == ["enqueued", "scheduled", "enqueued"]
    assert [json.loads(row.ArgumentsJson)["queue"] for row in rows] == ["other"] * 3
    assert rows[0].Queue == "bulk"


async def test_an_attempt_takes_an_argument_with_the_name_of_an_option_by_position():
    outcome = await run_job(MoveJob, "bulk", priority=9)
    assert outcome.result.message == "moved bulk 9"
