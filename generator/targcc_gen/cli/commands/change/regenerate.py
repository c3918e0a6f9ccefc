"""`targcc-gen regenerate`: every file follows the spec and the generator, and nobody's edit is lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targcc_gen.cli.options import (
    Writing,
    conflict_options,
    project_option,
    sides_of,
    writing_options,
)

if TYPE_CHECKING:
    from targcc_gen.cli.project import Project
    from targcc_gen.render import Tree
    from targcc_gen.sync import Plan, Side

FORMATS = ("github", "gitlab")


@click.command(short_help="Bring all files to what the spec asks for; edits are merged.")
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; exit with 1 and a diff when something is due. For CI and pre-commit.",
)
@click.option(
    "--format",
    "annotations",
    type=click.Choice(FORMATS),
    help="With --check: print what is due so that GitHub or GitLab shows it in a merge request.",
)
@conflict_options
@writing_options
@project_option
def regenerate(
    *,
    check: bool,
    annotations: str | None,
    mine: tuple[str, ...],
    generated: tuple[str, ...],
    markers: bool,
    dry_run: bool,
    diff: bool,
    as_json: bool,
    project: Path | None,
) -> None:
    """Bring all files to what targcc.yaml and this version of targcc-gen ask for.

    Managed files are merged with your edits, line by line. Your own files stay as they are, but a job's @job(…) and
    its arguments follow the spec. Where both changed the same lines, or @job says something else than the spec, nothing is
    written until you choose; --mine of a job's file takes what it says into targcc.yaml.

    \b
    Example:
      targcc-gen regenerate
      targcc-gen regenerate --check
      targcc-gen regenerate --check --format gitlab > gl-code-quality-report.json
      targcc-gen regenerate --mine src/acme_jobs/scheduler/executor.py
    """
    from targcc_gen.cli.branches import say_merged, with_merged_spec
    from targcc_gen.cli.output import annotations as annotating
    from targcc_gen.cli.output import show
    from targcc_gen.cli.output.progress import rendered
    from targcc_gen.cli.output.release_notes import notes_since
    from targcc_gen.sync import make_plan

    if annotations and (as_json or not check):
        raise click.UsageError("--format goes with --check, and not with --json")
    opened = _opened(project, annotations, writes=not (check or dry_run), markers=markers)
    sides = sides_of(opened.root, mine, generated, markers=markers)
    writing = Writing(dry_run=dry_run, diff=diff, as_json=as_json, sides=sides)
    tree = with_merged_spec(rendered(opened.spec, opened.text), opened)
    if mine:
        tree = _pulled(opened, tree, sides, as_json=as_json)
    plan = make_plan(tree, opened.root, sides=sides)
    if annotations:
        annotating.show(annotating.of_plan(plan), annotations)
    elif not as_json:
        say_merged(opened)
    if check:
        show.check(plan, writing, quiet=annotations is not None)
        return
    news = notes_since(plan.locked_before.generator)
    update = _update_of_environment(plan, opened)
    told = {"update_environment": update} if update else {}
    written = show.carry_out(plan, writing, extra=news.to_json() | told)
    if as_json:
        return
    news.show()
    if update and written:
        click.echo(f"Next: {update}   (the environment has another build of the scheduler)")
    if plan.is_empty:
        click.echo("Nothing to do: every file is what targcc.yaml asks for.")
    elif written and not any(change.writes for change in plan.changes):
        click.echo("Nothing to do but the lock in .targcc: it is up to date now.")


def _update_of_environment(plan: Plan, project: Project) -> str:
    """The command that installs the wheel of the scheduler that the project carries now; empty where it stays."""
    from targcc_gen.declare.dependency import update_command
    from targcc_gen.declare.needed import needed
    from targcc_gen.declare.texts import Texts
    from targcc_gen.render.wheel import version_of

    if not any(change.writes and version_of(change.path) for change in plan.changes):
        return ""
    return update_command(Texts(project.root), needed(project.spec))


def _opened(
    project: Path | None, annotations: str | None, *, writes: bool, markers: bool
) -> Project:
    """The project; of a spec that is wrong, or that branches changed differently, what can be done is done first."""
    from targcc_gen.cli.branches import DisputedError
    from targcc_gen.cli.output import annotations as annotating
    from targcc_gen.cli.project import find_root, open_project
    from targcc_gen.errors import TargccError
    from targcc_gen.spec import SpecErrors
    from targcc_gen.sync import apply

    root = find_root(project)
    try:
        return open_project(project, writes=writes, merges=True)
    except TargccError as error:
        if isinstance(error, DisputedError) and markers and writes:
            apply(error.plan())
        if annotations and isinstance(error, SpecErrors):
            annotating.show(annotating.of_spec_errors(error, root), annotations)
        elif annotations:
            annotating.show(annotating.of_error(error, root), annotations)
        raise


def _pulled(project: Project, tree: Tree, sides: Mapping[str, Side], *, as_json: bool) -> Tree:
    """The tree of a spec that says what the code of jobs says, where the person chose the code."""
    from dataclasses import replace

    from targcc_gen.cli.commands.change.pull import show_pulled
    from targcc_gen.cli.output.progress import rendered
    from targcc_gen.cli.project import SPEC_FILE
    from targcc_gen.spec import parse_spec
    from targcc_gen.sync import Side
    from targcc_gen.sync.jobs.pull import pull
    from targcc_gen.sync.planner.planner import side_of

    keys = [
        file.job.key
        for file in tree
        if file.job is not None
        and side_of(file.path, sides) is Side.MINE
        and (project.root / file.path).is_file()
    ]
    pulled = pull(project.spec, project.text, project.root, keys)
    if pulled.text == project.text:
        return tree
    if not as_json:
        show_pulled(pulled)
    written = tree.files[SPEC_FILE].replaces  # where it is another than it was read
    tree = rendered(parse_spec(pulled.text), pulled.text)
    spec = replace(tree.files[SPEC_FILE], replaces=written or project.text.encode())
    return replace(tree, files={**tree.files, SPEC_FILE: spec})
