"""The scheduler of a generated project, as a peer of the other systems."""

import asyncio
import cProfile
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from peer_notes import Send

if TYPE_CHECKING:
    from targcc_scheduler import Scheduler

PROFILE = "BENCH_PROFILE"

_TICK = '''"""The job that is compared."""

from peer_notes import note
from targcc_scheduler import JobContext, JobType, job


@job(JobType.MANUAL)
async def tick(_: JobContext, sent: float = 0) -> None:
    """Say when it began."""
    note(sent)
'''

_SCHEDULED = '''"""One of many."""

from targcc_scheduler import JobContext, job


@job("{minute} {hour} * * *", timezone="UTC")
class Scheduled{number}Job:
    """Does nothing today."""

    async def execute(self, ctx: JobContext) -> None:
        """Do nothing."""
'''


def write_jobs(folder: Path, schedules: int, hour: int) -> None:
    """Write a package ``peer_jobs`` into ``folder``: the compared job, and ``schedules`` scheduled jobs, each in its own file."""
    for name in [module for module in sys.modules if module.partition(".")[0] == "peer_jobs"]:
        del sys.modules[name]  # modules of the previous test, whose folder is gone
    package = folder / "peer_jobs"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Jobs."""\n')
    (package / "tick.py").write_text(_TICK)
    for number in range(schedules):
        code = _SCHEDULED.format(minute=number % 60, hour=hour, number=number)
        (package / f"scheduled_{number}.py").write_text(code)


def _scheduler(url: str) -> "Scheduler":
    from projects import RIG
    from targcc_scheduler import Scheduler, Settings, configure

    configure(RIG)
    settings = Settings(_env_file=None, database_url=url)
    return Scheduler(settings, jobs_package="peer_jobs")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Send]:
    """Yield a function that creates runs, as an application does."""
    scheduler = _scheduler(url)
    await scheduler.start(work=False, schedule=False)

    async def send(sent: float, *, later: bool = False) -> None:
        if later:
            at = datetime.fromtimestamp(sent, UTC)
            await scheduler.schedule("tick", at=at, sent=sent)
        else:
            await scheduler.enqueue("tick", sent=sent)

    try:
        yield send
    finally:
        await scheduler.stop()


def work(url: str, schedules: int, hour: int) -> None:
    """Run a node with the jobs in ``peer_jobs``."""
    del schedules, hour
    asyncio.run(_work(url))


async def _work(url: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    begun = time.perf_counter()
    scheduler = _scheduler(url)
    imported = time.perf_counter()
    count = len(scheduler.definitions)
    discovered = time.perf_counter()
    profile = cProfile.Profile()
    if wanted := os.environ.get(PROFILE):
        await scheduler.call(_switch(profile, on=True))  # the event loop of everything except jobs
    await scheduler.start()
    started = time.perf_counter()
    print(  # noqa: T201 - the benchmark reads it
        f"imports {imported - begun:.2f} s, {count} jobs found in {discovered - imported:.2f} s,"
        f" database and node {started - discovered:.2f} s",
        flush=True,
    )
    await stop.wait()
    if wanted:
        await scheduler.call(_switch(profile, on=False))
        profile.dump_stats(wanted)
    await scheduler.stop()


async def _switch(profile: cProfile.Profile, *, on: bool) -> None:
    if on:
        profile.enable()
    else:
        profile.disable()
