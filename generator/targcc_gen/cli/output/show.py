"""Plans as people see them, and what is done with them in the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from targcc_gen.cli.output.programs import print_json
from targcc_gen.errors import CheckFailed, ConflictError
from targcc_gen.visible import visible

if TYPE_CHECKING:
    from targcc_gen.cli.options import Writing
    from targcc_gen.sync import Change, Collision, Plan

_COLORS = {
    "create": "green",
    "update": "cyan",
    "merge": "yellow",
    "conflict": "red",
    "delete": "magenta",
}
_SHOWN_LINES = 6
_MAX_WIDTH = 60


def carry_out(plan: Plan, writing: Writing, *, extra: dict[str, Any] | None = None) -> bool:
    """Show a plan as it was asked for, and write it unless it is only to be shown.

    Args:
        plan: What to do.
        writing: How to show it.
        extra: More for a program to read.

    Returns:
        Whether anything was written.

    Raises:
        ConflictError: A person has to settle something.
    """
    say_first_use(plan)
    blocked = any(change.after is None for change in plan.conflicts)
    writes = not (writing.dry_run or blocked or plan.is_empty)
    if writes:
        from targcc_gen.cli.output.progress import write

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
    """A person has to settle something; the plan that says what was shown already."""

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
    """`--check` found that something is due."""

    prefix = ""


def check(plan: Plan, writing: Writing, *, quiet: bool = False) -> None:
    """Say whether the project is what its spec asks for; write nothing.

    Args:
        plan: What is due.
        writing: How to show it.
        quiet: Whether it was shown already.

    Raises:
        CheckFailed: It is not.
        ConflictError: It is not, and a person has to settle something.
    """
    say_first_use(plan)
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


def say_first_use(plan: Plan) -> None:
    """Say what templates of a team may do, before the first of their files is written."""
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
    """Print what happens to each file, conflicts last, and the diff where it is asked for."""
    for name in plan.changed_templates:
        what = "changed: jobs that are there keep their text"
        what = "changed" if "/overrides/" in name else what
        click.echo(f"{click.style('template'.ljust(9), fg='cyan')} {name}  {what}")
    changes = [change for change in plan.changes if change.action != "unchanged"]
    changes = _without_plain_moves(changes)
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


def _without_plain_moves(changes: list[Change]) -> list[Change]:
    """The changes but those of files that nobody edited and that only moved: of these, how many there are."""
    moved = [one for one in changes if one.moved and one.action in {"create", "delete"}]
    plain = [one for one in moved if not one.left]
    left = sum(one.action == "delete" for one in plain)
    if left:
        files = "1 file of targcc-gen's has" if left == 1 else f"{left} files of targcc-gen's have"
        click.echo(f"{click.style('move'.ljust(9), fg='cyan')} {files} another place now")
    return [one for one in changes if one not in plain]


def _show_left(left: Collision) -> None:
    """Lines of a person's that could not follow a file that moved."""
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
