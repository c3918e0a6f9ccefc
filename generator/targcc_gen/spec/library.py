"""Read a team's blueprints and templates from folders of the repository, before the spec is checked. The files are untrusted."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from targcc_gen import assets
from targcc_gen.errors import BlueprintError
from targcc_gen.spec.blueprint_names import OVERRIDES, PARTS, Library, Override, TeamBlueprint
from targcc_gen.spec.errors import BLUEPRINTS, Problem, SpecErrors
from targcc_gen.spec.nodes import Node

# Paths in a spec: inside the repository, through no link out of the repository.


def path_problem(path: str, example: str) -> tuple[str, str] | None:
    """Return message and hint for a text that is not a relative path with `/`; None for a usable path."""
    if not path.strip():
        return "this is the path of nothing", f"for example {example}"
    if path.startswith(("/", "\\", "~")) or ":" in path or "\\" in path or "\0" in path:
        return "this is no path from this file, with /", f"for example {example}"
    return None


def target_problem(target: Path, root: Path, *, folder: bool = False) -> tuple[str, str] | None:
    """Return message and hint for a path that may not be read; None for a readable path.

    Args:
        target: The path, before links are followed.
        root: The project's folder.
        folder: Whether the path has to be a folder; otherwise a file.
    """
    what = "folder" if folder else "file"
    try:
        place = target.resolve(strict=True)
        mode = place.stat().st_mode
    except (OSError, RuntimeError):
        return f"there is no such {what}", "the path is counted from this file's folder"
    boundary = repository_of(root)
    if not place.is_relative_to(boundary):
        return f"the {what} is outside of the repository", f"it has to be below {boundary}"
    if folder and not stat.S_ISDIR(mode):
        return "this is no folder", "name the folder that has one folder for each blueprint"
    if not folder and not stat.S_ISREG(mode):
        return "this is no regular file", "name a YAML file"
    return None


def repository_of(root: Path) -> Path:
    """Return the folder of the git repository that contains a project; outside of git, the parent of the project's folder."""
    root = root.resolve()
    for folder in (root, *root.parents):
        if (folder / ".git").exists():
            return folder
    return root.parent


# Blueprints of a git repository: the address in a spec, and the project's copy.
# Only `targcc-gen blueprints fetch` fetches. The copy is committed with the project, and everything else reads the copy.

FETCHED_PATH = ".targcc/blueprints"
"""The folder of all copies, relative to the project's folder; each source has a folder inside."""

RECORD = "source.json"
"""The file in a source's folder that records the source and the commit."""

SCHEMES = ("https", "ssh", "file")
PREFIX = "git+"
EXAMPLE = "git+https://git.example.com/team/blueprints@v1.4#folder"

# No part begins with "-", because git or ssh would read an option. No part holds a password or a character special to a shell.
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._+~-]*"
_PATH = rf"{_NAME}(?:/{_NAME})*"
_REMOTE = rf"(?:https|ssh)://(?:{_NAME}@)?[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{{1,5}})?/~?{_PATH}"
_LOCAL = rf"file:///(?:[A-Za-z]:/)?{_PATH}"
_SOURCE = re.compile(
    rf"git\+(?P<url>{_REMOTE}|{_LOCAL})@(?P<ref>{_PATH})(?:#(?P<folder>{_PATH}))?/?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_LONGEST = 500
_LARGEST_RECORD = 10_000


@dataclass(frozen=True)
class Upstream:
    """A folder of a git repository at a tag or commit.

    Attributes:
        text: The address, as the spec has it.
        url: The repository.
        ref: The tag or commit.
        folder: The folder in the repository with a folder for each blueprint; empty for the top.
    """

    text: str
    url: str
    ref: str
    folder: str = ""

    @classmethod
    def parse(cls, text: str) -> Upstream | None:
        """Parse `git+https://…@TAG#FOLDER`; None for any other text."""
        match = _SOURCE.fullmatch(text)
        if match is None or len(text) > _LONGEST or ".." in text or text.endswith(".lock"):
            return None
        return cls(text, match["url"], match["ref"], match["folder"] or "")

    @property
    def place(self) -> str:
        """The folder of the copy, relative to the project's folder; the same for every tag."""
        name = re.sub(
            r"[^a-z0-9]+", "-", self.url.lower().removesuffix(".git").rpartition("/")[2]
        ).strip("-")
        digest = hashlib.sha256(f"{self.url}#{self.folder}".encode()).hexdigest()
        return f"{FETCHED_PATH}/{name or 'git'}-{digest[:8]}"

    @property
    def pin(self) -> str:
        """The repository's name in the lock; the lock keeps the commit under this name."""
        return f"{PREFIX}{self.url}#{self.folder}"

    @property
    def names_commit(self) -> bool:
        """Whether `ref` is a commit rather than a tag."""
        return is_commit(self.ref)


def is_commit(text: str) -> bool:
    """Whether a text is the full hash of a commit."""
    return _COMMIT.fullmatch(text) is not None


def record(upstream: Upstream, commit: str) -> str:
    """Return the content of the record beside a copy."""
    return json.dumps({"source": upstream.text, "commit": commit}, indent=2) + "\n"


def fetched_commit(upstream: Upstream, root: Path) -> str | None:
    """Return the commit of the project's copy; None without a copy of the source that the spec names.

    Raises:
        InputError: The record beside the copy cannot be read.
    """
    place = f"{upstream.place}/{RECORD}"
    path = root / place
    if path.is_symlink() or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(_LARGEST_RECORD))
        source, commit = data["source"], data["commit"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BlueprintError(
            f"{place} is not what was written", hint="run: targcc-gen blueprints fetch"
        ) from error
    if source != upstream.text or not isinstance(commit, str) or not is_commit(commit):
        return None
    return commit if not upstream.names_commit or commit == upstream.ref else None


def upstream_problem(text: str) -> tuple[str, str] | None:
    """Return message and hint for a text that is not the address of a folder in a git repository; None for an address."""
    if Upstream.parse(text) is not None:
        return None
    scheme = text.removeprefix(PREFIX).partition("://")[0]
    if scheme not in SCHEMES:
        return "git is asked by https, ssh or file alone", f"for example {EXAMPLE}"
    if "@" not in text.rpartition("/")[2].partition("#")[0]:
        return "it is not said which tag or commit", f"for example {EXAMPLE}"
    return "this is no address of a git repository with a tag or commit", f"for example {EXAMPLE}"


# Folders of the repository.

NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
"""The pattern of a blueprint's name."""

MOST = 200
"""The most blueprints in a folder, and the most overrides."""

LARGEST = 200_000
"""The largest file of a blueprint, in bytes."""

_EXAMPLE = "./blueprints"


class Source(Protocol):
    """A file that may name folders of blueprints: a spec, or an extended file."""

    @property
    def place(self) -> Path:
        """The file's path."""

    @property
    def shown(self) -> str:
        """The file, as messages name it."""

    @property
    def text(self) -> str:
        """The file's text."""

    @property
    def root(self) -> Node:
        """The content, with positions."""


def read_library(sources: Sequence[Source], root: Path) -> Library:
    """Read the blueprints and overrides of a project. Of overrides with the same path, the nearest counts.

    Args:
        sources: The spec and the files it extends, the nearest first.
        root: The project's folder.

    Raises:
        SpecErrors: A folder cannot be read; the error has the position of its name.
        InputError: A file of a blueprint cannot be used, or two blueprints have the same name.
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
            for blueprint in _blueprints(folder, root, named):
                twin = blueprints.setdefault(blueprint.name, blueprint)
                if twin.origin != blueprint.origin:
                    raise BlueprintError(
                        f"there are two blueprints {blueprint.name}: in {twin.origin} and in {blueprint.origin}",
                        hint="rename one of the folders",
                    )
        for override in _overrides(source.place.parent / OVERRIDES, root):
            overrides.setdefault(override.path, override)
    return Library(blueprints, overrides, commits=commits)


def upstreams(sources: Sequence[Source]) -> list[Upstream]:
    """Return the git repositories named as blueprint sources, fetched or not.

    Raises:
        SpecErrors: An address is wrong; the error has its position.
    """
    upstream_names = (_upstream(source, node) for source in sources for node in _named(source))
    return list(dict.fromkeys(upstream for upstream in upstream_names if upstream is not None))


def _named(source: Source) -> list[Node]:
    entry = source.root.entries.get("blueprints")
    return [] if entry is None else list(entry[1].items)


def _upstream(source: Source, node: Node) -> Upstream | None:
    """Return the git repository named by a text of a spec; None for a folder."""
    if not node.text.startswith(PREFIX):
        return None
    if problem := upstream_problem(node.text):
        raise _at(source, node, problem)
    return Upstream.parse(node.text)


def _at(source: Source, node: Node, problem: tuple[str, str]) -> SpecErrors:
    length = max(1, node.end.column - node.start.column)
    located = Problem(node.start.line, node.start.column, length, *problem, BLUEPRINTS)
    return SpecErrors(source.shown, source.text, [located])


def _folders(source: Source, root: Path) -> Iterator[tuple[Path, Upstream | None]]:
    """Yield the folders that a file names; each copy of a git repository comes with the repository."""
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
    folders = sorted(path for path in folder.iterdir() if (path / PARTS[0]).exists())
    for path in folders[:MOST]:
        origin = _shown(path, root)
        if not NAME.fullmatch(path.name):
            raise BlueprintError(
                f"{origin}: a blueprint's name is lower-case letters, digits and -",
                hint="for example nightly-report",
            )
        if path.name in built_in:
            raise BlueprintError(
                f"{origin}: targcc-gen has a blueprint {path.name} itself",
                hint="give the folder another name",
            )
        texts = {part: _text(path / part, root) for part in PARTS}
        yield TeamBlueprint(path.name, origin, texts, source)


def _overrides(folder: Path, root: Path) -> Iterator[Override]:
    if not folder.is_dir():
        return
    if problem := target_problem(folder, root, folder=True):
        raise BlueprintError(f"{_shown(folder, root)}: {problem[0]}", hint=problem[1])
    count = 0
    for base, folders, names in os.walk(folder.resolve()):
        folders.sort()
        for name in sorted(names):
            count += 1
            if count > MOST:
                raise BlueprintError(f"{_shown(folder, root)} has more than {MOST} files")
            place = Path(base) / name
            path = place.relative_to(folder.resolve()).as_posix()
            is_template = path.endswith(".jinja")
            yield Override(
                path.removesuffix(".jinja"), _shown(place, root), _text(place, root), is_template
            )


def _text(path: Path, root: Path) -> str:
    """Read a team's file: a regular file inside the repository, small, in UTF-8."""
    shown = _shown(path, root)
    try:
        status = path.lstat()
    except OSError as error:
        raise BlueprintError(
            f"{shown}: there is no such file", hint=f"a blueprint has {', '.join(PARTS)}"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise BlueprintError(f"{shown} is no regular file", hint="links are not followed here")
    if not path.resolve().is_relative_to(repository_of(root)):
        raise BlueprintError(f"{shown} is outside of the repository")
    if status.st_size > LARGEST:
        raise BlueprintError(f"{shown} is larger than {LARGEST // 1000} kB")
    try:
        return path.read_bytes().decode().replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BlueprintError(f"{shown} cannot be read: {error}") from error


def _shown(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()
