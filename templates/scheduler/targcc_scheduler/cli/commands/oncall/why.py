"""``targcc why``: why a job or a run does not run."""

from __future__ import annotations

import click

from ....web.api.schemas.oncall import AnswerOut
from ...api.completing import job_names
from ...api.reach import path, reached
from ...common import run
from ...output import as_shown, print_json, shows


@click.command()
@click.argument("name", metavar="NAME|RUN", shell_complete=job_names)
@shows
def why(name: str, *, as_json: bool) -> None:
    """Say why a job or a run does not run, or what it waits for.

    \b
    Example:
      targcc why DailyReport
      targcc why 42
    """

    async def work() -> None:
        async with reached() as api:
            kind = "runs" if name.isdecimal() else "jobs"
            answer = await api.get(path(kind, name, "why"), AnswerOut)
        if as_json:
            print_json(answer)
            return
        for number, reason in enumerate(answer.reasons):
            click.echo(as_shown(reason.text if not number else f"  {reason.text}", lines=True))

    run(work())
