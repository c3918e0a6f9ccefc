"""Jobs and flow of ``docs/flows.md``, as the generator gives them to a project."""

# ruff: noqa: ARG001 - a job takes its context

import os
import re
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from projects import RIG
from targcc_scheduler import JobContext, JobResult, job

PAGE = Path(__file__).parents[2] / "docs" / "flows.md"
DAY_END = {
    "unique": ("day",),
    "arguments": {"day": "monday", "note": ""},
    "steps": {"import": {"job": "ImportOrders", "arguments": {"month": "{flow.day}"}}},
}
SEEN: list[str] = []
HELD = threading.Event()
"""Cleared by a test to block the last of three loads."""
HELD.set()


def flows_of_the_page() -> dict[str, Any]:
    """Return the flow definitions that the generator renders from the page."""
    from targcc_gen.render.vendor import flows_of
    from targcc_gen.spec.loader import parse_spec

    [text] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return flows_of(parse_spec(text, "flows.md"))


def project():
    """Return a project with the flow of the page and a unique flow, without retries."""
    return replace(RIG, retries=0, flows={**flows_of_the_page(), "DayEnd": DAY_END})


@job()
def import_orders(ctx: JobContext, month: str = "") -> JobResult:
    SEEN.append(f"import {month}")
    count = {"empty": 0, "wrong": 2}.get(month, 3)
    files = [f"{month}-{number}" for number in range(count)]
    return JobResult.success().with_metadata(files=files, count=count)


@job()
def load_file(ctx: JobContext, path: str, total: int = 0) -> JobResult:
    SEEN.append(f"load {path}")
    if path.endswith("-2"):
        HELD.wait(60)
    if path == "in/wrong-1" and "mended" not in SEEN:
        raise ValueError(path)
    return JobResult.success().with_metadata(rows=int(path[-1]) * 10 + total)


@job()
def month_report(ctx: JobContext, rows: list[int]) -> None:
    SEEN.append(f"report {rows}")


@job(expires_in="1h")
def tell_somebody(ctx: JobContext, text: str = "") -> None:
    SEEN.append(f"tell {text}")


def die_at(write: int) -> None:
    """Exit this process in the transaction of the flow's write number ``write``."""
    from targcc_scheduler.features.flows import model as flow_model

    real, left = flow_model.write, [write]

    async def write_or_die(*given: Any) -> None:
        await real(*given)
        left[0] -= 1
        if not left[0]:
            os._exit(9)

    flow_model.write = write_or_die


if __name__ == "__main__":
    import asyncio

    from targcc_scheduler import Scheduler, configure

    async def work() -> None:
        scheduler = Scheduler(jobs_package="flows_rig")
        await scheduler.start(schedule=False)
        await asyncio.Event().wait()

    configure(project())
    if sys.argv[1] != "0":
        die_at(int(sys.argv[1]))
    asyncio.run(work())
