"""`targcc-gen patch`: wire the scheduler into a FastAPI app that is there already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from targcc_gen.cli.options import Writing, project_option, scheduler_option, writing_options

if TYPE_CHECKING:
    from targcc_gen.patch.service import Prepared
    from targcc_gen.patch.undo import Undone
    from targcc_gen.sync import Plan

Lines = tuple[tuple[int, str], ...]


@click.command(short_help="Put the scheduler into a FastAPI app that is there already.")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--app", metavar="[MODULE:]NAME", help="Which app, as a server names it: main:app, create_app."
)
@click.option("--undo", is_flag=True, help="Take the scheduler out again.")
@click.option(
    "--no-verify", is_flag=True, help="Do not import the patched app to see that it works."
)
@scheduler_option
@writing_options
@project_option
def patch(
    file: Path | None,
    *,
    app: str | None,
    scheduler: str | None,
    undo: bool,
    no_verify: bool,
    project: Path | None,
    dry_run: bool,
    diff: bool,
    as_json: bool,
) -> None:
    """Put the scheduler into a FastAPI app that is there already.

    FILE makes the app; without it, the one file of the project that does is taken. It gets two lines: an import,
    and app.include_router(scheduler_router) right after the app is made. Every other byte stays. A project that has
    no targcc.yaml yet also gets the scheduler's package, with one job to look at; with --scheduler package that is some
    9 files, and the scheduler a wheel among them.

    The patched app is imported once to see that it works; if it does not, everything is put back.

    \b
    Example:
      targcc-gen patch
      targcc-gen patch src/shop/main.py --dry-run --diff
      targcc-gen patch --app shop.main:create_app
      targcc-gen patch --scheduler package
      targcc-gen patch --undo
    """
    from targcc_gen.patch.service import find_target

    target = find_target(project, file, app)
    show = _Show(Writing(dry_run=dry_run, diff=diff, as_json=as_json))
    if undo:
        from targcc_gen.patch.undo import prepare_undo

        _undo(prepare_undo(target), show)
    else:
        from targcc_gen.patch.service import prepare

        _patch(prepare(target, app, scheduler), show, verify=not no_verify)


class _Show:
    """What people see, or programs read.

    Args:
        writing: How it was asked for.
    """

    def __init__(self, writing: Writing) -> None:
        self.writing = writing

    def line(self, label: str, text: str, color: str | None = None) -> None:
        """One line for people."""
        if not self.writing.as_json:
            shown = f"{label:<9}"
            shown = click.style(shown, fg=color) if color else shown
            click.echo(f"{shown} {text}".rstrip())

    def plan(self, plan: Plan, file: str, lines: Lines, mark: str) -> None:
        """What happens to the files: the lines of the app's file, the others by folder."""
        if lines:
            self.line("update", file, "cyan")
        for number, text in lines:
            self.line("", f"{number:>4} {mark} {text.strip()}")
        for action, place, owner in _grouped(plan, file):
            self.line(action, f"{place:<46} {owner}", "green" if action == "create" else "magenta")
        if self.writing.diff and not self.writing.as_json:
            from targcc_gen.cli.output.show import show_diff

            show_diff(plan)

    def end(self, outcome: dict[str, Any], *, written: bool) -> None:
        """The last word, and everything for programs."""
        if self.writing.as_json:
            import json

            click.echo(json.dumps(outcome | {"written": written}, indent=2, ensure_ascii=False))
        elif self.writing.dry_run:
            click.echo("Nothing was written.")


def _patch(prepared: Prepared, show: _Show, *, verify: bool) -> None:
    from targcc_gen.patch.service import carry_out, check_environment

    file, outcome = prepared.target.relative, prepared.to_json()
    if prepared.nothing_to_do:
        show.line("unchanged", f"{file}  {prepared.app.label} has the scheduler already")
        show.end(outcome | {"verified": None}, written=False)
        return
    writes = not show.writing.dry_run
    if verify and writes:
        verify = check_environment(prepared)
    show.plan(prepared.plan, file, prepared.patched.added, "+")
    for note in prepared.notes:
        show.line("note", note, "yellow")
    looked = None
    if writes:
        looked = carry_out(prepared, verify=verify)
        _say_verified(show, looked)
        _say_next(prepared, show, verified=verify)
    show.end(outcome | {"verified": looked}, written=writes)


def _say_verified(show: _Show, looked: str | None) -> None:
    if looked is None:
        show.line("skipped", "the patched app was not imported", "yellow")
    elif ":" in looked:
        show.line("verified", f"{looked} serves the scheduler", "green")
    else:
        show.line("verified", looked, "green")


def _say_next(prepared: Prepared, show: _Show, *, verified: bool) -> None:
    from targcc_gen.patch.service import install_line

    show.line("", "")
    if prepared.package.is_new and not verified:
        show.line("Next", install_line(prepared))
    show.line("Next", "Start the app as always: its jobs run, and the dashboard is at /jobs.")
    if prepared.package.is_new:
        show.line("", f"{_program(prepared)} user add NAME      # to sign in there")
    show.line("", 'targcc-gen job DailyReport --cron "0 2 * * *"')


def _program(prepared: Prepared) -> str:
    """How the project's command line is called where no script `targcc` is installed."""
    package = prepared.package.package
    if prepared.package.spec.scheduler == "package":
        return f"python -m targcc_scheduler --project {package}"
    return f"python -m {package}.scheduler"


def _undo(undone: Undone, show: _Show) -> None:
    from targcc_gen.patch.undo import carry_out_undo
    from targcc_gen.render.vendor import DISTRIBUTION
    from targcc_gen.render.wheel import wheel_path

    writes = not (show.writing.dry_run or undone.nothing_to_do)
    if undone.nothing_to_do:
        show.line("unchanged", f"{undone.target.relative}  it has no scheduler")
    else:
        show.plan(undone.plan, undone.target.relative, undone.removed, "-")
    if writes:
        carry_out_undo(undone)
    if undone.stays:
        show.line("note", undone.stays, "yellow")
    if any(one.path == wheel_path() and one.after is None for one in undone.plan.changes):
        show.line(
            "Next", f"take {DISTRIBUTION} out of the project's requirements: its wheel is gone"
        )
    show.end(undone.to_json(), written=writes)


def _grouped(plan: Plan, file: str) -> list[tuple[str, str, str]]:
    """Action, place and owner of each change but that of `file`; a managed folder is one line."""
    counts: dict[tuple[str, str, str], int] = {}
    for change in plan.changes:
        if change.path != file and change.writes:
            key = (change.action.value, _place(change.path), change.owner.shown)
            counts[key] = counts.get(key, 0) + 1
    return [
        (action, f"{place}  ({count} files)" if count > 1 else place, owner)
        for (action, place, owner), count in counts.items()
    ]


def _place(path: str) -> str:
    for folder in ("scheduler", "migrations"):
        head, found, _ = path.partition(f"/{folder}/")
        if found:
            return f"{head}/{folder}/"
    return path
