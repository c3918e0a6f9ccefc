"""``targcc why``: why a job or a run does not run."""

from __future__ import annotations

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from ....core.errors import UnknownJob, UnknownRun
from ....queries import runs
from ....queries.needs.reasons import Answer
from ....queries.needs.why import why_job, why_run
from ....scheduler import Scheduler
from ...common import opened, run
from ...output import json_option, print_json


@click.command()
@click.argument("name", metavar="NAME|RUN")
@json_option
def why(name: str, *, as_json: bool) -> None:
    """Say why a job or a run does not run, or what it waits for.

    \b
    Example:
      targcc why DailyReport
      targcc why 42
    """

    async def work() -> None:
        async with opened() as scheduler:
            answer = await _answer(scheduler, name)
        if as_json:
            print_json(answer)
            return
        for number, reason in enumerate(answer.reasons):
            click.echo(reason.text if not number else f"  {reason.text}")

    run(work())


async def _answer(scheduler: Scheduler, name: str) -> Answer:
    now, definitions = scheduler.clock.now(), scheduler.definitions
    lost_after = scheduler.settings.lost_after_seconds

    async def query(db: AsyncConnection) -> Answer:
        if name.isdecimal():
            found = await runs.get_run(db, int(name))
            if found is None:
                raise UnknownRun(f"there is no run {name}")
            return await why_run(db, found, definitions, now, lost_after=lost_after)
        key = scheduler.key_of(name)
        if key not in definitions:
            last = await runs.recent_runs(db, [key], 1)
            if not last[key]:
                raise UnknownJob(_unknown(scheduler, name))
        return await why_job(db, key, definitions, now, lost_after=lost_after)

    return await scheduler.read(query)


def _unknown(scheduler: Scheduler, name: str) -> str:
    try:
        scheduler.find(name)
    except UnknownJob as error:
        return str(error)
    return f"there is no job {name!r}"
