"""Commands of notes: ``targcc notes``."""

from datetime import datetime

import click
from targcc_scheduler.cli.common import instant, run
from targcc_scheduler.cli.completing import job_names
from targcc_scheduler.cli.connect import connect, path
from targcc_scheduler.cli.group import Commands
from targcc_scheduler.cli.output import done, json_option, print_json, print_table, shows, when
from targcc_scheduler.web.api.schema import DoneOut

from .api import EntryIn, EntryOut


@click.group("notes", cls=Commands)
def group() -> None:
    """Read and add texts that people leave at jobs."""


@group.command("list")
@shows
def list_entries(*, as_json: bool) -> None:
    """Show the entries of all jobs.

    \b
    Example:
      targcc notes list
    """

    async def work() -> None:
        async with connect() as api:
            rows = await api.get(path("notes"), list[EntryOut])
        if as_json:
            print_json(rows)
            return
        table = [[row.job, row.text, row.author, when(row.created_at, api.now)] for row in rows]
        print_table(["JOB", "TEXT", "BY", "SINCE"], table)

    run(work())


@group.command("add")
@click.argument("job", shell_complete=job_names)
@click.argument("text")
@click.option("--until", type=instant, help="Remove the entry then: an instant, or a duration.")
@json_option
def add_entry(job: str, text: str, *, until: datetime | None, as_json: bool) -> None:
    """Add an entry to a job.

    \b
    Example:
      targcc notes add DailyReport "half day" --until 2d
    """

    async def work() -> None:
        async with connect() as api:
            body = EntryIn(job=job, text=text, until=until)
            answer = await api.post(path("notes"), DoneOut, body)
        done(answer.message, as_json=as_json, job=job)

    run(work())
