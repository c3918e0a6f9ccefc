"""Programs as the work of a run: output, exit status, input, and the end of a cancelled program with its children."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest
from targcc_scheduler import CommandError, JobContext, JobResult, JobType, job, run_command, run_job

pytestmark = pytest.mark.usefixtures("processes")
PYTHON = sys.executable


@job(JobType.MANUAL)
class ProgramJob:
    """Execute a program."""

    async def execute(self, ctx: JobContext, *, command: list[str], stdin: str = "") -> JobResult:
        status = await run_command(ctx, command, stdin=stdin, expected=(0, 7))
        return JobResult.success(str(status))


async def run(code: str, **arguments: str):
    return await run_job(ProgramJob(), command=[PYTHON, "-c", code], **arguments)


async def test_output_of_both_streams_is_the_log_of_the_run():
    outcome = await run("import sys; print('one', flush=True); print('two', file=sys.stderr)")

    assert outcome.log == ["one", "two"]


async def test_an_expected_status_is_a_success():
    assert (await run("raise SystemExit(7)")).result.message == "7"


async def test_another_status_is_an_error_with_the_last_lines():
    with pytest.raises(CommandError, match="ended with status 3\n") as caught:
        await run("[print(n) for n in range(50)]; raise SystemExit(3)")

    assert str(caught.value).splitlines()[1:] == [str(number) for number in range(30, 50)]


async def test_bytes_that_are_no_utf8_and_a_line_without_end_are_logged():
    outcome = await run("import sys; sys.stdout.buffer.write(b'\\xff' + b'x' * 9000)")

    assert [len(line) for line in outcome.log] == [8000, 1001]


async def test_a_program_that_reads_no_input_succeeds():
    assert (await run("pass", stdin="x" * 1_000_000)).result.ok


async def test_a_program_that_does_not_exist_is_an_error():
    with pytest.raises(FileNotFoundError):
        await run_job(ProgramJob(), command=["/no/such/program"])


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


class FirstLine:
    """A context that keeps the first line of the log."""

    def __init__(self) -> None:
        self.line = asyncio.get_running_loop().create_future()
        self.log = self

    def info(self, text: str) -> None:
        if not self.line.done():
            self.line.set_result(text)


def is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{number}/stat")
    return (
        not status.exists()
        or status.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    )


def still_alive(number: int) -> bool:
    """Wait up to thirty seconds for the end of a process, and return whether it goes on."""
    deadline = time.monotonic() + 30
    while is_alive(number) and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_alive(number)


async def test_a_cancelled_run_ends_the_program_and_its_children():
    context = FirstLine()
    task = asyncio.create_task(run_command(context, [PYTHON, "-c", PARENT]))
    child = int(await asyncio.wait_for(context.line, 60))
    assert is_alive(child)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not await asyncio.to_thread(still_alive, child)
