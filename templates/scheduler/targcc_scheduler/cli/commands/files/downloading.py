"""``targcc run files`` and ``targcc run download``."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

import click

from ....core import humanize
from ....core.errors import FileError
from ....jobs.files.file import safe_name
from ....web.api.schemas.runs import FileOut
from ...api.reach import path, reached
from ...common import run
from ...group import CliError
from ...output import done, json_option, print_json, print_table, shows, when
from ..runs import run_group


@run_group.command("files")
@click.argument("run_id", type=int)
@shows
def run_files(run_id: int, *, as_json: bool) -> None:
    """Show the files of a run: those that it was given, and those that its job attached.

    \b
    Example:
      targcc run files 42
    """

    async def work() -> None:
        async with reached() as api:
            found = await api.get(path("runs", run_id, "files"), list[FileOut])
        if as_json:
            print_json(found)
        elif not found:
            click.echo("It has no files.")
        else:
            print_table(
                ["NAME", "KIND", "SIZE", "TYPE", "KEPT"],
                [
                    [
                        one.name,
                        "result" if one.kind == "result" else "argument",
                        humanize.size(one.size),
                        one.content_type,
                        when(one.created_at, api.now),
                    ]
                    for one in found
                ],
            )

    run(work())


@run_group.command("download")
@click.argument("run_id", type=int)
@click.argument("name", required=False)
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    default=Path(),
    help="The folder, or the new file's name. Default: here.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@json_option
def download_file(run_id: int, name: str | None, *, to: Path, force: bool, as_json: bool) -> None:
    """Save a file of a run; without NAME the only one that its job attached.

    \b
    Example:
      targcc run download 42
      targcc run download 42 report.csv --to /tmp
    """

    async def work() -> None:
        async with reached() as api:
            found = await api.get(path("runs", run_id, "files"), list[FileOut])
            wanted = _chosen(run_id, found, name)
            target = _target(to, wanted.name, force=force)
            partly = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
            try:
                with partly.open("xb") as file:  # nobody's file or link of this name
                    async for piece in api.content(path("runs", run_id, "files", wanted.id)):
                        file.write(piece)
                partly.replace(target)
            except FileError as error:
                raise CliError(str(error)) from None
            except OSError as error:
                raise CliError(f"{target} cannot be written: {error.strerror}") from None
            finally:
                with contextlib.suppress(OSError):
                    partly.unlink(missing_ok=True)
        done(f"{target}: {humanize.size(wanted.size)}", as_json=as_json, path=str(target))

    run(work())


def _target(to: Path, name: str, *, force: bool) -> Path:
    target = to / safe_name(name) if to.is_dir() else to
    if target.exists() and not force:
        raise CliError(f"{target} is there already: --force replaces it")
    return target


def _chosen(run_id: int, found: list[FileOut], name: str | None) -> FileOut:
    """The file that is meant.

    Raises:
        CliError: it is none, or one of several.
    """
    fit = [one for one in found if one.name == name] if name else _results(found)
    if len({one.sha256 for one in fit}) == 1:
        return fit[-1]
    names = ", ".join(one.name for one in found) or "none"
    raise CliError(f"which file of run {run_id}? It has {names}: targcc run files {run_id}")


def _results(found: list[FileOut]) -> list[FileOut]:
    return [one for one in found if one.kind == "result"]
