"""Options shared by several commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from targcc_gen.sync import Side

F = TypeVar("F", bound=Callable[..., Any])

WAYS = ("package", "vendored")
"""The forms of the scheduler in a project: a dependency, or its source."""
DATABASES = ("sqlite", "postgresql", "mssql")
"""The databases that can hold the scheduler's tables; mssql is SQL Server."""


class _Named(click.Path):
    """A path that refuses the empty text (an unset variable of a shell): click would read the current folder."""

    def convert(
        self, value: str | PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        if value == "":
            self.fail("it is empty; the present folder is written as a dot", param, ctx)
        return super().convert(value, param, ctx)


FILE = _Named(path_type=Path)
FOLDER = _Named(file_okay=False, path_type=Path)


@dataclass(frozen=True)
class Writing:
    """The options of a command that writes a plan.

    Attributes:
        dry_run: Show the plan and write nothing.
        diff: Show the plan as a diff.
        as_json: Print the plan as JSON.
        sides: The chosen side of conflicts, by path.
    """

    dry_run: bool = False
    diff: bool = False
    as_json: bool = False
    sides: dict[str, Side] | None = None


def project_option(function: F) -> F:
    """Add `--project DIR`."""
    option = click.option(
        "--project",
        metavar="DIR",
        type=FOLDER,
        help="Folder of the project.  [default: the current folder, or the nearest folder above with a targcc.yaml]",
    )
    return option(function)


def scheduler_option(function: F) -> F:
    """Add `--scheduler package|vendored`."""
    option = click.option(
        "--scheduler",
        type=click.Choice(WAYS),
        help="Scheduler as a dependency, or with its source in the project.  [default: package]",
    )
    return option(function)


def database_option(function: F) -> F:
    """Add `--database sqlite|postgresql|mssql`."""
    option = click.option(
        "--database",
        type=click.Choice(DATABASES),
        help="Database of the scheduler's tables; mssql is SQL Server.  [default: sqlite]",
    )
    return option(function)


def writing_options(function: F) -> F:
    """Add `--dry-run`, `--diff` and `--json`."""
    for option in (
        click.option(
            "--json", "as_json", is_flag=True, help="Print the plan as JSON for programs."
        ),
        click.option("--diff", is_flag=True, help="Show the changes as a diff."),
        click.option("--dry-run", is_flag=True, help="Show the changes without writing."),
    ):
        function = option(function)
    return function


def conflict_options(function: F) -> F:
    """Add `--mine`, `--generated` and `--markers`; the older names of the first two fail with a hint at the new names."""
    for option in (
        _older_name("--ours", "--generated PATH takes targcc-gen's text"),
        _older_name("--theirs", "--mine PATH keeps what you wrote"),
        click.option(
            "--markers",
            is_flag=True,
            help="Write both sides of each conflict into the file, for editing.",
        ),
        click.option(
            "--generated",
            metavar="PATH",
            multiple=True,
            help="On conflicts in this file or folder, take the text of targcc-gen.",
        ),
        click.option(
            "--mine",
            metavar="PATH",
            multiple=True,
            help="On conflicts in this file or folder, keep your text.",
        ),
    ):
        function = option(function)
    return function


def _older_name(name: str, now: str) -> Callable[[F], F]:
    """Return a hidden option that fails with the new name. The old names meant the opposite of git's options of the same name."""

    def refuse(
        _context: click.Context, _parameter: click.Parameter, paths: tuple[str, ...]
    ) -> None:
        if paths:
            raise click.UsageError(f"{name} has another name now: {now}")

    return click.option(name, multiple=True, hidden=True, expose_value=False, callback=refuse)


def sides_of(
    root: Path, mine: tuple[str, ...], generated: tuple[str, ...], *, markers: bool
) -> dict[str, Side]:
    """Return the chosen side of conflicts, by path relative to `root`.

    Raises:
        click.UsageError: A path is given to both sides.
    """
    from targcc_gen.cli.project import path_in
    from targcc_gen.sync import Side

    sides = {".": Side.MARKERS} if markers else {}
    chosen = {path_in(root, path): Side.GENERATED for path in generated}
    for path in mine:
        if chosen.get(path_in(root, path)) is Side.GENERATED:
            raise click.UsageError(f"{path} is given to both --mine and --generated")
        chosen[path_in(root, path)] = Side.MINE
    return sides | chosen
