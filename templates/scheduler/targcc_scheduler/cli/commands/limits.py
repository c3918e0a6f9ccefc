"""``targcc limits``: keys of limits and their use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..common import run
from ..completing import job_names
from ..connect import connect, path
from ..output import print_json, print_table, shows, when

if TYPE_CHECKING:
    from ...web.api.limit_schemas import LimitKeyOut
    from ...web.api.schemas import JobDetailOut


@click.command("limits")
@click.argument("job", required=False, shell_complete=job_names)
@click.option("--key", metavar="TEXT", help="Only keys that contain this text.")
@click.option("--waiting", is_flag=True, help="Only keys with waiting runs.")
@click.option(
    "--limit",
    type=click.IntRange(1, 500),
    default=50,
    show_default=True,
    help="Maximum number of keys.",
)
@shows
def limits(job: str | None, key: str | None, *, waiting: bool, limit: int, as_json: bool) -> None:
    """List limit keys with used capacity and waiting runs.

    A limit applies to each key of a job, such as "SyncTenant tenant_id=7", or to all runs of the job: see targcc job info.
    A key is listed from its first run on. An unused key is removed after a while.

    ROOM TAKEN is the capacity held by runs that run or wait for a worker. TOKENS LEFT is the number of attempts that may start now under the limit's
    rate. WAITING is the number of runs that wait for capacity or for a token; targcc why RUN shows for which.

    \b
    Example:
      targcc limits
      targcc limits SyncTenant --waiting --watch
      targcc limits SyncTenant --key tenant_id=7
    """

    async def work() -> None:
        async with connect() as api:
            of: JobDetailOut | None = None
            if job is not None:
                of = await api.get(path("jobs", job))
            limit_keys: list[LimitKeyOut] = await api.rows(
                path("limits"),
                job=None if of is None else of.name,
                key=key,
                waiting=waiting or None,
                limit=limit,
            )
            now = api.now
        if as_json:
            print_json(limit_keys)
        elif not limit_keys:
            click.echo(_none(of, key, waiting=waiting))
        else:
            rows = [
                [
                    limit_key.job,
                    limit_key.key,
                    _of(limit_key.used, limit_key.most),
                    _of(limit_key.tokens, limit_key.burst),
                    str(limit_key.waiting),
                    when(limit_key.oldest_due, now),
                ]
                for limit_key in limit_keys
            ]
            print_table(["JOB", "KEY", "ROOM TAKEN", "TOKENS LEFT", "WAITING", "OLDEST DUE"], rows)

    run(work())


def _none(job: JobDetailOut | None, key: str | None, *, waiting: bool) -> str:
    """Return the message for an empty list of keys."""
    if job is not None and job.limit is None:
        return f"{job.name} has no limit: @job(limit=…), or limit: in targcc.yaml, gives it one."
    of = "" if job is None else f" of {job.name}"
    such = "" if key is None else f' that has "{key}" in it'
    if waiting:
        return f"No run waits for a key{such} of a limit{of}."
    return f"No key{such} of a limit{of} is in use."


def _of(some: int | None, most: int | None) -> str:
    return ("" if some is None else str(some)) if most is None else f"{some} of {most}"
