"""``targcc owner``: who runs a job, the old server or this one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....cutover import owning
from ....storage.owners import rows
from ....storage.owners.values import Owner
from ....web.api.schemas.base import DoneOut
from ....web.api.schemas.jobs import JobDetailOut, OwnerIn, OwnerOut
from ...api.completing import job_names
from ...api.reach import path, reached
from ...common import opened, operator, run
from ...group import CliError, Commands
from ...output import done, json_option, print_json, print_table, shows, when

if TYPE_CHECKING:
    from ...api.client import Api

_OWNERS = click.Choice([owner.value for owner in Owner])


@click.group("owner", cls=Commands)
def owner_group() -> None:
    """Say who runs a job: the old server, or this one."""


@owner_group.command("list")
@shows
def list_owners(*, as_json: bool) -> None:
    """Show who runs which job. A job that is not named is run from here.

    \b
    Example:
      targcc owner list
    """

    async def work() -> None:
        async with reached() as api:
            owned = await api.get(path("owners"), list[OwnerOut])
        if as_json:
            print_json(owned)
        elif not owned:
            click.echo("Every job is run from here.")
        else:
            print_table(
                ["JOB", "OWNER", "RUNNER", "OLD ROW", "SINCE", "BY", "WAITING", "REASON"],
                [
                    [
                        one.job,
                        _shown(one),
                        one.runner or "",
                        one.old_key or "",
                        when(one.since, api.now),
                        one.by,
                        str(one.waiting or ""),
                        one.reason or "",
                    ]
                    for one in owned
                ],
            )

    run(work())


def _shown(one: OwnerOut) -> str:
    return f"{one.owner} ({one.step})" if one.step is not None else str(one.owner)


@owner_group.command("set")
@click.argument("names", nargs=-1, metavar="JOB...", shell_complete=job_names)
@click.argument("owner", type=_OWNERS)
@click.option("--all", "every", is_flag=True, help="All jobs that the old server runs.")
@click.option("--reason", help="What the next person should know.")
@click.option("--old-is-off", is_flag=True, help="To new: nothing runs the job there any more.")
@click.option("--old-id", help="The ID of its row in the old table.")
@click.option("--runner", help="The old server's process that runs it.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@json_option
def set_owner(
    names: tuple[str, ...],
    owner: str,
    *,
    every: bool,
    reason: str | None,
    old_is_off: bool,
    old_id: str | None,
    runner: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Say who runs jobs: old, new, or shadow (the old server, and the slots are written down here).

    Nothing is done at the old server: targcc cutover start and back do both sides.

    \b
    Example:
      targcc owner set --all shadow --reason "two weeks of looking on"
      targcc owner set DailyReport old --old-id 7 --runner night
    """
    if bool(names) == every:
        raise click.UsageError("name jobs, or say --all")
    if len(names) != 1 and (old_id or runner):
        raise click.UsageError("--old-id and --runner are about one job")

    async def work() -> None:
        wish = OwnerIn(
            owner=Owner(owner), reason=reason, old_is_off=old_is_off, old_key=old_id, runner=runner
        )
        said = []
        async with reached() as api:
            owned = {one.job: one.owner for one in await api.get(path("owners"), list[OwnerOut])}
            taken = [job for job, by in owned.items() if by != Owner.NEW]
            for job in taken if every else [await _key(api, name, owned) for name in names]:
                was = owned.get(job, str(Owner.NEW))
                if not dry_run:
                    await api.post(path("jobs", job, "owner"), DoneOut, wish)
                said.append({"job": job, "was": was, "owner": owner})
                if not as_json:
                    click.echo(f"{job}: {was} -> {owner}" if dry_run else f"{job}: {owner}")
        if as_json:
            print_json({"jobs": said, "saved": not dry_run})
        elif dry_run:
            click.echo("Nothing was changed.")

    run(work())


async def _key(api: Api, name: str, owned: Iterable[str]) -> str:
    """A job's own name; it may have left the code."""
    if name in owned:
        return name
    return (await api.get(path("jobs", name), JobDetailOut)).name


@owner_group.command("import")
@click.argument("file", type=click.Path(path_type=Path), default=owning.FILE)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@json_option
def import_owners(file: Path, *, dry_run: bool, as_json: bool) -> None:
    """Say that the old server runs the jobs which import-legacy --paused brought.

    FILE is what it wrote, by default legacy/cutover.json. From then on their owner keeps them from running here, and the
    pause they were created with ends. A job that has an owner keeps it.

    \b
    Example:
      targcc owner import
    """

    async def work() -> None:
        async with opened() as scheduler:
            moving = owning.read_file(file)
            owned = await scheduler.read(rows.load)
            unknown = [one.job for one in moving if one.job not in scheduler.definitions]
            if unknown:
                raise CliError(f"{file} names jobs that are not here: {', '.join(unknown)}")
            new = [one.job for one in moving if one.job not in owned]
            if not dry_run:
                new = await scheduler.operate(owning.register, None, moving, Owner.OLD, operator())
        would = "would be run" if dry_run else "are run"
        said = f"{len(new)} jobs {would} by the old server, {len(moving) - len(new)} had an owner."
        done(said, as_json=as_json, jobs=len(new), saved=not dry_run)

    run(work())
