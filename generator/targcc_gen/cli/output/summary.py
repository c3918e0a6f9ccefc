"""A new project's files as people see them: those of their own one by one, the rest by folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from targcc_gen.visible import visible

if TYPE_CHECKING:
    from targcc_gen.spec import Spec
    from targcc_gen.sync import Change, Plan

_MAX_JOBS = 12


def show_new_project(plan: Plan, spec: Spec) -> None:
    """Print what a new project consists of."""
    created = [change for change in plan.changes if change.action == "create"]
    click.echo(f"{spec.project.name}: {len(created)} files to create\n")
    rows = list(_rows(created, spec.project.package))
    width = max((len(place) for place, _, _ in rows), default=0)
    for place, owner, note in rows:
        click.echo(visible(f"  {place:<{width}}  {owner:<9}  {note}".rstrip()))
    click.echo()


def _rows(changes: list[Change], package: str) -> Iterator[tuple[str, str, str]]:
    """Place, owner and a few words: what people edit first, then folders, then single files."""
    told = [change for change in changes if change.summary]
    place_of_jobs = f"src/{package}/jobs/"
    jobs = [change for change in told if place_of_jobs in change.path]
    for change in told:
        if place_of_jobs not in change.path:
            yield change.path, change.owner.shown, change.summary
    for change in jobs[:_MAX_JOBS]:
        yield change.path, change.owner.shown, change.summary
    if len(jobs) > _MAX_JOBS:
        yield f"src/{package}/jobs/", "yours", f"and {len(jobs) - _MAX_JOBS} more jobs"
    rest = [change for change in changes if not change.summary]
    for folder in ("vendor/targcc-scheduler/", "vendor/", "tests/"):
        inside = [change for change in rest if change.path.startswith(folder)]
        if inside:
            owners = {change.owner.shown for change in inside}
            note = "regenerated; your edits are merged" if "targcc-scheduler" in folder else ""
            owner = owners.pop() if len(owners) == 1 else "both"
            files = "1 file" if len(inside) == 1 else f"{len(inside)} files"
            yield f"{folder}  ({files})", owner, note
        rest = [change for change in rest if not change.path.startswith(folder)]
    if rest:
        names = [change.path for change in rest if "/" not in change.path]
        yield ", ".join(names[:4]) + ", …", "", ""
