"""The project that a command is about: found from where the person is, read once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from targcc_gen.errors import InputError

if TYPE_CHECKING:
    from targcc_gen.spec import Spec

SPEC_FILE = "targcc.yaml"


@dataclass(frozen=True)
class Project:
    """A project on disk.

    Attributes:
        root: Its folder.
        text: The text of its spec.
        spec: The spec.
    """

    root: Path
    text: str
    spec: Spec


def open_project(given: Path | None) -> Project:
    """The project in a folder, or the one that the current folder belongs to.

    Args:
        given: `--project`.

    Raises:
        InputError: There is none, or its spec is wrong.
    """
    from targcc_gen.spec import parse_spec
    from targcc_gen.spec.reading.loader import read_text

    root = find_root(given)
    path = root / SPEC_FILE
    text = read_text(path)
    return Project(root, text, parse_spec(text, shown(path)))


def find_root(given: Path | None) -> Path:
    """The folder of the project.

    Raises:
        InputError: There is no project.
    """
    if given is not None:
        if not given.is_dir():
            raise InputError(
                f"no folder {given}", hint="--project names the folder with targcc.yaml"
            )
        if not (given / SPEC_FILE).is_file():
            raise InputError(f"{given} is no project: it has no {SPEC_FILE}", hint=_MAKE_ONE)
        return given.resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / SPEC_FILE).is_file():
            return folder
    raise InputError(
        f"no project here: neither {here} nor a folder above has a {SPEC_FILE}",
        hint=f"go to one, name it with --project DIR, or make one: {_MAKE_ONE}",
    )


_MAKE_ONE = "targcc-gen new NAME"


def path_in(root: Path, path: str) -> str:
    """A path that the person gave, below the project's folder; `"."` for the folder itself.

    Raises:
        InputError: It is outside of the project.
    """
    here = Path.cwd() / path
    place = here if here.exists() or not (root / path).exists() else root / path
    try:
        return place.parent.resolve().joinpath(place.name).relative_to(root).as_posix()
    except ValueError:
        pass
    try:
        return place.resolve().relative_to(root).as_posix()
    except ValueError:
        raise InputError(f"{path} is not in the project {root}") from None


def shown(path: Path) -> str:
    """A path as people see it: relative where it is below the current folder."""
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)
