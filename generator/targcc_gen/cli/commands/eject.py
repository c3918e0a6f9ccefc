"""`targcc-gen eject`: hand a managed file to the project for good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from targcc_gen.cli.options import Writing, project_option, writing_options


@click.command(short_help="Eject a managed file: it becomes your own file.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@writing_options
@project_option
def eject(
    paths: tuple[str, ...], *, dry_run: bool, diff: bool, as_json: bool, project: Path | None
) -> None:
    """Eject each managed PATH: regenerate never changes it again.

    A file that targcc.yaml no longer requires can be ejected too. Its job then counts as written by hand.

    The header line of the file is removed. `targcc-gen restore PATH` makes the file managed again.

    \b
    Example:
      targcc-gen eject .pre-commit-config.yaml
    """
    from targcc_gen.cli.plans import carry_out
    from targcc_gen.cli.project import find_root, path_in, ready_to_write
    from targcc_gen.sync import plan_eject

    root = find_root(project)
    if not dry_run:
        ready_to_write(root)
    wanted = [path_in(root, path) for path in paths]
    plan = plan_eject(root, wanted, _left(root, wanted))
    carry_out(plan, Writing(dry_run=dry_run, diff=diff, as_json=as_json))
    if not as_json and not dry_run:
        click.echo("Yours from now on. New versions of targcc-gen will not change it.")


def _left(root: Path, paths: Sequence[str]) -> set[str]:
    """Return the scaffold files among `paths` that the spec no longer asks for."""
    from targcc_gen.cli.progress import rendered
    from targcc_gen.cli.project import open_project
    from targcc_gen.sync import Lock, Owner

    entries = Lock.load(root).entries
    own = {path for path in paths if path in entries and entries[path].owner is Owner.SCAFFOLD}
    if not own:
        return set()
    opened = open_project(root)
    return own - rendered(opened.spec, opened.text).files.keys()
