"""A process with several nodes; ``nodes_worker.py URL NODES SCHEDULES DUE DAY MACHINE``.

The nodes of the process have their own loops and connections and share the definitions of the jobs. ``DUE`` of the jobs have a slot in each
even minute, all others one on the ``DAY`` of each month. ``MACHINE`` stands for the name of a
machine: nodes of another process cannot look whether this process runs, and judge its nodes by their heartbeats alone.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "scheduler" / "packages")]

# ruff: noqa: E402, T201 - found by the line above; the benchmark reads what is printed
from projects import RIG
from targcc_scheduler import Scheduler, Settings, configure

configure(RIG)

from targcc_scheduler.hosting import Host
from targcc_scheduler.kernel.jobs.declaration import define
from targcc_scheduler.kernel.jobs.definition import JobDefinition, JobType
from targcc_scheduler.kernel.node import heartbeat, nodes, releases
from targcc_scheduler.schedules.cron import CronSchedule

HOLD = "Hold"


async def nothing() -> None:
    """Do nothing."""


async def hold() -> None:
    """Run until the process ends."""
    await asyncio.sleep(3_600)


def definitions(schedules: int, due: int, day: int) -> list[JobDefinition]:
    """Return the jobs."""
    jobs = [
        define(
            nothing,
            "*/2 * * * *" if number < due else f"{number % 60} {number % 24} {day} * *",
            name=f"Many{number}",
        )
        for number in range(schedules)
    ]
    return [*jobs, define(hold, JobType.MANUAL, name=HOLD)]


def do_once() -> None:
    """Do once in this process what each node of its own process would do, and leave out the check of the jobs."""
    Host._report_checks = lambda *_, **__: None
    described, texts = releases.described, {}

    def described_once(jobs: Iterable[JobDefinition]) -> dict[str, tuple[str, str]]:
        known = list(jobs)
        if len(known) not in texts:
            texts[len(known)] = described(known)
        return texts[len(known)]

    releases.described = described_once
    CronSchedule.next = lru_cache(maxsize=100_000)(CronSchedule.next)


async def work(url: str, count: int, schedules: int, due: int, day: int) -> None:
    """Run nodes until the input ends; each line of the input is a number of runs to create."""
    jobs = definitions(schedules, due, day)
    settings = Settings(
        _env_file=None, database_url=url, pool_size=2, keepalive=False, migrate_on_start=False
    )
    do_once()
    schedulers = [Scheduler(settings, jobs_package="peer_jobs") for _ in range(count)]
    for scheduler in schedulers:
        for job in jobs:
            scheduler._registry.add(job)
        await scheduler.start()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        await schedulers[0].enqueue_many(HOLD, [{}] * int(line))
    await asyncio.gather(*(scheduler.stop() for scheduler in schedulers))


def main() -> None:
    """Run the nodes that the arguments ask for."""
    url, *numbers, machine = sys.argv[1:]
    nodes.this_machine = heartbeat.this_machine = lambda: machine
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "peer_jobs").mkdir()
        (Path(folder) / "peer_jobs" / "__init__.py").write_text('"""Jobs."""\n', encoding="utf-8")
        sys.path.insert(0, folder)
        asyncio.run(work(url, *map(int, numbers)))


if __name__ == "__main__":
    main()
