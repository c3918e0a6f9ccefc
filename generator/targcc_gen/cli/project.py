"""Find the project of a command from the working directory, and read its spec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from targcc_gen.errors import NoProjectError, PathError

if TYPE_CHECKING:
    from targcc_gen.spec import Spec
    from targcc_gen.spec.merge import MergedSpec

SPEC_FILE = "targcc.yaml"


@dataclass(frozen=True)
class Project:
    """A project on disk.

    Attributes:
        root: The project's folder.
        text: The text of the spec.
        spec: The spec.
        unmerged: The text on disk if it differs from `text`: it has conflict markers, or lacks `scheduler: vendored`.
        merged: The merge of the two sides, if the text on disk has conflict markers.
    """

    root: Path
    text: str
    spec: Spec
    unmerged: str = ""
    merged: MergedSpec | None = None


def open_project(given: Path | None, *, writes: bool = False, merges: bool = False) -> Project:
    """Open the project in a folder, or the project that contains the current folder.

    Args:
        given: The folder of `--project`.
        writes: Whether the command will write; if so, the unfinished work of a killed run is undone first.
        merges: Whether a spec with git's conflict markers is merged by key.

    Raises:
        InputError: There is no project, or its spec is wrong.
        ConflictError: Two branches changed the same key of the spec differently.
    """
    from targcc_gen.spec.shared import whole_spec

    root = find_root(given)
    if writes:
        ready_to_write(root)
    path = root / SPEC_FILE
    text = spec_text(root)
    if merges:
        from targcc_gen.cli.branches import DisputedError, merged_spec

        merged = merged_spec(root, text)
        if merged is not None and merged.disputed:
            raise DisputedError(root, text, merged)
        if merged is not None:
            return Project(
                root, merged.text, whole_spec(merged.text, root, shown(path)), text, merged
            )
        spec = _with_vendored(root, text)
        if spec != text:
            return Project(root, spec, whole_spec(spec, root, shown(path)), text)
    return Project(root, text, whole_spec(text, root, shown(path)))


def _with_vendored(root: Path, text: str) -> str:
    """Add `scheduler: vendored` to the spec's text if the project was made by a release with that default."""
    from targcc_gen.spec import set_scheduler
    from targcc_gen.spec.shared import extended_spec, is_vendored_silently

    spec = extended_spec(text, root)
    return set_scheduler(text, "vendored") if is_vendored_silently(spec, root) else text


def spec_text(root: Path) -> str:
    """Return the text of a project's spec.

    Raises:
        InputError: The spec cannot be read, or is a link to a file outside the project.
    """
    from targcc_gen.spec.loader import read_text

    path = root / SPEC_FILE
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise PathError(f"{SPEC_FILE} is a link to a place outside of the project {root}")
    return read_text(path)


def ready_to_write(root: Path) -> bool:
    """Undo the unfinished work of a killed run, and list the files that stay. Only for commands that write.

    Returns:
        Whether a killed run was undone.

    Raises:
        ConflictError: Another run is writing, or the unfinished work is from another user or machine.
    """
    from targcc_gen.render.tree import PENDING_PATH

    pending = root / PENDING_PATH
    if not (pending.exists() or pending.is_symlink()):
        return False
    from targcc_gen.sync.journal import recover

    newer = recover(root.resolve())
    click.echo("note: a run was killed while it wrote; what it had done is undone", err=True)
    for path in newer:
        click.echo(f"note: {path} stays as it is: it was written since", err=True)
    return True


def find_root(given: Path | None) -> Path:
    """Return the folder of the project.

    Raises:
        InputError: There is no project.
    """
    if given is not None:
        if not given.is_dir():
            raise NoProjectError(
                f"no folder {given}", hint="--project names the folder with targcc.yaml"
            )
        if not (given / SPEC_FILE).is_file():
            raise NoProjectError(f"{given} is no project: it has no {SPEC_FILE}", hint=_MAKE_ONE)
        return given.resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / SPEC_FILE).is_file():
            return folder
    raise NoProjectError(
        f"no project here: neither {here} nor a folder above has a {SPEC_FILE}",
        hint=f"go to one, name it with --project DIR, or make one: {_MAKE_ONE}",
    )


_MAKE_ONE = "targcc-gen new NAME"


def path_in(root: Path, path: str) -> str:
    """Return a path given by the user, relative to the project's folder; `"."` for the folder itself.

    Raises:
        InputError: The path is outside the project, or empty (an unset variable of a shell).
    """
    if not path:
        raise PathError("a path is empty", hint="the present folder is written as a dot")
    here = Path.cwd() / path
    place = here if here.exists() or not (root / path).exists() else root / path
    try:
        return place.parent.resolve().joinpath(place.name).relative_to(root).as_posix()
    except ValueError:
        pass
    try:
        return place.resolve().relative_to(root).as_posix()
    except ValueError:
        raise PathError(f"{path} is not in the project {root}") from None


def shown(path: Path) -> str:
    """Return a path for messages: relative if below the current folder."""
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)
