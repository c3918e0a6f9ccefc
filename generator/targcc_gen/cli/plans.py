"""Print plans, and finish commands with a plan: write, print or compare the plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from targcc_gen.cli.json_output import print_json
from targcc_gen.errors import CheckFailed, ConflictError
from targcc_gen.visible import visible

if TYPE_CHECKING:
    from targcc_gen.cli.options import Writing
    from targcc_gen.spec import Spec
    from targcc_gen.sync import Change, Collision, Plan


# Plans.

_COLORS = {
    "create": "green",
    "update": "cyan",
    "merge": "yellow",
    "conflict": "red",
    "delete": "magenta",
}
_SHOWN_LINES = 6
_MOST_OF_SOURCE = 8
_MAX_WIDTH = 60


def carry_out(plan: Plan, writing: Writing, *, extra: dict[str, Any] | None = None) -> bool:
    """Show a plan as requested, and write the plan unless `--dry-run` or a conflict forbids it.

    Args:
        plan: The changes.
        writing: The options of the command.
        extra: Further keys for the JSON output.

    Returns:
        Whether files were written.

    Raises:
        ConflictError: The plan has conflicts.
    """
    print_first_use(plan)
    blocked = any(change.after is None for change in plan.conflicts)
    writes = not (writing.dry_run or blocked or plan.is_empty)
    if writes:
        from targcc_gen.cli.progress import write

        write(plan)
    if writing.as_json:
        data = plan.to_json() | {"written": writes} | (extra or {})
        print_json(data)
    else:
        show_plan(plan, diff=writing.diff)
    if plan.conflicts:
        raise UnsettledError(plan, writing, written=writes)
    return writes


class UnsettledError(ConflictError):
    """The plan has conflicts; the printed plan names each of them."""

    prefix = ""

    def __init__(self, plan: Plan, writing: Writing, *, written: bool) -> None:
        count = len(plan.conflicts)
        head = f"{count} conflict{'' if count == 1 else 's'}: "
        if written:
            text = "both sides are in the files between markers. Edit them, then run: targcc-gen regenerate"
        elif all(change.settleable for change in plan.conflicts):
            text = "nothing was written. Choose with --mine PATH or --generated PATH, or --markers to edit."
        else:
            text = "nothing was written. Move what is in the way, then run it again."
        super().__init__(head + text)
        self.writing = writing


class _Difference(CheckFailed):
    """`--check` found pending changes."""

    prefix = ""


def check(plan: Plan, writing: Writing, *, quiet: bool = False) -> None:
    """Compare the project with its spec; write nothing.

    Args:
        plan: The pending changes.
        writing: The options of the command.
        quiet: Whether the plan was printed already.

    Raises:
        CheckFailed: Changes or conflicts are pending, or jobs are in the code and not in the spec.
    """
    print_first_use(plan)
    if writing.as_json:
        print_json(plan.to_json() | {"written": False})
    elif not quiet:
        show_plan(plan, diff=True)
    if plan.is_empty and plan.strays:
        raise _Difference(f"in code, not in the spec: {_jobs_in(plan.strays)}")
    if plan.is_empty:
        return
    due = sum(change.writes for change in plan.changes) + len(plan.conflicts)
    files = "file differs" if due == 1 else "files differ"
    what = f"{due} {files}" if due else "the lock is not up to date"
    raise _Difference(f"{what}. Run: targcc-gen regenerate")


def print_first_use(plan: Plan) -> None:
    """Before a team's template is used for the first time, print a note about the sandbox and the output of templates."""
    if plan.new_templates:
        listed = "".join(f"\n  {name}" for name in plan.new_templates)
        click.echo(
            f"note: templates of your team, used here for the first time:{listed}\n"
            "  They run in a sandbox: they read no files, reach no network and run no Python, and what they print goes into"
            " files of this project alone.\n"
            "  What they print runs with your project, like any code in it: --dry-run --diff shows it.",
            err=True,
        )


def _jobs_in(strays: Iterable[Change]) -> str:
    return ", ".join(f"{change.stray} ({change.path})" for change in strays)


def show_plan(plan: Plan, *, diff: bool = False) -> None:
    """Print the change of each file, conflicts last; with `diff`, print the diff too."""
    for name in plan.changed_templates:
        what = "changed: jobs that are there keep their text"
        what = "changed" if "/overrides/" in name else what
        click.echo(f"{click.style('template'.ljust(9), fg='cyan')} {name}  {what}")
    changes = [change for change in plan.changes if change.action != "unchanged"]
    changes = _without_source_tree(_without_plain_moves(changes))
    changes.sort(key=lambda change: change.action == "conflict")
    width = min(_MAX_WIDTH, max((len(change.path) for change in changes), default=0))
    for change in changes:
        line = f"{_action(change)} {visible(f'{change.path:<{width}}  {_note(change)}')}"
        click.echo(line.rstrip())
        for collision in change.collisions:
            _show_collision(collision, alone=len(change.collisions) == 1)
        for left in change.left:
            _show_left(left)
    if diff:
        show_diff(plan)


NO_SUCCESSOR = "it has no successor"
"""The reason of a deletion: the file is unedited, and its text has moved nowhere."""


def _without_plain_moves(changes: list[Change]) -> list[Change]:
    """Print the number of unedited files that only moved, and return the other changes."""
    moved = [change for change in changes if change.moved and change.action in {"create", "delete"}]
    plain = {change.path for change in moved if not change.left and change.owner.value == "managed"}
    gone = [
        change for change in changes if change.action == "delete" and change.reason == NO_SUCCESSOR
    ]
    left = sum(change.action == "delete" and change.path in plain for change in changes)
    if left:
        files = "1 file of targcc-gen's has" if left == 1 else f"{left} files of targcc-gen's have"
        more = f", {len(gone)} {'is' if len(gone) == 1 else 'are'} gone" if gone else ""
        click.echo(f"{click.style('move'.ljust(9), fg='cyan')} {files} another place now{more}")
        plain |= {change.path for change in gone}
    return [change for change in changes if change.path not in plain]


def _without_source_tree(changes: list[Change]) -> list[Change]:
    """Print the number of changed files in the scheduler's unedited source, and return the other changes."""
    from targcc_gen.render.package import SOURCE_TREE

    plain: list[Change] = []
    others: list[Change] = []
    for change in changes:
        is_plain = (
            change.path.startswith(f"{SOURCE_TREE}/")
            and change.action in {"create", "update", "delete"}
            and (not change.reason or change.action == "delete")
        )
        (plain if is_plain else others).append(change)
    if len(plain) <= _MOST_OF_SOURCE:
        return changes
    counts = Counter(change.action for change in plain)
    for action, count in counts.items():
        name = click.style(f"{action.value:<9}", fg=_COLORS[action.value])
        click.echo(f"{name} {SOURCE_TREE}/  ({count} files)")
    return others


def _show_left(left: Collision) -> None:
    """Print edited lines that could not follow a moved file."""
    click.echo(f"          {_lines_words(left)}")
    label, text = ("mine", left.mine) if left.mine else ("removed", left.generated)
    for number, line in enumerate(_few(text)):
        click.echo(f"            {label if number == 0 else '':<10} {visible(line)}".rstrip())


def show_diff(plan: Plan) -> None:
    """Print all changes as a diff, in colours on a terminal."""
    for line in plan.diff().splitlines():
        click.echo(_colored(visible(line, lines=True)))


def _action(change: Change) -> str:
    name = f"{change.action.value:<9}"
    color = _COLORS.get(change.action.value)
    return click.style(name, fg=color) if color else name


def _note(change: Change) -> str:
    if change.action == "conflict" and len(change.collisions) == 1 and not change.reason:
        return _lines_words(change.collisions[0])
    if change.reason:
        return change.reason
    if change.action == "create":
        return change.owner.shown
    if change.action == "update":
        return _count_words(change)
    return f"{len(change.collisions)} places" if change.collisions else ""


def _count_words(change: Change) -> str:
    added, removed = change.lines
    words = [f"+{added}"] if added else []
    words += [f"-{removed}"] if removed else []
    noun = "line" if (added, removed) in {(1, 0), (0, 1)} else "lines"
    return f"{' '.join(words)} {noun}" if words else ""


def _show_collision(collision: Collision, *, alone: bool) -> None:
    if not alone:
        click.echo(f"          {_lines_words(collision)}")
    for whose, text in (("mine", collision.mine), ("generated", collision.generated)):
        for number, line in enumerate(_few(text)):
            click.echo(f"            {whose if number == 0 else '':<10} {visible(line)}".rstrip())


def _lines_words(collision: Collision) -> str:
    if collision.last < collision.first:
        return f"before line {collision.first}"
    if collision.last == collision.first:
        return f"line {collision.first}"
    return f"lines {collision.first}-{collision.last}"


def _few(text: str) -> Iterable[str]:
    lines = text.splitlines() or ["(nothing)"]
    if len(lines) <= _SHOWN_LINES:
        return lines
    return [*lines[: _SHOWN_LINES - 1], f"… {len(lines) - _SHOWN_LINES + 1} more lines"]


def _colored(line: str) -> str:
    if line.startswith(("+++", "---")):
        return click.style(line, bold=True)
    colors = {"+": "green", "-": "red", "@": "cyan"}
    color = colors.get(line[:1])
    return click.style(line, fg=color) if color else line


# Summary of a new project's files: files to edit by name, the rest by folder.

_MAX_JOBS = 12


def show_new_project(plan: Plan, spec: Spec) -> None:
    """Print a summary of a new project's files."""
    created = [change for change in plan.changes if change.action == "create"]
    click.echo(f"{spec.project.name}: {len(created)} files to create\n")
    rows = list(_rows(created, spec.project.package))
    width = max((len(place) for place, _, _ in rows), default=0)
    for place, owner, note in rows:
        click.echo(visible(f"  {place:<{width}}  {owner:<9}  {note}".rstrip()))
    click.echo()


def _rows(changes: list[Change], package: str) -> Iterator[tuple[str, str, str]]:
    """Yield place, owner and note: files to edit first, then folders, then single files."""
    listed = [change for change in changes if change.summary]
    place_of_jobs = f"src/{package}/jobs/"
    jobs = [change for change in listed if place_of_jobs in change.path]
    for change in listed:
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
