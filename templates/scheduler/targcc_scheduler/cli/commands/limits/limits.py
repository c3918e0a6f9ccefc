"""``targcc limits``: the keys of limits, and what is taken of them."""

from __future__ import annotations

import click

from ....web.api.limits.schemas import LimitKeyOut
from ....web.api.schemas.jobs import JobDetailOut
from ...api.completing import job_names
from ...api.reach import path, reached
from ...common import run
from ...output import print_json, print_table, shows, when


@click.command("limits")
@click.argument("job", required=False, shell_complete=job_names)
@click.option("--key", help="Keys in which this stands.")
@click.option("--waiting", is_flag=True, help="Only keys for which runs wait.")
@click.option(
    "--limit",
    type=click.IntRange(1, 500),
    default=50,
    show_default=True,
    help="At most so many.",
)
@shows
def limits(job: str | None, key: str | None, *, waiting: bool, limit: int, as_json: bool) -> None:
    """Show the keys of limits: what is taken of them, and how many runs wait.

    \b
    Example:
      targcc limits
      targcc limits SyncTenant --waiting --watch
    """

    async def work() -> None:
        async with reached() as api:
            of = None if job is None else (await api.get(path("jobs", job), JobDetailOut)).name
            found = await api.get(
                path("limits"),
                list[LimitKeyOut],
                job=of,
                key=key,
                waiting=waiting or None,
                limit=limit,
            )
            now = api.now
        if as_json:
            print_json(found)
        elif not found:
            click.echo(f"No key of a limit{f' of {of}' if of else ''} is in use.")
        else:
            rows = [
                [
                    one.job,
                    one.key,
                    _of(one.used, one.most),
                    _of(one.tokens, one.burst),
                    str(one.waiting),
                    when(one.oldest_due, now),
                ]
                for one in found
            ]
            print_table(["JOB", "KEY", "ROOM TAKEN", "TOKENS", "WAITING", "OLDEST DUE"], rows)

    run(work())


def _of(some: int | None, most: int | None) -> str:
    return ("" if some is None else str(some)) if most is None else f"{some} of {most}"
