"""`targcc-gen pull`: copy the arguments of `@job` from the code of jobs into the spec."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targcc_gen.cli.commands.job import complete_job
from targcc_gen.cli.options import Writing, project_option, writing_options

if TYPE_CHECKING:
    from targcc_gen.cli.project import Project
    from targcc_gen.sync import Plan
    from targcc_gen.sync.jobs.pull import Pulled


@click.command(short_help="Copy job options from the code into targcc.yaml.")
@click.argument("jobs", metavar="[JOB]...", nargs=-1, shell_complete=complete_job)
@writing_options
@project_option
def pull(
    jobs: tuple[str, ...], *, dry_run: bool, diff: bool, as_json: bool, project: Path | None
) -> None:
    """Copy the options in @job(…) of each JOB into targcc.yaml. Without names, copy the options of every job that differs.

    A JOB in the code without an entry in targcc.yaml gets an entry.

    \b
    Example:
      targcc-gen pull
      targcc-gen pull DailyReport --diff
    """
    from targcc_gen.cli.plans import carry_out
    from targcc_gen.cli.project import open_project
    from targcc_gen.sync.jobs import pull as jobs_of_code

    opened = open_project(project, writes=not dry_run)
    keys = [jobs_of_code.find_in_code(opened.spec, name, opened.root) for name in jobs]
    if not jobs:
        keys = present_jobs(opened)
    pulled = jobs_of_code.pull(opened.spec, opened.text, opened.root, dict.fromkeys(keys))
    refuse_unread(opened, pulled)
    plan = _plan(opened, pulled)
    if not as_json:
        show_pulled(pulled)
    extra = {"pulled": {key: list(names) for key, names in pulled.changed.items()}}
    carry_out(
        plan,
        Writing(dry_run=dry_run, diff=diff, as_json=as_json),
        extra=extra | {"adopted": list(pulled.adopted)},
    )
    if plan.is_empty and not as_json:
        click.echo("Nothing to do: targcc.yaml says what the code says.")


def present_jobs(project: Project) -> list[str]:
    """Return the keys of the spec's jobs with an existing module."""
    from targcc_gen.render import job_paths

    spec = project.spec
    return [key for key in spec.jobs if (project.root / job_paths(spec, key)[0]).is_file()]


def refuse_unread(project: Project, pulled: Pulled) -> None:
    """Refuse arguments that a spec cannot express.

    Raises:
        InputError: A job has such an argument.
    """
    from targcc_gen.render import job_paths
    from targcc_gen.sync.jobs.pull import unreadable

    for key, names in pulled.unread.items():
        raise unreadable(job_paths(project.spec, key)[0], key, names)


def show_pulled(pulled: Pulled) -> None:
    """Print the values that the spec takes over."""
    for key, names in pulled.changed.items():
        click.echo(f"{key}: targcc.yaml takes {', '.join(names)} from the code")
    for key in pulled.adopted:
        click.echo(f"{key}: targcc.yaml has it now")


def _plan(project: Project, pulled: Pulled) -> Plan:
    from targcc_gen.cli.project import SPEC_FILE
    from targcc_gen.render import Owner, Tree, TreeFile, render_job
    from targcc_gen.spec import parse_spec
    from targcc_gen.sync import Action, Lock, Side, make_plan

    spec = parse_spec(pulled.text)
    files = [file for key in [*pulled.changed, *pulled.adopted] for file in render_job(spec, key)]
    sides = {file.path: Side.MINE for file in files}
    if pulled.text != project.text:
        edit = TreeFile(
            SPEC_FILE, pulled.text.encode(), Owner.SCAFFOLD, replaces=project.text.encode()
        )
        files.append(edit)
    plan = make_plan(Tree.of(files, complete=False), project.root, sides=sides)
    known = Lock.load(project.root).entries
    # Create no test for a job unknown to the generator: the test would be wrong.
    foreign = {file.path for file in files if file.test_of and file.test_of not in known}
    changes = tuple(
        (
            replace(change, action=Action.KEEP, after=None, reason="write it as you like")
            if change.path in foreign and change.before is None
            else change
        )
        for change in plan.changes
    )
    return replace(plan, changes=changes)
