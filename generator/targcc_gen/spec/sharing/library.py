"""Blueprints and templates of a team: read from folders of the repository, with suspicion, before a spec is checked."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from targcc_gen import assets
from targcc_gen.errors import InputError
from targcc_gen.spec.blueprint_names import OVERRIDES, PARTS, Library, Override, TeamBlueprint
from targcc_gen.spec.reading.nodes import Node
from targcc_gen.spec.reading.problems import Problem, SpecErrors
from targcc_gen.spec.sharing.places import path_problem, repository_of, target_problem

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_EXAMPLE = "./blueprints"
_MOST = 200
_LARGEST = 200_000


class Source(Protocol):
    """A file that may name folders of blueprints: a spec, or one that it extends."""

    @property
    def place(self) -> Path:
        """The file."""

    @property
    def shown(self) -> str:
        """How messages name it."""

    @property
    def text(self) -> str:
        """Its text."""

    @property
    def root(self) -> Node:
        """What is in it."""


def read_library(sources: Sequence[Source], root: Path) -> Library:
    """The blueprints and overrides of a project, the nearest first.

    Args:
        sources: The spec and what it extends.
        root: The project's folder.

    Raises:
        SpecErrors: A folder cannot be read, with the place where it is named.
        InputError: A file in one is none of a blueprint.
    """
    blueprints: dict[str, TeamBlueprint] = {}
    overrides: dict[str, Override] = {}
    for source in sources:
        for folder in _folders(source, root):
            for one in _blueprints(folder, root):
                twin = blueprints.setdefault(one.name, one)
                if twin.origin != one.origin:
                    raise InputError(
                        f"there are two blueprints {one.name}: in {twin.origin} and in {one.origin}",
                        hint="rename one of the folders",
                    )
        for override in _overrides(source.place.parent / OVERRIDES, root):
            overrides.setdefault(override.path, override)
    return Library(blueprints, overrides)


def _folders(source: Source, root: Path) -> Iterator[Path]:
    entry = source.root.entries.get("blueprints")
    for node in () if entry is None else entry[1].items:
        target = source.place.parent / node.text
        problem = path_problem(node.text, _EXAMPLE) or target_problem(target, root, folder=True)
        if problem is not None:
            length = max(1, node.end.column - node.start.column)
            one = Problem(node.start.line, node.start.column, length, *problem)
            raise SpecErrors(source.shown, source.text, [one])
        yield target.resolve()


def _blueprints(folder: Path, root: Path) -> Iterator[TeamBlueprint]:
    built_in = {path.name for path in assets.blueprints().iterdir()}
    found = sorted(path for path in folder.iterdir() if (path / PARTS[0]).exists())
    for path in found[:_MOST]:
        origin = _shown(path, root)
        if not _NAME.fullmatch(path.name):
            raise InputError(
                f"{origin}: a blueprint's name is lower-case letters, digits and -",
                hint="for example nightly-report",
            )
        if path.name in built_in:
            raise InputError(
                f"{origin}: targcc-gen has a blueprint {path.name} itself",
                hint="give the folder another name",
            )
        texts = {part: _text(path / part, root) for part in PARTS}
        yield TeamBlueprint(path.name, origin, texts)


def _overrides(folder: Path, root: Path) -> Iterator[Override]:
    if not folder.is_dir():
        return
    if problem := target_problem(folder, root, folder=True):
        raise InputError(f"{_shown(folder, root)}: {problem[0]}", hint=problem[1])
    count = 0
    for base, folders, names in os.walk(folder.resolve()):
        folders.sort()
        for name in sorted(names):
            count += 1
            if count > _MOST:
                raise InputError(f"{_shown(folder, root)} has more than {_MOST} files")
            place = Path(base) / name
            path = place.relative_to(folder.resolve()).as_posix()
            is_template = path.endswith(".jinja")
            yield Override(
                path.removesuffix(".jinja"), _shown(place, root), _text(place, root), is_template
            )


def _text(path: Path, root: Path) -> str:
    """A file of a team's: a small regular one of the repository, in UTF-8."""
    shown = _shown(path, root)
    try:
        status = path.lstat()
    except OSError as error:
        raise InputError(
            f"{shown}: there is no such file", hint=f"a blueprint has {', '.join(PARTS)}"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{shown} is no regular file", hint="links are not followed here")
    if not path.resolve().is_relative_to(repository_of(root)):
        raise InputError(f"{shown} is outside of the repository")
    if status.st_size > _LARGEST:
        raise InputError(f"{shown} is larger than {_LARGEST // 1000} kB")
    try:
        return path.read_bytes().decode().replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{shown} cannot be read: {error}") from error


def _shown(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()
