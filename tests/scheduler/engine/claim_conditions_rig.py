"""Program with selected features: run three jobs, then print their states and the number of claim statements that check owners."""

import asyncio
import dataclasses
import json
import sys
from collections.abc import Iterator

import sqlalchemy as sa
from rt_tools import QUICK
from targcc_scheduler import JobContext, Scheduler, Settings, features, job
from targcc_scheduler.db.dialects.frequent import FrequentStatement
from targcc_scheduler.project import Project, configure


@job(name="Moved")
def moved(_: JobContext) -> None:
    """Job that the old server owns when owners are checked."""


@job(name="Frozen", concurrency=1)
def frozen(_: JobContext) -> None:
    """Job blocked by a claim condition of a project feature."""


@job(name="Ordinary")
def ordinary(_: JobContext) -> None:
    """Job without a claim condition."""


def claims(*, queued: bool) -> Iterator[sa.Executable]:
    """Yield the statements that select or claim runs, and those of the queue where the database has one."""
    from targcc_scheduler.kernel.engine import procrastinate
    from targcc_scheduler.kernel.engine.procrastinate import ENTRIES
    from targcc_scheduler.kernel.runs import claim, create

    for module in (claim, create):
        for value in vars(module).values():
            if isinstance(value, FrequentStatement):
                yield value._statement
    if not queued:
        return
    yield claim._statement(ENTRIES, keyed=True)._statement
    following = procrastinate._next(procrastinate._AGED)
    yield from (
        getattr(following, field.name)._statement for field in dataclasses.fields(following)
    )


async def main(url: str, will_run: list[str]) -> None:
    """Run the three jobs."""
    settings = Settings(_env_file=None, database_url=url, **QUICK)
    scheduler = Scheduler(settings, jobs_package=__name__)
    await scheduler.start(schedule=False)
    ids = {name: await scheduler.enqueue(name) for name in ("Moved", "Frozen", "Ordinary")}
    for name in will_run:
        await scheduler.wait(ids[name], 40)
    # runs after the other jobs had their turn
    await scheduler.wait(await scheduler.enqueue("Ordinary"), 40)
    async with scheduler.store.read() as connection:
        dialect, queued = connection.dialect, scheduler.store.dialect.name != "mssql"
        rows = await connection.execute(sa.text("SELECT Id, State FROM c_JobRun"))
        states = {row[0]: row[1] for row in rows}
    await scheduler.stop()
    texts = [str(statement.compile(dialect=dialect)) for statement in claims(queued=queued)]
    sys.stdout.write(
        json.dumps(
            {
                "states": {name: states[run_id] for name, run_id in ids.items()},
                "asking": sum("c_JobOwner" in text for text in texts),
                "queued": queued,
            }
        )
    )


if __name__ == "__main__":
    url, installed, own, will_run = json.loads(sys.argv[1])
    features.FEATURES = tuple(installed)
    configure(Project(name="acme", package="acme", database_url=url, features=tuple(own)))
    asyncio.run(main(url, will_run))
