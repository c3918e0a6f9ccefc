"""`targcc-gen eject`: a managed file becomes the person's alone."""

from __future__ import annotations

from pathlib import Path

import click

from targcc_gen.cli.options import Writing, project_option, writing_options


@click.command(short_help="Make a managed file yours alone.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@writing_options
@project_option
def eject(
    paths: tuple[str, ...], *, dry_run: bool, diff: bool, as_json: bool, project: Path | None
) -> None:
    """Make each managed PATH yours alone: regenerate never touches it again.

    Its header line goes. `targcc-gen restore PATH` makes it managed again.

    \b
    Example:
      targcc-gen eject src/acme_jobs/scheduler/auth.py
    """
    from targcc_gen.cli.output.show import carry_out
    from targcc_gen.cli.project import find_root, path_in
    from targcc_gen.sync import plan_eject

    root = find_root(project)
    wanted = [path_in(root, path) for path in paths]
    plan = plan_eject(root, wanted)
    carry_out(plan, Writing(dry_run=dry_run, diff=diff, as_json=as_json))
    if not as_json and not dry_run:
        click.echo("Yours from now on. New versions of targcc-gen will not change it.")
