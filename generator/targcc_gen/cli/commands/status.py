"""`targcc-gen status`: list edited files and pending changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from targcc_gen.cli.options import project_option
from targcc_gen.visible import visible

if TYPE_CHECKING:
    from targcc_gen.sync import Plan


@click.command(short_help="List edited, deleted and ejected files, and needed updates.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@project_option
def status(*, as_json: bool, project: Path | None) -> None:
    """List edited, deleted and ejected managed files, and the changes that `regenerate` would make.

    Nothing is written.

    \b
    Example:
      targcc-gen status
    """
    from targcc_gen import __version__
    from targcc_gen.cli.branches import with_merged_spec
    from targcc_gen.cli.progress import rendered
    from targcc_gen.cli.project import open_project
    from targcc_gen.sync import make_plan

    opened = open_project(project, merges=True)
    plan = make_plan(with_merged_spec(rendered(opened.spec, opened.text), opened), opened.root)
    made_by = plan.lock.generator or None
    edits = [*_edits(plan), *_left(plan), *_kept(opened.root), *_removed(opened.root)]
    if as_json:
        from targcc_gen.cli.json_output import print_json

        data: dict[str, Any] = {
            "project": str(opened.root),
            "made_by": made_by,
            "generator": __version__,
            "files": edits,
            "due": [change.to_json() for change in plan.changes if change.writes]
            + [change.to_json() for change in plan.conflicts],
            "up_to_date": plan.is_empty and not plan.strays,
        }
        print_json(data)
        return
    jobs = f"{len(opened.spec.jobs)} job{'' if len(opened.spec.jobs) == 1 else 's'}"
    click.echo(
        f"{opened.spec.project.name}: {jobs}, made by targcc-gen {made_by or '(no lock)'}, this is {__version__}"
    )
    _show(edits)
    _show_due(plan)


def _edits(plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield the managed files that were edited, deleted or ejected."""
    from targcc_gen.sync import Owner
    from targcc_gen.sync.lock import digest
    from targcc_gen.sync.merge import count_new_lines, plain

    before = plan.locked_before
    for change in plan.changes:
        entry = before.entries.get(change.path)
        if entry is None or (entry.owner is not Owner.MANAGED and change.before is not None):
            continue
        if change.before is None:
            yield {"path": change.path, "state": "deleted", "note": "restore brings it back"}
        elif entry.ejected:
            yield {"path": change.path, "state": "ejected", "note": "yours alone"}
        elif digest(plain(change.before)) != entry.sha256:
            count = count_new_lines(entry.base or b"", plain(change.before))
            note = f"{count} line{'' if count == 1 else 's'} of yours" if entry.base else ""
            yield {"path": change.path, "state": "edited", "note": note}


def _left(plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield files with a person's text that the spec no longer asks for; a job in such a file still runs."""
    for change in plan.changes:
        if change.left_spec:
            state = "not in the spec" if change.stray else "left"
            yield {"path": change.path, "state": state, "note": change.reason} | (
                {"job": change.stray} if change.stray else {}
            )


def _removed(root: Path) -> Iterator[dict[str, Any]]:
    """Yield the edited files of removed jobs: no scheduler runs the job, and `restore` can bring it back."""
    from targcc_gen.sync.jobs.removed import removed_files, removed_jobs

    whole = {path for job in removed_jobs(root) for path in job.files.values()}
    for path in removed_files(root):
        back = (
            f"targcc-gen restore {path} brings the job back" if path in whole else "its job is gone"
        )
        note = f"{back}; delete it when you are done with it"
        yield {"path": path, "state": "removed", "note": note}


def _kept(root: Path) -> Iterator[dict[str, Any]]:
    """Yield the files in `.targcc/kept`: edited text that could not follow a change of the generator."""
    from targcc_gen.sync.plan.plan import kept_files

    for path in kept_files(root):
        yield {"path": path, "state": "kept", "note": "yours; delete it when you are done with it"}


def _show(edits: list[dict[str, Any]]) -> None:
    width = max((len(edit["path"]) for edit in edits), default=0)
    for edit in edits:
        click.echo(visible(f"{edit['state']:<9} {edit['path']:<{width}}  {edit['note']}".rstrip()))


def _show_due(plan: Plan) -> None:
    from targcc_gen.cli.plans import show_plan

    if plan.is_empty and plan.strays:
        return
    if plan.is_empty:
        click.echo("Up to date: regenerate has nothing to do.")
        return
    click.echo("\nregenerate would:")
    show_plan(plan)
    if not any(change.writes for change in plan.changes) and not plan.conflicts:
        click.echo("update    .targcc/lock.jsonl")
