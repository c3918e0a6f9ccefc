"""`targcc-gen scheduler`: use the scheduler as a dependency, or with its source in the project."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targcc_gen.cli.options import WAYS, Writing, project_option, writing_options
from targcc_gen.errors import ConflictError

if TYPE_CHECKING:
    from targcc_gen.scheduler_switch import Switch, Way


@click.command(short_help="Switch the scheduler between a dependency and source in the project.")
@click.argument("way", type=click.Choice(WAYS))
@click.option("--drop-edits", is_flag=True, help="Discard your edits of the scheduler's source.")
@writing_options
@project_option
def scheduler(
    way: Way,
    *,
    drop_edits: bool,
    dry_run: bool,
    diff: bool,
    as_json: bool,
    project: Path | None,
) -> None:
    """Switch the scheduler between package and vendored mode. No job changes.

    package: the dependency targcc-scheduler, from the source of this targcc-gen, else from a wheel in vendor/. vendored: the
    source of targcc-scheduler in vendor/targcc-scheduler/, which you may edit. The import name is the same. targcc.yaml,
    pyproject.toml and the README are updated; in a patched app, the list of requirements is updated.

    Edits of the scheduler's source are shown, and are discarded only with --drop-edits. Your own files in its folder stay.

    \b
    Example:
      targcc-gen scheduler package --dry-run
      targcc-gen scheduler package
      targcc-gen scheduler vendored
    """
    from targcc_gen.cli.progress import rendered
    from targcc_gen.cli.project import open_project
    from targcc_gen.scheduler_switch import prepare

    opened = open_project(project, writes=not dry_run)
    if opened.spec.scheduler == way:
        _nothing_to_do(way, as_json=as_json)
        return
    switch = prepare(opened.root, opened.text, way, drop_edits=drop_edits, render=rendered)
    _carry_out(switch, Writing(dry_run=dry_run, diff=diff, as_json=as_json))


def _nothing_to_do(way: str, *, as_json: bool) -> None:
    if as_json:
        from targcc_gen.cli.json_output import print_json

        print_json({"scheduler": way, "changes": [], "written": False})
    else:
        click.echo(f"Nothing to do: the scheduler is {way} already.")


def _carry_out(switch: Switch, writing: Writing) -> None:
    """Show the switch as requested, and write the plan unless edits or conflicts block it."""
    from targcc_gen.cli.plans import UnsettledError
    from targcc_gen.cli.progress import write
    from targcc_gen.scheduler_switch import remove_empty_folders

    writes = not (writing.dry_run or switch.is_blocked or switch.plan.conflicts)
    if writes:
        write(switch.plan)
        remove_empty_folders(switch.plan)
    if writing.as_json:
        from targcc_gen.cli.json_output import print_json

        output = switch.plan.to_json() | switch.to_json() | {"written": writes}
        print_json(output)
    else:
        _show(switch, diff=writing.diff)
    if switch.is_blocked:
        raise _blocked(switch)
    if switch.plan.conflicts:
        raise UnsettledError(switch.plan, writing, written=False)
    if not writing.as_json:
        _print_next(switch, written=writes)


def _show(switch: Switch, *, diff: bool) -> None:
    """Print the edits that would be lost, then the plan, with the scheduler's files on one line."""
    from targcc_gen.cli.plans import show_diff, show_plan

    for edit in switch.edits:
        click.echo(f"edited    {edit.path}\n{edit.diff}")
    for path in switch.stays:
        click.echo(f"stays     {path}  it is yours")
    shown = replace(
        switch.plan,
        changes=tuple(change for change in switch.plan.changes if change.path not in switch.stays),
    )
    show_plan(shown)
    if diff:
        own = tuple(change for change in shown.changes if not change.path.startswith("vendor/"))
        show_diff(replace(shown, changes=own))


def _blocked(switch: Switch) -> ConflictError:
    names = ", ".join(edit.path for edit in switch.edits)
    return ConflictError(
        f"the switch would drop what you wrote in {names}: nothing was written",
        hint="keep what you need elsewhere, then add --drop-edits",
    )


def _print_next(switch: Switch, *, written: bool) -> None:
    if not written:
        click.echo("Nothing was written.")
    elif switch.declared is not None:
        for line in switch.declared.lines:
            click.echo(f"Next: add to the project's requirements: {line}")
        click.echo(f"Next: {switch.declared.install}")
    else:
        click.echo("Next: uv sync; for pip see README.md")
