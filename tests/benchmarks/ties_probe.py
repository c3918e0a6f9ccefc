"""Measure once in this process, with the scheduler on its path, and print the result as JSON.

``ties_probe.py batch|many|plain|keyed|crowded URL COUNT POSTMASTER fresh|analysed|stale``: create COUNT runs as a batch or in one call; or execute COUNT
waiting runs without a limit, or with 1,000 keys at one run a time, with keys alternating or each key's runs together. POSTMASTER is the
process whose children serve the database, 0 for none. The tables are analysed never, once the runs exist, or before.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import dataclass

import psutil
import sqlalchemy as sa
from targcc_scheduler import Scheduler, Settings, configure, migrate
from targcc_scheduler.project import Project
from ties_plain import begun

KEYS, WORKERS, TOO_LONG = 1_000, 20, 120
KEYED = {"keyed", "crowded"}

configure(
    Project(name="ties", package="ties", timezone="UTC", queues={"default": WORKERS}, retries=0)
)


@dataclass
class Spent:
    """Resource use since the construction.

    Args:
        postmaster: The server's first process; 0 for none.
    """

    postmaster: int

    def __post_init__(self) -> None:
        self._before = self._now()

    def _now(self) -> tuple[float, float, dict[int, float]]:
        children = psutil.Process(self.postmaster).children() if self.postmaster else []
        server = {}
        for process in children:
            with contextlib.suppress(psutil.NoSuchProcess):  # the process has just ended
                server[process.pid] = sum(process.cpu_times()[:2])
        return time.perf_counter(), time.process_time(), server

    def so_far(self) -> dict[str, float]:
        """Return the elapsed seconds, and the processor seconds of this process and of the server."""
        (since, cpu, server), (now, cpu_now, server_now) = self._before, self._now()
        of_server = sum(value - server.get(pid, 0) for pid, value in server_now.items())
        return {"seconds": now - since, "own": cpu_now - cpu, "server": of_server}


async def _created(
    scheduler: Scheduler, what: str, count: int, postmaster: int
) -> dict[str, float]:
    await scheduler.start(work=False, schedule=False)
    given = [{"number": number} for number in range(count)]
    await scheduler.enqueue_many("Plain", given[:10])  # warms up imports and connections
    spent = Spent(postmaster)
    if what == "many":
        await scheduler.enqueue_many("Plain", given)
    else:
        async with scheduler.batch("month end") as batch:
            batch.enqueue_many("Plain", given)
    return spent.so_far()


async def _done(
    scheduler: Scheduler, what: str, count: int, postmaster: int, statistics: str
) -> dict[str, float]:
    await scheduler.start(work=False, schedule=False)
    if statistics == "stale":
        await _analyze(scheduler)
    if what in KEYED:
        runs_per_key = count // KEYS
        given = [
            {"number": number, "key": number % KEYS if what == "keyed" else number // runs_per_key}
            for number in range(count)
        ]
        await scheduler.enqueue_many("Keyed", given)
    else:
        await scheduler.enqueue_many("Plain", [{"number": number} for number in range(count)])
    await scheduler.stop()
    if statistics == "analysed":
        await _analyze(scheduler)
    spent = Spent(postmaster)
    await scheduler.start(schedule=False)
    await _until_all_are_over(scheduler)
    used = spent.so_far()
    return {**used, "seconds": begun[-1] - begun[0], "rate": (count - 1) / (begun[-1] - begun[0])}


async def _analyze(scheduler: Scheduler) -> None:
    """Analyse the tables on PostgreSQL."""
    url = sa.make_url(scheduler.settings.database_url)
    if url.get_backend_name() == "postgresql":
        engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("ANALYZE"))


async def _until_all_are_over(scheduler: Scheduler) -> None:
    query = sa.text("SELECT count(*) FROM c_JobRun WHERE CompletedAt IS NULL")
    async with asyncio.timeout(TOO_LONG):
        while await scheduler.read(  # noqa: ASYNC110 - the tables say it
            lambda connection: connection.scalar(query)
        ):
            await asyncio.sleep(0.2)


async def main(what: str, url: str, count: int, postmaster: int, statistics: str) -> None:
    """Measure and print the result."""
    migrate(url)
    settings = Settings(_env_file=None, database_url=url, migrate_on_start=False)
    package = "ties_keyed" if what in KEYED else "ties_plain"
    scheduler = Scheduler(settings, jobs_package=package)
    if what in {"batch", "many"}:
        measures = await _created(scheduler, what, count, postmaster)
    else:
        measures = await _done(scheduler, what, count, postmaster, statistics)
    print(json.dumps(measures), flush=True)  # noqa: T201 - the benchmark reads it
    await scheduler.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
