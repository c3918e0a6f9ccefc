"""`targcc-gen patch`: wire the scheduler into a FastAPI app that is there already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from targcc_gen.patch.service import Prepared
    from targcc_gen.patch.undo import Undone
    from targcc_gen.sync import Plan


@click.command(short_help="Wire the scheduler into a FastAPI app.")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--app", metavar="[MODULE:]NAME", help="Which app, as a server names it: main:app, create_app."
)
@click.option("--undo", is_flag=True, help="Take the scheduler out again.")
@click.option(
    "--no-verify", is_flag=True, help="Do not import the patched app to see that it works."
)
@click.option(
    "--project", type=click.Path(path_type=Path), metavar="DIR", help="The project's folder."
)
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@click.option("--diff", is_flag=True, help="Show the changes as a diff.")
@click.option("--json", "as_json", is_flag=True, help="Print what is written, for programs.")
def patch(
    file: Path | None,
    *,
    app: str | None,
    undo: bool,
    no_verify: bool,
    project: Path | None,
    dry_run: bool,
    diff: bool,
    as_json: bool,
) -> None:
    """Wire the scheduler into a FastAPI app that is there already.

    FILE makes the app; without it, the one file of the project that does is taken. It gets two lines: an import,
    and app.include_router(scheduler_router) right after the app is made. Every other byte stays. A project that has
    no targcc.yaml yet also gets the scheduler's package, with one job to look at.

    The patched app is imported once to see that it works; if it does not, everything is put back.

    \b
    targcc-gen patch
    targcc-gen patch src/shop/main.py --diff --dry-run
    targcc-gen patch --app shop.main:create_app
    targcc-gen patch --undo
    """
    from targcc_gen.patch.service import find_target

    target = find_target(project, file, app)
    show = _Show(dry_run=dry_run, diff=diff, as_json=as_json)
    if undo:
        from targcc_gen.patch.undo import prepare_undo

        _undo(prepare_undo(target), show)
    else:
        from targcc_gen.patch.service import prepare

        _patch(prepare(target, app), show, verify=not no_verify)


class _Show:
    """How the result is shown.

    Args:
        dry_run: Whether nothing is written.
        diff: Whether the changes are shown as a diff.
        as_json: Whether programs read it.
    """

    def __init__(self, *, dry_run: bool, diff: bool, as_json: bool) -> None:
        self.dry_run = dry_run
        self._diff = diff
        self._as_json = as_json

    def line(self, label: str, text: str) -> None:
        """One line for people."""
        if not self._as_json:
            click.echo(f"{label:<9} {text}")

    def plan(self, plan: Plan, file: str, mark: str, lines: tuple[tuple[int, str], ...]) -> None:
        """What happens to the files: the lines of the app's file, the others by folder."""
        if self._diff and not self._as_json:
            click.echo(plan.diff(), nl=False)
            return
        if lines:
            self.line("update", file)
        for number, text in lines:
            self.line("", f"{number:>4} {mark} {text.strip()}")
        for action, place, owner in _grouped(plan, file):
            self.line(action, f"{place:<50} {owner}".rstrip())

    def end(self, outcome: dict[str, Any]) -> None:
        """The last word, and everything for programs."""
        if self._as_json:
            import json

            click.echo(json.dumps(outcome, indent=2, ensure_ascii=False))
        elif self.dry_run:
            click.echo("Nothing was written.")


def _patch(prepared: Prepared, show: _Show, *, verify: bool) -> None:
    from targcc_gen.patch.service import carry_out, check_environment

    outcome = prepared.to_json()
    if prepared.nothing_to_do:
        show.line(
            "unchanged",
            f"{prepared.target.relative}  {prepared.app.label} has the scheduler already",
        )
        show.end({**outcome, "verified": None})
        return
    if verify and not show.dry_run:
        check_environment(prepared)
    show.plan(prepared.plan, prepared.target.relative, "+", prepared.patched.added)
    for note in prepared.notes:
        show.line("note", note)
    looked = None
    if not show.dry_run:
        looked = carry_out(prepared, verify=verify)
        _say_verified(show, looked)
        _say_next(prepared, show, verified=verify)
    show.end({**outcome, "verified": looked})


def _say_verified(show: _Show, looked: str | None) -> None:
    if looked is None:
        show.line("skipped", "the patched app was not imported")
    elif ":" in looked:
        show.line("verified", f"{looked} serves the scheduler")
    else:
        show.line("verified", looked)


def _say_next(prepared: Prepared, show: _Show, *, verified: bool) -> None:
    from targcc_gen.patch.service import install_line

    show.line("", "")
    if not verified and prepared.home.is_new:
        show.line("Next", install_line(prepared))
    show.line("Next", "start the app as always: its jobs run, and the dashboard is at /jobs")
    show.line("", 'targcc-gen job DailyReport --cron "0 2 * * *"')


def _undo(undone: Undone, show: _Show) -> None:
    from targcc_gen.patch.undo import carry_out_undo

    if undone.nothing_to_do:
        show.line("unchanged", f"{undone.target.relative}  it has no scheduler")
    else:
        show.plan(undone.plan, undone.target.relative, "-", undone.removed)
        if not show.dry_run:
            carry_out_undo(undone)
    if undone.stays:
        show.line("note", undone.stays)
    show.end(undone.to_json())


def _grouped(plan: Plan, file: str) -> list[tuple[str, str, str]]:
    """Action, place and owner of each change but that of `file`; a managed folder is one line."""
    counts: dict[tuple[str, str, str], int] = {}
    for change in plan.changes:
        if change.path == file or not change.writes:
            continue
        place, owner = change.path, change.owner.shown
        for folder in ("scheduler", "migrations"):
            head, found, _ = place.partition(f"/{folder}/")
            if found:
                place = f"{head}/{folder}/"
                break
        key = (change.action.value, place, owner)
        counts[key] = counts.get(key, 0) + 1
    return [
        (action, f"{place}  ({count} files)" if place.endswith("/") else place, owner)
        for (action, place, owner), count in counts.items()
    ]
