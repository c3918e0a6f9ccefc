"""Node process: ``run_node.py '{"schedule": true}'`` works until a stop signal; ``JOBS_PACKAGE`` and ``PROJECT`` select other jobs."""

import asyncio
import json
import logging
import os
import signal
import sys

import projects
from targcc_scheduler import Scheduler, configure


async def _main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    options = {"work": True, "schedule": False, **json.loads(sys.argv[1])}
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    scheduler = Scheduler(jobs_package=os.environ.get("JOBS_PACKAGE", "fault_jobs"))
    await scheduler.start(**options)
    print("node is up", flush=True)  # noqa: T201 - the test waits for it
    await stop.wait()
    await scheduler.stop()


configure(getattr(projects, os.environ.get("PROJECT", "RIG")))
asyncio.run(_main())
