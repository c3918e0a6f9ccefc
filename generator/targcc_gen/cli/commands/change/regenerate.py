"""`targcc-gen regenerate`: every file follows the spec and the generator, and nobody's edit is lost."""

from __future__ import annotations

from pathlib import Path

import click

from targcc_gen.cli.options import (
    Writing,
    conflict_options,
    project_option,
    sides_of,
    writing_options,
)


@click.command(short_help="Bring all files to what the spec asks for; edits are merged.")
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; exit with 1 and a diff when something is due. For CI and pre-commit.",
)
@conflict_options
@writing_options
@project_option
def regenerate(
    *,
    check: bool,
    mine: tuple[str, ...],
    generated: tuple[str, ...],
    markers: bool,
    dry_run: bool,
    diff: bool,
    as_json: bool,
    project: Path | None,
) -> None:
    """Bring all files to what targcc.yaml and this version of targcc-gen ask for.

    Managed files are merged with your edits, line by line. Your own files stay as they are, but a job's @job(…)
    follows the spec. Where both changed the same lines nothing is written until you choose.

    \b
    Example:
      targcc-gen regenerate
      targcc-gen regenerate --check
      targcc-gen regenerate --mine src/acme_jobs/scheduler/executor.py
    """
    from targcc_gen.cli.output import show
    from targcc_gen.cli.output.progress import rendered
    from targcc_gen.cli.output.release_notes import notes_since
    from targcc_gen.cli.project import open_project
    from targcc_gen.sync import make_plan

    opened = open_project(project)
    sides = sides_of(opened.root, mine, generated, markers=markers)
    writing = Writing(dry_run=dry_run, diff=diff, as_json=as_json, sides=sides)
    plan = make_plan(rendered(opened.spec, opened.text), opened.root, sides=sides)
    if check:
        show.check(plan, writing)
        return
    news = notes_since(plan.locked_before.generator)
    written = show.carry_out(plan, writing, extra=news.to_json())
    if not as_json:
        news.show()
    if plan.is_empty and not as_json:
        click.echo("Nothing to do: every file is what targcc.yaml asks for.")
    elif written and not as_json and not any(change.writes for change in plan.changes):
        click.echo("Nothing to do but the lock in .targcc: it is up to date now.")
