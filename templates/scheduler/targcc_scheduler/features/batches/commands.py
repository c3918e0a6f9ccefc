"""``targcc batch``: list and show batches, cancel them, and retry their failed runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...cli.common import run
from ...cli.connect import connect, path
from ...cli.group import Commands
from ...cli.output import done, json_option, print_json, print_pairs, print_table, shows, when

if TYPE_CHECKING:
    from .schemas import BatchDetailOut, BatchDoneOut, BatchOut

STATES = ("running", "succeeded", "failed", "cancelled")
_BAR = 30


@click.group("batch", cls=Commands)
def batch_group() -> None:
    """List, show, cancel and retry batches."""


@batch_group.command("list")
@click.option(
    "--state",
    type=click.Choice(STATES),
    help="Only batches in this state.",
)
@click.option("--limit", type=click.IntRange(1, 500), default=20, help="Maximum number of batches.")
@shows
def list_batches(state: str | None, *, limit: int, as_json: bool) -> None:
    """List batches, newest first.

    \b
    Example:
      targcc batch list --state running
    """

    async def work() -> None:
        async with connect() as api:
            batches: list[BatchOut] = await api.rows(path("batches"), state=state, limit=limit)
            now = api.now
        if as_json:
            print_json(batches)
        elif not batches:
            click.echo("There is no such batch.")
        else:
            rows = [
                [str(item.id), item.name, item.state, _progress(item), when(item.created_at, now)]
                for item in batches
            ]
            print_table(["ID", "BATCH", "STATE", "MEMBERS", "CREATED"], rows)

    run(work())


@batch_group.command("show")
@click.argument("batch_id", type=int, metavar="ID")
@shows
def show(batch_id: int, *, as_json: bool) -> None:
    """Show one batch with its progress.

    \b
    Example:
      targcc batch show 3 --watch
    """

    async def work() -> None:
        async with connect() as api:
            batch: BatchDetailOut = await api.get(path("batches", batch_id))
            now = api.now
        if as_json:
            print_json(batch)
            return
        states = ", ".join(f"{count} {state}" for state, count in sorted(batch.runs.items()))
        print_pairs(
            [
                ("batch", f"{batch.id}  {batch.name}"),
                ("state", batch.state),
                ("progress", f"{_bar(batch)} {_progress(batch)}"),
                ("runs", states),
                ("created", f"{when(batch.created_at, now)} by {batch.created_by}"),
                ("over", when(batch.completed_at, now)),
                ("cancelled by", batch.cancelled_by or ""),
                ("in batch", str(batch.parent or "")),
                ("batches in it", ", ".join(map(str, batch.inner))),
                ("callbacks", ", ".join(f"run {run_id}" for run_id in batch.callbacks)),
            ]
        )

    run(work())


@batch_group.command("cancel")
@click.argument("batch_id", type=int, metavar="ID")
@json_option
def cancel(batch_id: int, *, as_json: bool) -> None:
    """Cancel all runs of a batch and of its inner batches.

    \b
    Example:
      targcc batch cancel 3
    """
    run(_ask(batch_id, "cancel", as_json=as_json))


@batch_group.command("retry")
@click.argument("batch_id", type=int, metavar="ID")
@json_option
def retry(batch_id: int, *, as_json: bool) -> None:
    """Retry the failed and cancelled runs of a batch.

    \b
    Example:
      targcc batch retry 3
    """
    run(_ask(batch_id, "retry", as_json=as_json))


async def _ask(batch_id: int, action: str, *, as_json: bool) -> None:
    async with connect() as api:
        response: BatchDoneOut = await api.post(path("batches", batch_id, action))
    done(response.message, as_json=as_json, batch_id=batch_id, runs=response.runs)


def _progress(batch: BatchOut) -> str:
    failed = f", {batch.failed} failed" if batch.failed else ""
    return f"{batch.total - batch.pending} of {batch.total} done{failed}"


def _bar(batch: BatchOut) -> str:
    over = batch.total - batch.pending
    filled = _BAR * over // batch.total if batch.total else _BAR
    return f"[{'#' * filled}{'-' * (_BAR - filled)}]"
