"""Run a node like ``targcc worker``: execute and schedule runs until SIGTERM. The words after ``-m rig_jobs.node`` choose.

``worker`` executes runs, ``schedule`` creates runs of recurring jobs, ``every-second`` registers a job that is due each second.
"""

import asyncio
import logging
import os
import signal
import sys

from projects import RIG
from targcc_scheduler import JobContext, Scheduler, configure

from rig_jobs.evidence import note


async def every_second(ctx: JobContext) -> None:
    """Record the slot."""
    note("slot", ctx.scheduled_for.isoformat())


async def main(words: set[str]) -> None:
    """Run until a stop signal."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    scheduler = Scheduler()
    if "every-second" in words:
        slots = {"overlap": "allow", "misfire": "run_all"}  # a busy machine misses no slot
        scheduler.add_recurring("EverySecond", every_second, "* * * * * *", **slots)
    await scheduler.start(work="worker" in words, schedule="schedule" in words)
    note("node", "ready")
    await stop.wait()
    await scheduler.stop()
    note("node", "stopped")


if __name__ == "__main__":
    configure(RIG)
    logging.basicConfig(
        level=os.environ.get("RIG_LOG_LEVEL", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    asyncio.run(main(set(sys.argv[1:])))
