"""The application of a storm: asks for runs, and writes down which of them it was told exist."""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import signal
from pathlib import Path
from typing import Any

from storms.policies import POLICIES, WEIGHTS
from storms.record import append


def main() -> None:
    """Submit until SIGTERM."""
    importlib.import_module("storm_jobs.scheduler")
    asyncio.run(_submit())


async def _submit() -> None:
    from targcc_scheduler import Scheduler

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    release, rate = int(os.environ["STORM_RELEASE"]), float(os.environ["STORM_RATE"])
    name, record = os.environ["STORM_NODE"], Path(os.environ["STORM_SUBMITTED"])
    dice = random.Random(os.environ["STORM_SEED"])
    scheduler = Scheduler()
    await _started(scheduler, stop)
    number = 0
    while not stop.is_set():
        number += 1
        token = f"{name}-{number}"
        job = _choose(dice, release)
        try:
            run = await asyncio.wait_for(_ask(scheduler, dice, job, token, release), 30)
        except Exception as error:  # noqa: BLE001 - the database may be anywhere
            append(record, "refused", job=job, token=token, error=repr(error)[:200])
            await asyncio.sleep(0.2)
        else:
            append(record, "acknowledged", run=run, job=job, token=token)
        await asyncio.sleep(dice.uniform(0.5, 1.5) / rate)
    await scheduler.stop()


async def _started(scheduler: Any, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            await scheduler.start(work=False, schedule=False)
        except Exception:  # noqa: BLE001 - a storm may have the database away just now
            await asyncio.sleep(0.2)
        else:
            return


def _choose(dice: random.Random, release: int) -> str:
    known = [job for job in WEIGHTS if release in POLICIES[job].releases]
    return dice.choices(known, [WEIGHTS[job] for job in known])[0]


async def _ask(scheduler: Any, dice: random.Random, job: str, token: str, release: int) -> int:
    arguments: dict[str, Any] = {"token": token}
    if job == "Long":
        arguments["seconds"] = dice.uniform(1, 4)
    if job == "Token" and release > 1:
        arguments["remark"] = "release 2 knows this"
    if dice.random() < 0.2:
        delay = f"{dice.randint(1, 3)}s"
        delayed: int = await scheduler.schedule(job, delay=delay, **arguments)
        return delayed
    run: int = await scheduler.enqueue(job, **arguments)
    return run
