"""`targcc-gen scheduler`: a copy of the scheduler in the project, or the package as a dependency."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targcc_gen.cli.options import WAYS, Writing, project_option, writing_options
from targcc_gen.errors import ConflictError

if TYPE_CHECKING:
    from targcc_gen.switching.service import Switch, Way


@click.command(short_help="Have the scheduler as a copy in the project, or as a package.")
@click.argument("way", type=click.Choice(WAYS))
@click.option("--drop-edits", is_flag=True, help="Lose what you changed in the scheduler's files.")
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
    """Change between the two ways to have the scheduler; no job changes.

    vendored: a copy in src/<package>/scheduler/, which you may edit. package: the dependency targcc-scheduler, whose
    wheel is laid in vendor/; some 24 files are left in the project. targcc.yaml, pyproject.toml and the README follow; of
    an app that was patched, the list of requirements that it has.

    Edits of the scheduler's files are shown, and only lost with --drop-edits. Your own files in its folder stay. Imports
    from below <package>.scheduler do not work with the package: they are listed, with what to write instead.

    \b
    Example:
      targcc-gen scheduler package --dry-run
      targcc-gen scheduler package
      targcc-gen scheduler vendored
    """
    from targcc_gen.cli.output.progress import rendered
    from targcc_gen.cli.project import open_project
    from targcc_gen.switching.service import prepare

    opened = open_project(project, writes=not dry_run)
    if opened.spec.scheduler == way:
        _nothing_to_do(way, as_json=as_json)
        return
    switch = prepare(opened.root, opened.text, way, drop_edits=drop_edits, render=rendered)
    _carry_out(switch, Writing(dry_run=dry_run, diff=diff, as_json=as_json))


def _nothing_to_do(way: str, *, as_json: bool) -> None:
    if as_json:
        from targcc_gen.cli.output.programs import print_json

        print_json({"scheduler": way, "changes": [], "written": False})
    else:
        click.echo(f"Nothing to do: the scheduler is {way} already.")


def _carry_out(switch: Switch, writing: Writing) -> None:
    """Show it as it was asked for, and write it unless something stands against it."""
    from targcc_gen.cli.output.progress import write
    from targcc_gen.cli.output.show import UnsettledError
    from targcc_gen.switching.service import clean_up

    writes = not (writing.dry_run or switch.is_blocked or switch.plan.conflicts)
    if writes:
        write(switch.plan)
        clean_up(switch)
    if writing.as_json:
        from targcc_gen.cli.output.programs import print_json

        told = switch.plan.to_json() | switch.to_json() | {"written": writes}
        print_json(told)
    else:
        _show(switch, diff=writing.diff)
    if switch.is_blocked:
        raise _blocked(switch)
    if switch.plan.conflicts:
        raise UnsettledError(switch.plan, writing, written=False)
    if not writing.as_json:
        _say_next(switch, written=writes)


def _show(switch: Switch, *, diff: bool) -> None:
    """The edits that go, the imports that break, then the plan: the scheduler's own files as one line."""
    from targcc_gen.cli.output.show import show_diff, show_plan

    for edit in switch.edits:
        click.echo(f"edited    {edit.path}\n{edit.diff}")
    for one in switch.imports:
        click.echo(f"{one.path}:{one.line}: {one.text}")
        click.echo(f"          write: {one.instead}" if one.instead else f"          {_NO_NAME}")
    for path in switch.stays:
        click.echo(f"stays     {path}  it is yours")
    init = f"{switch.folder}__init__.py"
    copy = [one for one in switch.plan.changes if one.path.startswith(switch.folder)]
    moving = [one for one in copy if one.action in {"create", "delete"} and one.path != init]
    if moving:
        click.echo(f"{moving[0].action.value:<9} {switch.folder}  ({len(moving)} files)")
    told = {one.path for one in moving}.union(switch.stays)
    shown = replace(
        switch.plan, changes=tuple(one for one in switch.plan.changes if one.path not in told)
    )
    show_plan(shown)
    if diff:
        show_diff(shown)


_NO_NAME = "the package offers no such name, so do without it"


def _blocked(switch: Switch) -> ConflictError:
    reasons, hints = [], []
    if switch.edits and not switch.drops:
        names = ", ".join(edit.path for edit in switch.edits)
        reasons.append(f"the switch would drop what you wrote in {names}")
        hints.append("keep what you need elsewhere, then add --drop-edits")
    if switch.imports:
        count = len(switch.imports)
        lines = "1 line imports" if count == 1 else f"{count} lines import"
        reasons.append(f"{lines} what only a copy of the scheduler has")
        hints.append("change the lines named above, then run it again")
    return ConflictError(f"{'; '.join(reasons)}: nothing was written", hint="\n".join(hints))


def _say_next(switch: Switch, *, written: bool) -> None:
    if not written:
        click.echo("Nothing was written.")
    elif switch.declared is not None:
        for line in switch.declared.lines:
            click.echo(f"Next: add to the project's requirements: {line}")
        click.echo(f"Next: {switch.declared.install}")
    elif switch.way == "vendored":
        click.echo("Next: uv sync, or: pip install .")
    else:
        click.echo("Next: uv sync, or: pip install --find-links vendor .")
