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
from targcc_gen.spec.sharing.upstream import PREFIX, Upstream, fetched_commit, upstream_problem

NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
"""What a blueprint may be called."""

MOST = 200
"""So many blueprints may be in one folder, and so many overrides."""

LARGEST = 200_000
"""A file of more bytes is none of a blueprint."""

_EXAMPLE = "./blueprints"


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
    commits: dict[str, str] = {}
    for source in sources:
        for folder, upstream in _folders(source, root):
            commit = "" if upstream is None else fetched_commit(upstream, root) or ""
            if upstream is not None:
                commits[upstream.pin] = commit
            named = "" if upstream is None else f"{upstream.text}, {commit[:10]}"
            for one in _blueprints(folder, root, named):
                twin = blueprints.setdefault(one.name, one)
                if twin.origin != one.origin:
                    raise InputError(
                        f"there are two blueprints {one.name}: in {twin.origin} and in {one.origin}",
                        hint="rename one of the folders",
                    )
        for override in _overrides(source.place.parent / OVERRIDES, root):
            overrides.setdefault(override.path, override)
    return Library(blueprints, overrides, commits=commits)


def upstreams(sources: Sequence[Source]) -> list[Upstream]:
    """The git repositories that a project has blueprints from, whether they are here or not.

    Raises:
        SpecErrors: One cannot be asked, with the place where it is named.
    """
    found = (_upstream(source, node) for source in sources for node in _named(source))
    return list(dict.fromkeys(one for one in found if one is not None))


def _named(source: Source) -> list[Node]:
    entry = source.root.entries.get("blueprints")
    return [] if entry is None else list(entry[1].items)


def _upstream(source: Source, node: Node) -> Upstream | None:
    """The repository that a text of a spec names; None for a folder."""
    if not node.text.startswith(PREFIX):
        return None
    if problem := upstream_problem(node.text):
        raise _at(source, node, problem)
    return Upstream.parse(node.text)


def _at(source: Source, node: Node, problem: tuple[str, str]) -> SpecErrors:
    length = max(1, node.end.column - node.start.column)
    one = Problem(node.start.line, node.start.column, length, *problem)
    return SpecErrors(source.shown, source.text, [one])


def _folders(source: Source, root: Path) -> Iterator[tuple[Path, Upstream | None]]:
    """The folders that a file names, with the repository that one is a copy of."""
    for node in _named(source):
        upstream = _upstream(source, node)
        if upstream is None:
            target = source.place.parent / node.text
            problem = path_problem(node.text, _EXAMPLE) or target_problem(target, root, folder=True)
        elif fetched_commit(upstream, root) is None:
            problem = "the project has no copy of it yet", "run: targcc-gen blueprints fetch"
        else:
            target = root / upstream.place
            problem = target_problem(target, root, folder=True)
        if problem is not None:
            raise _at(source, node, problem)
        yield target.resolve(), upstream


def _blueprints(folder: Path, root: Path, source: str) -> Iterator[TeamBlueprint]:
    built_in = {path.name for path in assets.blueprints().iterdir()}
    found = sorted(path for path in folder.iterdir() if (path / PARTS[0]).exists())
    for path in found[:MOST]:
        origin = _shown(path, root)
        if not NAME.fullmatch(path.name):
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
        yield TeamBlueprint(path.name, origin, texts, source)


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
            if count > MOST:
                raise InputError(f"{_shown(folder, root)} has more than {MOST} files")
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
    if status.st_size > LARGEST:
        raise InputError(f"{shown} is larger than {LARGEST // 1000} kB")
    try:
        return path.read_bytes().decode().replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{shown} cannot be read: {error}") from error


def _shown(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()
