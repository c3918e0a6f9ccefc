"""`targcc-gen regenerate`: update every file to the spec and the generator, keeping people's edits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targcc_gen import __version__, assets
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


# The command.

FORMATS = ("github", "gitlab")


@click.command(short_help="Update all files to the spec, and merge edits.")
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; print a diff and exit with status 1 when files need updates. For CI and pre-commit.",
)
@click.option(
    "--format",
    "annotations",
    type=click.Choice(FORMATS),
    help="With --check: print the needed updates in a format that GitHub or GitLab shows in a merge request.",
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
    """Update all files to targcc.yaml and this version of targcc-gen.

    Managed files are merged with your edits, line by line. Your own files stay as they are, except that a job's @job(…) and
    arguments follow the spec. When both sides changed the same lines, or @job differs from the spec, nothing is
    written until you choose. --mine with a job's file copies its @job options into targcc.yaml.

    \b
    Example:
      targcc-gen regenerate
      targcc-gen regenerate --check
      targcc-gen regenerate --check --format gitlab > gl-code-quality-report.json
      targcc-gen regenerate --mine tests/test_project.py
    """
    from targcc_gen.cli import ci_annotations, plans
    from targcc_gen.cli.branches import print_merged, with_merged_spec
    from targcc_gen.cli.progress import rendered
    from targcc_gen.scheduler_switch import remove_empty_folders, with_moved_requirements
    from targcc_gen.sync import make_plan

    if annotations and (as_json or not check):
        raise click.UsageError("--format goes with --check, and not with --json")
    opened = _opened(project, annotations, writes=not (check or dry_run), markers=markers)
    sides = sides_of(opened.root, mine, generated, markers=markers)
    writing = Writing(dry_run=dry_run, diff=diff, as_json=as_json, sides=sides)
    tree = with_merged_spec(rendered(opened.spec, opened.text), opened)
    tree = with_moved_requirements(tree, opened.root, opened.spec)
    if mine:
        tree = _pulled(opened, tree, sides, as_json=as_json)
    plan = make_plan(tree, opened.root, sides=sides)
    if annotations:
        ci_annotations.show(ci_annotations.of_plan(plan), annotations)
    elif not as_json:
        print_merged(opened)
    if check:
        plans.check(plan, writing, quiet=annotations is not None)
        return
    news = notes_since(plan.locked_before.generator)
    update = _update_of_environment(plan, opened)
    extra = {"update_environment": update} if update else {}
    written = plans.carry_out(plan, writing, extra=news.to_json() | extra)
    if written:
        remove_empty_folders(plan)
    if not as_json:
        news.show()
        _print_done(plan, written=written, update=update)


def _print_done(plan: Plan, *, written: bool, update: str) -> None:
    """Print the next steps after the list of files."""
    from targcc_gen.render.package import PACKAGE, SOURCE_TREE
    from targcc_gen.sync.renames.table import is_moving

    if written and is_moving(plan.locked_before.entries, plan.lock.entries):
        where = f"The scheduler is in {SOURCE_TREE}/ now; its import name is {PACKAGE}."
        click.echo(f"\n{where} Next: uv sync; for pip see README.md")
    if update and written:
        click.echo(
            f"Next: {update}   (the project requires another build of the scheduler, or other extras)"
        )
    if plan.is_empty:
        click.echo("Nothing to do: every file is what targcc.yaml asks for.")
    elif written and not any(change.writes for change in plan.changes):
        click.echo("Nothing to do but the lock in .targcc: it is up to date now.")


def _update_of_environment(plan: Plan, project: Project) -> str:
    """Return the command that installs the project's new scheduler wheel; empty if the wheel stays the same."""
    from targcc_gen.dependencies.declare import Texts, update_command
    from targcc_gen.dependencies.dependency import app_dependencies
    from targcc_gen.render.wheel import version_of

    if not any(
        change.writes and (version_of(change.path) or plan.lock.entries[change.path].added)
        for change in plan.changes
        if change.path in plan.lock.entries
    ):
        return ""
    return update_command(Texts(project.root), app_dependencies(project.spec))


def _opened(
    project: Path | None, annotations: str | None, *, writes: bool, markers: bool
) -> Project:
    """Open the project. On an error, first print the annotations, and with `--markers` write the merged spec, then raise."""
    from targcc_gen.cli import ci_annotations
    from targcc_gen.cli.branches import DisputedError
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
            ci_annotations.show(ci_annotations.of_spec_errors(error, root), annotations)
        elif annotations:
            ci_annotations.show(ci_annotations.of_error(error, root), annotations)
        raise


def _pulled(project: Project, tree: Tree, sides: Mapping[str, Side], *, as_json: bool) -> Tree:
    """Return the tree of the spec with values pulled from the code of jobs for which the user chose the code."""
    from dataclasses import replace

    from targcc_gen.cli.commands.pull import show_pulled
    from targcc_gen.cli.progress import rendered
    from targcc_gen.cli.project import SPEC_FILE
    from targcc_gen.spec import parse_spec
    from targcc_gen.sync import Side
    from targcc_gen.sync.jobs.pull import pull
    from targcc_gen.sync.planner import side_of

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
    written = tree.files[SPEC_FILE].replaces  # set if the spec on disk differs from the text read
    tree = rendered(parse_spec(pulled.text), pulled.text)
    spec = replace(tree.files[SPEC_FILE], replaces=written or project.text.encode())
    return replace(tree, files={**tree.files, SPEC_FILE: spec})


# Release notes of the changelog, "For existing projects", since the project's release.

_RELEASE = re.compile(r"^## \[([\d.]+)\].*$", re.MULTILINE)
_SECTION = re.compile(r"^### For existing projects\n+(.*?)(?=^###? |\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Notes:
    """Release notes for existing projects, between two versions.

    Attributes:
        since: The project's version; empty for a project without a lock.
        releases: Version and text of each newer release, oldest first.
    """

    since: str
    releases: tuple[tuple[str, str], ...]

    def show(self) -> None:
        """Print the notes, if there are any."""
        for version, text in self.releases:
            click.echo(f"\nFrom {self.since} to {version}, for existing projects:\n\n{text}")

    def to_json(self) -> dict[str, object]:
        """Return the notes for the JSON output."""
        return {"for_existing_projects": dict(self.releases)} if self.releases else {}


def notes_since(version: str) -> Notes:
    """Return the release notes after a version, up to this version of the generator."""
    from targcc_gen.sync.lock import is_older

    newer = [
        (release, text)
        for release, text in releases().items()
        if is_older(version, release) and not is_older(__version__, release)
    ]
    return Notes(version, tuple(reversed(newer)))


def releases() -> dict[str, str]:
    """Return the notes for existing projects of each release, newest first; empty text for a release without notes."""
    text = assets.changelog().read_text(encoding="utf-8").replace("\r\n", "\n")
    _, *parts = _RELEASE.split(text)
    return {version: _text(part) for version, part in zip(parts[::2], parts[1::2], strict=True)}


def _text(part: str) -> str:
    match = _SECTION.search(part)
    return "" if match is None else match.group(1).strip()
