"""`targcc-gen restore`: the generator's text back, for a file that was deleted, ejected or edited."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from targcc_gen.cli.options import Writing, project_option, writing_options
from targcc_gen.errors import InputError

if TYPE_CHECKING:
    from targcc_gen.render import Tree


@click.command(short_help="Bring a deleted file back, or drop the edits of one.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--discard-edits", is_flag=True, help="Also where that drops what you wrote in the file."
)
@writing_options
@project_option
def restore(
    paths: tuple[str, ...],
    *,
    discard_edits: bool,
    dry_run: bool,
    diff: bool,
    as_json: bool,
    project: Path | None,
) -> None:
    """Bring back each PATH, a file or a folder, as targcc-gen makes it.

    A deleted file is there again, an ejected one is managed again. Edits are dropped only with --discard-edits.

    \b
    Example:
      targcc-gen restore docs/JOB_DEVELOPMENT_GUIDE.md
      targcc-gen restore src/acme_jobs/scheduler --discard-edits --diff
    """
    from targcc_gen.cli.output.progress import rendered
    from targcc_gen.cli.output.show import carry_out
    from targcc_gen.cli.project import open_project, path_in
    from targcc_gen.render import Tree
    from targcc_gen.sync import Side, make_plan

    opened = open_project(project)
    tree = rendered(opened.spec, opened.text)
    chosen = {one for path in paths for one in _below(tree, path_in(opened.root, path))}
    part = Tree.of([tree.files[path] for path in chosen], complete=False)
    sides = {".": Side.GENERATED} if discard_edits else {}
    plan = make_plan(part, opened.root, sides=sides, restore=chosen)
    if plan.conflicts and not discard_edits and all(one.settleable for one in plan.conflicts):
        names = "\n".join(f"  {change.path}" for change in plan.conflicts)
        raise _edits_lost(names)
    carry_out(plan, Writing(dry_run=dry_run, diff=diff, as_json=as_json))
    if plan.is_empty and not as_json:
        click.echo("Nothing to do: they are as targcc-gen makes them.")


def _edits_lost(names: str) -> Exception:
    from targcc_gen.errors import ConflictError

    return ConflictError(
        f"restoring would drop what you wrote in\n{names}\nnothing was written",
        hint="look at it with git diff, then add --discard-edits",
    )


def _below(tree: Tree, path: str) -> list[str]:
    """The files at a path: itself, or all in the folder."""
    if path in tree.files:
        return [path]
    found = [one for one in tree.files if one.startswith(f"{path}/") or path == "."]
    if not found:
        raise InputError(
            f"{path} is no file that targcc-gen makes", hint="targcc-gen status lists what changed"
        )
    return found
