"""`targcc-gen patch`: add the scheduler to an existing FastAPI app."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from targcc_gen.cli.options import DATABASES, FILE, WAYS, Writing, project_option, writing_options

if TYPE_CHECKING:
    from targcc_gen.patch.prepare import Prepared
    from targcc_gen.patch.undo import Undone
    from targcc_gen.patch.verify import Outcome
    from targcc_gen.sync import Plan

Lines = tuple[tuple[int, str], ...]
NOT_VERIFIED = 3
"""The exit status of `--require-verified` when the app could not be tried."""


def _checked_prefix(_context: click.Context, _option: click.Parameter, value: str | None) -> str:
    """Check a prefix, and return it as routes have it: `/ops`."""
    if value is not None and not re.fullmatch(r"(/[\w.~-]+)+/?", value):
        raise click.BadParameter(f"{value!r} is no path such as /ops/jobs")
    return (value or "").removesuffix("/")


@click.command(short_help="Add the scheduler to an existing FastAPI app.")
@click.argument("file", required=False, type=FILE)
@click.option(
    "--app", metavar="[MODULE:]NAME", help="Import string of the app: main:app, create_app."
)
@click.option("--undo", is_flag=True, help="Remove the scheduler from the app.")
@click.option(
    "--verify", is_flag=True, help="Only test the app as it is, even with lines added by hand."
)
@click.option("--no-verify", is_flag=True, help="Do not start the patched app for a test.")
@click.option(
    "--require-verified", is_flag=True, help="Exit status 3 when the app could not be tested."
)
@click.option(
    "--prefix",
    metavar="/PATH",
    callback=_checked_prefix,
    help="URL prefix of the scheduler's pages and API.  [default: its settings, /jobs]",
)
@click.option(
    "--scheduler",
    type=click.Choice(WAYS),
    help="Scheduler as a dependency, or with its source in the project.  [default: package]",
)
@click.option("--vendored", is_flag=True, help="Short for --scheduler vendored.")
@click.option(
    "--web-only",
    is_flag=True,
    help="Web processes show pages and enqueue, and run no jobs: targcc worker runs them.",
)
@click.option(
    "--database",
    type=click.Choice(DATABASES),
    help="Database of the scheduler.  [default: PostgreSQL for an app on PostgreSQL, else SQLite]",
)
@writing_options
@project_option
def patch(
    file: Path | None,
    *,
    app: str | None,
    prefix: str,
    scheduler: str | None,
    vendored: bool,
    web_only: bool,
    database: str | None,
    undo: bool,
    verify: bool,
    no_verify: bool,
    require_verified: bool,
    project: Path | None,
    dry_run: bool,
    diff: bool,
    as_json: bool,
) -> None:
    """Add the scheduler to an existing FastAPI app.

    FILE creates or imports the app. Without FILE, the app is found from what the project's server loads, by [tool.fastapi],
    Procfile, Dockerfile, compose file, gunicorn settings or uvicorn.run; else the only file that creates an app is taken.
    The file gets two lines: an import, and app.include_router(scheduler_router) right after the app is created. Every
    other byte stays. A project without targcc.yaml also gets a targcc.yaml, a package with one example job, and the
    dependency: about ten files; with --vendored, also a copy of the scheduler. An app whose requirements exclude the
    scheduler is told, and nothing is written.

    The patched app is started as its server starts it, until a job has run and the pages answer. The app's own routes are
    compared with the state before. On a failure, all changes are undone. Untested parts are reported, and tested by the next call.

    \b
    Example:
      targcc-gen patch
      targcc-gen patch src/shop/main.py --dry-run --diff
      targcc-gen patch --app shop.main:create_app
      targcc-gen patch --database sqlite
      targcc-gen patch --web-only
      targcc-gen patch --verify
      targcc-gen patch --undo
    """
    from targcc_gen.cli.project import ready_to_write
    from targcc_gen.patch.detect import find_target

    _check_options(undo=undo, verify=verify, no_verify=no_verify, require=require_verified)
    if prefix and (undo or verify):
        raise click.UsageError("--prefix goes with neither --undo nor --verify")
    target = find_target(project, file, app)
    if not dry_run and ready_to_write(target.root):
        target = find_target(project, file, app)
    show = _Show(Writing(dry_run=dry_run, diff=diff, as_json=as_json))
    if undo:
        from targcc_gen.patch.undo import prepare_undo

        _undo(prepare_undo(target), show)
        return
    from targcc_gen.patch.prepare import prepare
    from targcc_gen.patch.service import verify_by_hand

    way, mode = "vendored" if vendored else scheduler, "pages" if web_only else None
    prepared = prepare(target, app, way, prefix, database, mode=mode)
    if verify:
        outcome: Outcome | None = verify_by_hand(prepared, app)
        _print_outcome(show, outcome)
        show.end(prepared.to_json() | _trial_json(outcome), written=False)
    else:
        outcome = _patch(prepared, show, verify=not no_verify)
    if require_verified and outcome is not None and not outcome.is_verified:
        raise SystemExit(NOT_VERIFIED)


def _check_options(*, undo: bool, verify: bool, no_verify: bool, require: bool) -> None:
    if no_verify and (verify or require):
        raise click.UsageError("--no-verify goes with neither --verify nor --require-verified")
    if undo and verify:
        raise click.UsageError("--undo and --verify exclude each other")


class _Show:
    """Print the steps of `patch`: lines for people, or one JSON object at the end.

    Args:
        writing: The options of the command.
    """

    def __init__(self, writing: Writing) -> None:
        self.writing = writing

    def line(self, label: str, text: str, color: str | None = None) -> None:
        """Print a line with a label, unless `--json` is given."""
        if not self.writing.as_json:
            shown = f"{label:<9}"
            shown = click.style(shown, fg=color) if color else shown
            click.echo(f"{shown} {text}".rstrip())

    def plan(self, plan: Plan, file: str, lines: Lines, mark: str) -> None:
        """Print the changes: lines of the app's file one by one, other files by folder."""
        if lines:
            self.line("update", file, "cyan")
        for number, text in lines:
            self.line("", f"{number:>4} {mark} {text.strip()}")
        for action, place, owner in _grouped(plan, file):
            self.line(action, f"{place:<46} {owner}", "green" if action == "create" else "magenta")
        if self.writing.diff and not self.writing.as_json:
            from targcc_gen.cli.plans import show_diff

            show_diff(plan)

    def end(self, outcome: dict[str, Any], *, written: bool) -> None:
        """Finish the output: the JSON object, or a note that nothing was written."""
        if self.writing.as_json:
            from targcc_gen.cli.json_output import print_json

            print_json(outcome | {"written": written})
        elif self.writing.dry_run:
            click.echo("Nothing was written.")


def _patch(prepared: Prepared, show: _Show, *, verify: bool) -> Outcome | None:
    from targcc_gen.patch import rollback
    from targcc_gen.patch.service import carry_out, try_again

    writes = not show.writing.dry_run
    if prepared.nothing_to_do:
        again = writes and verify and rollback.is_marked(prepared.target.root)
        show.line(
            "unchanged", f"{prepared.target.relative}  {prepared.label} has the scheduler already"
        )
        outcome = try_again(prepared) if again else None
        _print_outcome(show, outcome, skipped=False)
        show.end(prepared.to_json() | _trial_json(outcome), written=False)
        return outcome
    file, outcome = prepared.target.relative, None
    if prepared.served:
        show.line("served", prepared.served)
    show.plan(prepared.plan, file, prepared.patched.added, "+")
    for note in prepared.notes:
        show.line("note", note, "yellow")
    if writes:
        outcome = carry_out(prepared, verify=verify)
        _print_outcome(show, outcome)
        _print_next(prepared, show)
    show.end(prepared.to_json() | _trial_json(outcome), written=writes)
    if prepared.refusal is not None:  # after a dry run; `carry_out` raises the refusal otherwise
        raise prepared.refusal
    return outcome


def _trial_json(outcome: Outcome | None) -> dict[str, Any]:
    """Return the result of a trial for the JSON output."""
    verified = outcome.looked if outcome is not None and outcome.is_verified else None
    return {
        "verified": verified,
        "instead": list(outcome.lines[1:]) if outcome else [],
        "not_verified": outcome.text if outcome and not verified else None,
    }


def _print_outcome(show: _Show, outcome: Outcome | None, *, skipped: bool = True) -> None:
    if outcome is None:
        if skipped:
            show.line("skipped", "the patched app was not started", "yellow")
    elif outcome.is_verified:
        for number, line in enumerate(outcome.lines):
            show.line("" if number else "note", line, "yellow")
        show.line("verified", f"{outcome.looked} starts, a job ran, and the pages answer", "green")
    else:
        first, *more = outcome.text.splitlines()
        show.line("warning", f"patched, not verified: because {first}", "yellow")
        for line in (*more, *outcome.hint.splitlines()):
            show.line("", line)


def _print_next(prepared: Prepared, show: _Show) -> None:
    from targcc_gen.patch.prepare import database_lines, install_lines, program_of

    show.line("", "")
    if prepared.package.is_new:
        for line in (*install_lines(prepared), *database_lines(prepared.package)):
            show.line("Next", line)
    where = prepared.wiring.prefix or "/jobs"
    if prepared.package.spec.mode == "pages":
        show.line("Next", f"Start the app as before: the dashboard is at {where}.")
        show.line("", f"{program_of(prepared.package)} worker      # runs the jobs")
    else:
        show.line(
            "Next", f"Start the app as before: its jobs run, and the dashboard is at {where}."
        )
    if prepared.package.is_new:
        show.line("", f"{program_of(prepared.package)} user add NAME      # to sign in there")
    show.line("", 'targcc-gen job DailyReport --cron "0 2 * * *"')


def _undo(undone: Undone, show: _Show) -> None:
    from targcc_gen.patch.undo import carry_out_undo
    from targcc_gen.render.package import DISTRIBUTION

    writes = not (show.writing.dry_run or undone.nothing_to_do)
    if undone.nothing_to_do:
        show.line("unchanged", f"{undone.target.relative}  it has no scheduler")
    else:
        show.plan(undone.plan, undone.target.relative, undone.removed, "-")
    if writes:
        carry_out_undo(undone)
    if undone.stays:
        show.line("note", undone.stays, "yellow")
    gone = any(
        change.path.startswith("vendor/") and change.after is None for change in undone.plan.changes
    )
    if gone and not undone.declared:
        show.line(
            "Next", f"take {DISTRIBUTION} out of the project's requirements: vendor/ has it no more"
        )
    show.end(undone.to_json(), written=writes)


def _grouped(plan: Plan, file: str) -> list[tuple[str, str, str]]:
    """Return action, place and owner of each change except in `file`; a managed folder takes one line."""
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
    from targcc_gen.render.package import SOURCE_TREE

    head, separator, _ = f"/{path}".partition(f"/{SOURCE_TREE}/")
    if separator:
        return f"{head}/{SOURCE_TREE}/".removeprefix("/")
    return path
