"""`targcc-gen restore`: bring back the generator's text of a deleted, ejected or edited file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from targcc_gen.cli.options import Writing, project_option, writing_options
from targcc_gen.errors import ConflictError, InputError, PathError

if TYPE_CHECKING:
    from targcc_gen.cli.project import Project
    from targcc_gen.render import Tree
    from targcc_gen.sync.jobs.removed import Removed


@click.command(short_help="Restore a deleted file, or drop the edits of a file.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--discard-edits", is_flag=True, help="Restore the file even if your edits are lost.")
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
    """Restore each PATH, a file or a folder, as targcc-gen renders it.

    A deleted file is written again, an ejected file is managed again. Edits are dropped only with --discard-edits. With the name of
    a removed job instead of a PATH, the job is restored with your edits.

    \b
    Example:
      targcc-gen restore tests/test_project.py
      targcc-gen restore src/acme_jobs/scheduler --discard-edits --diff
    """
    from targcc_gen.cli.plans import carry_out
    from targcc_gen.cli.progress import rendered
    from targcc_gen.cli.project import open_project, path_in
    from targcc_gen.render import Tree
    from targcc_gen.sync import Side, make_plan

    opened = open_project(project, writes=not dry_run)
    writing = Writing(dry_run=dry_run, diff=diff, as_json=as_json)
    if len(paths) == 1 and (removed := _removed(opened, paths[0])) is not None:
        _bring_back(opened, removed, writing)
        return
    tree = rendered(opened.spec, opened.text)
    chosen = {item for path in paths for item in _below(tree, path_in(opened.root, path))}
    part = Tree.of([tree.files[path] for path in chosen], complete=False)
    sides = {".": Side.GENERATED} if discard_edits else {}
    plan = make_plan(part, opened.root, sides=sides, restore=chosen)
    if plan.conflicts and not discard_edits and all(item.settleable for item in plan.conflicts):
        names = "\n".join(f"  {change.path}" for change in plan.conflicts)
        raise _edits_lost(names)
    carry_out(plan, writing)
    if plan.is_empty and not as_json:
        click.echo("Nothing to do: they are as targcc-gen makes them.")


def _removed(project: Project, text: str) -> Removed | None:
    """Return the removed job with this name, or with this path among its files; None without a match."""
    from targcc_gen.names import JobName, same_job
    from targcc_gen.sync.jobs.removed import removed_jobs

    for removed in reversed(removed_jobs(project.root)):
        places = {*removed.files, *removed.files.values(), removed.record}
        if text.removeprefix("./") in places:
            return removed
        try:
            if same_job(JobName.parse(text).key, removed.key):
                return removed
        except InputError:
            continue  # a path
    return None


def _bring_back(project: Project, removed: Removed, writing: Writing) -> None:
    from targcc_gen.cli.plans import carry_out
    from targcc_gen.cli.project import SPEC_FILE
    from targcc_gen.render import Owner, Tree, TreeFile, render_job
    from targcc_gen.spec import add_job, build_job, parse_spec
    from targcc_gen.sync import make_plan
    from targcc_gen.sync.jobs.removed import bring_back

    text = add_job(project.text, removed.key, build_job(removed.key, removed.values))
    spec = parse_spec(text)
    edit = TreeFile(SPEC_FILE, text.encode(), Owner.SCAFFOLD, replaces=project.text.encode())
    tree = Tree.of([*render_job(spec, removed.key), edit], complete=False)
    carry_out(bring_back(make_plan(tree, project.root), removed), writing)


def _edits_lost(names: str) -> Exception:
    return ConflictError(
        f"restoring would drop what you wrote in\n{names}\nnothing was written",
        hint="look at it with git diff, then add --discard-edits",
    )


def _below(tree: Tree, path: str) -> list[str]:
    """Return the file at a path, or all files in the folder at a path."""
    if path in tree.files:
        return [path]
    below = [file for file in tree.files if file.startswith(f"{path}/") or path == "."]
    if not below:
        raise PathError(f"{path} is no file that targcc-gen makes", hint=_other_ways(path))
    return below


def _other_ways(path: str) -> str:
    from targcc_gen.names import JobName

    try:
        key = JobName.parse(path).key
    except InputError:
        return "targcc-gen status lists what changed"
    return f"nor is a job of that name kept: one without edits is made anew by targcc-gen job {key}"
