"""Jobs that run in their own processes, and the effects of those processes."""

# ruff: noqa: ARG002 - a job takes its context

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

from targcc_scheduler import JobContext, JobResult, Scheduler, job


@job(isolation="process", retries=0)
class ReportJob:
    """Return facts about the process that tests check."""

    async def execute(self, ctx: JobContext, note: str = "") -> JobResult:
        ctx.log.info("began", note=note)
        ctx.progress(1, 2)
        print("a job may print", file=sys.stdout)  # noqa: T201 - that it may is the test
        return JobResult.success(f"{note} ünï").with_metadata(pid=os.getpid(), note=note)


@job(isolation="process", retries=0)
async def after_report(ctx: JobContext) -> JobResult:
    """Return the state and results of the parent runs."""
    parent = ctx.parents["Report"]
    assert ctx.parent is not None
    values = [ctx.parent.run_id, parent.state, parent.message, parent.metadata["note"]]
    return JobResult.success("seen").with_metadata(said=values, all=len(ctx.parents.runs))


@job(isolation="process", retries=0)
def plain(ctx: JobContext) -> str:
    """A plain function."""
    return f"{ctx.job_name} {ctx.run_id} {ctx.attempt} {threading.current_thread() is threading.main_thread()}"


@job(isolation="process", retries=0)
class RaisesJob:
    """Raise an error."""

    async def execute(self, ctx: JobContext) -> None:
        raise ValueError("the order has no lines")


@job(isolation="process", retries=0)
class DiesJob:
    """End its process in the way that ``how`` names."""

    def execute(self, ctx: JobContext, how: str) -> None:
        if how == "exit":
            os._exit(7)
        elif how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "segfault":
            ctypes.string_at(0)


@job(isolation="process", retries=0, timeout="300ms")
class DeafJob:
    """Hold the interpreter's lock, so that no signal is handled."""

    def execute(self, ctx: JobContext) -> None:
        ctx.log.info("deaf", pid=os.getpid())
        ctypes.PyDLL(None).sleep(30)


@job(isolation="process", retries=0)
class PatientJob:
    """Run until the stop request."""

    def execute(self, ctx: JobContext) -> str:
        ctx.log.info("waiting")
        while not ctx.cancelled:
            time.sleep(0.005)
        return f"stopped: {ctx.cancel_reason}"


@job(isolation="process", memory_limit=200, retries=0)
class GreedyJob:
    """Allocate memory without end."""

    def execute(self, ctx: JobContext) -> None:
        taken = []
        while True:
            taken.append(bytearray(2**22))
            time.sleep(0.002)


@job(isolation="process", retries=2, backoff="1ms")
class SteppingJob:
    """Fail once between two steps."""

    async def execute(self, ctx: JobContext) -> str:
        first = await ctx.step("first", os.getpid)
        second = await ctx.step("second", lambda: ctx.attempt)
        if ctx.attempt == 1:
            os._exit(1)
        return f"{first != os.getpid()} {second}"


@job(isolation="process", retries=0)
class BurnsJob:
    """Use half a second of processor time and about 100 MiB in a separate thread."""

    def execute(self, ctx: JobContext) -> None:
        worker = threading.Thread(target=self._burn)
        worker.start()
        worker.join()

    def _burn(self) -> None:
        block = bytearray(100 * 2**20)
        until = time.process_time() + 0.5
        while time.process_time() < until:
            block[0] = 1


@job(isolation="process", retries=0)
class StartsOtherJob:
    """Start another job."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler

    async def execute(self, ctx: JobContext) -> str:
        return f"{await self.scheduler.enqueue(ReportJob, note='second')}"


@job(isolation="process", retries=0)
class TwinJob:
    """Fork; parent and child both continue."""

    async def execute(self, ctx: JobContext) -> JobResult:
        copy = os.fork()
        return JobResult.success("done").with_metadata(pids=[os.getpid(), copy])


@job(isolation="process", retries=0)
class BlocksJob:
    """Wait for a minute without checking for a stop request."""

    def execute(self, ctx: JobContext) -> None:
        ctx.log.info("waiting", pid=os.getpid())
        time.sleep(60)


_SHOW_SIGNALS = """
import signal
import subprocess
names = ("SIGTERM", "SIGINT", "SIGHUP")
held = signal.pthread_sigmask(signal.SIG_BLOCK, ())
print([name for name in names if signal.getsignal(getattr(signal, name)) in (signal.SIG_DFL, signal.default_int_handler)
    and getattr(signal, name) not in held])
"""


@job(isolation="process", retries=0)
class StartsProgramJob:
    """Start a program and a fork of its own process; return the signal handling of both."""

    def execute(self, ctx: JobContext) -> JobResult:
        program = subprocess.run(
            [sys.executable, "-S", "-I", "-c", _SHOW_SIGNALS],
            capture_output=True,
            text=True,
            check=True,
        )
        copy = os.fork()
        if not copy:
            signal.pause()
        os.kill(copy, signal.SIGTERM)
        _, status = os.waitpid(copy, 0)
        values = {"program": program.stdout, "copy": os.waitstatus_to_exitcode(status)}
        return JobResult.success("done").with_metadata(**values)
