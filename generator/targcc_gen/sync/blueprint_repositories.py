"""Fetch blueprints from git repositories into the project, where they are read."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from targcc_gen.errors import InputError
from targcc_gen.git import start_fetching
from targcc_gen.render.tree import Owner
from targcc_gen.spec.blueprint_names import PARTS
from targcc_gen.spec.library import (
    FETCHED_PATH,
    LARGEST,
    MOST,
    NAME,
    RECORD,
    SCHEMES,
    Upstream,
    record,
)
from targcc_gen.sync.disk import Disk
from targcc_gen.sync.lock import Lock
from targcc_gen.sync.plan.plan import Action, Change, Plan

# Read a foreign repository at a tag or commit, without checking anything out.

PATIENCE = 120.0
"""A repository that takes longer, in seconds, is given up."""

LARGEST_REPOSITORY = 100_000_000
"""One commit of more bytes is not fetched."""

_LOOK_EVERY = 0.1
_REGULAR = {b"100644", b"100755"}
_FETCH = ("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--")


@dataclass(frozen=True)
class Fetched:
    """What a repository has.

    Attributes:
        commit: Its commit.
        files: The files of its blueprints, by their paths below the folder that was asked for.
    """

    commit: str
    files: Mapping[str, bytes]


def fetch(upstream: Upstream) -> Fetched:
    """Ask the repository; nothing of the project is written.

    Raises:
        InputError: It cannot be reached, or what it has are no blueprints.
    """
    with tempfile.TemporaryDirectory(prefix="targcc-gen-", ignore_cleanup_errors=True) as folder:
        git = _Git(Path(folder), upstream)
        git.run("init", "--quiet", "--bare", "--template=", ".")
        wanted = upstream.ref if upstream.names_commit else f"refs/tags/{upstream.ref}"
        git.run(*_FETCH, upstream.url, wanted)
        commit = git.run("rev-parse", "--verify", "FETCH_HEAD^{commit}").decode().strip()
        if upstream.names_commit and commit != upstream.ref:
            raise git.problem(f"it answered with commit {commit}")
        listing = git.run("ls-tree", "-r", "-z", "--long", f"{commit}:{upstream.folder}")
        return Fetched(commit, dict(_files(git, listing)))


class _Git:
    """git in an empty repository, without the settings of any other one.

    Args:
        folder: Where it is.
        upstream: What is fetched into it.
    """

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.folder, self.upstream = folder / "repository", upstream
        self.folder.mkdir()
        self._errors = folder / "said"
        self._end = time.monotonic() + PATIENCE

    def run(self, *arguments: str) -> bytes:
        """What git prints.

        Raises:
            InputError: It fails, takes too long or gets too much.
        """
        answer = self.folder.with_name("answer")
        with answer.open("wb") as out, self._errors.open("wb") as output:
            try:
                process = start_fetching(
                    self.folder,
                    *arguments,
                    protocols=":".join(SCHEMES),
                    stdout=out.fileno(),
                    stderr=output.fileno(),
                )
            except OSError as error:
                raise InputError("git is not installed", hint="blueprints come by git") from error
            with process:
                self._wait(process)
        if process.returncode:
            raise self.problem(self._last_line())
        return answer.read_bytes()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        while True:
            try:
                process.wait(_LOOK_EVERY)
            except subprocess.TimeoutExpired:
                problem = self._too_much()
                if problem:
                    process.kill()
                    raise self.problem(problem) from None
            else:
                if problem := self._too_much():
                    raise self.problem(problem)
                return

    def _too_much(self) -> str:
        if time.monotonic() > self._end:
            return f"it takes longer than {PATIENCE:.0f} s"
        if _size(self.folder.parent) > LARGEST_REPOSITORY:
            return f"it has more than {LARGEST_REPOSITORY // 1_000_000} MB"
        return ""

    def _last_line(self) -> str:
        message = self._errors.read_bytes()[-2000:].decode("utf-8", "replace").strip()
        return f"git says: {message.splitlines()[-1] if message else 'nothing'}"

    def problem(self, what: str) -> InputError:
        """What is wrong with the repository."""
        return InputError(
            f"{self.upstream.text}: {what}",
            hint="git needs to reach it without asking, and to find that tag or commit and folder",
        )


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).lstat().st_size
            except OSError:
                continue  # git has removed it meanwhile
    return total


def _files(git: _Git, listing: bytes) -> list[tuple[str, bytes]]:
    """The parts of each blueprint; all else that the repository has is left there."""
    entries = {}
    for line in filter(None, listing.split(b"\0")):
        facts, _, path = line.partition(b"\t")
        name, _, part = path.decode("utf-8", "replace").partition("/")
        if part in PARTS:
            entries[name, part] = facts.split()
    names = sorted(name for name, part in entries if part == PARTS[0])
    if not names or len(names) > MOST:
        count = f"more than {MOST}" if names else "no"
        raise git.problem(f"it has {count} folders with a {PARTS[0]} there")
    for name in names:
        if not NAME.fullmatch(name):
            raise git.problem(f"a blueprint's name is lower-case letters, digits and -: {name}")
    paths = [(name, part) for name in names for part in PARTS]
    return [
        (f"{name}/{part}", _content(git, f"{name}/{part}", entries.get((name, part))))
        for name, part in paths
    ]


def _content(git: _Git, path: str, facts: list[bytes] | None) -> bytes:
    if facts is None:
        raise git.problem(f"it has no {path}")
    mode, _, blob, size = facts
    if mode not in _REGULAR:
        raise git.problem(f"{path} is no regular file")
    if int(size) > LARGEST:
        raise git.problem(f"{path} is larger than {LARGEST // 1000} kB")
    return git.run("cat-file", "blob", blob.decode())


# Plan the update of the project's copies.


def plan_copies(root: Path, fetched: Mapping[Upstream, Fetched]) -> Plan:
    """What it takes to have a copy of each repository, and of no other; the lock stays as it is.

    Args:
        root: The project's folder.
        fetched: What the repositories have.
    """
    disk, lock = Disk(root), Lock.load(root)
    wanted: dict[str, bytes] = {}
    for upstream, files in fetched.items():
        wanted[f"{upstream.place}/{RECORD}"] = record(upstream, files.commit).encode()
        wanted |= {f"{upstream.place}/{path}": text for path, text in files.files.items()}
    paths = sorted({*wanted, *_existing_copies(root)})
    changes = tuple(_change(path, wanted.get(path), disk) for path in paths)
    return Plan(root, changes, lock, lock.text, lock)


def _existing_copies(root: Path) -> Iterable[str]:
    folder = root / FETCHED_PATH
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [path.relative_to(root).as_posix() for path in folder.rglob("*") if path.is_file()]


def _change(path: str, content: bytes | None, disk: Disk) -> Change:
    on_disk = disk.look(path)
    if on_disk.blocked:
        return Change(
            path, Action.CONFLICT, on_disk.blocked, Owner.MANAGED, on_disk.raw, settleable=False
        )
    if content is None:
        reason = "no blueprint of a repository that targcc.yaml names"
        return Change(path, Action.DELETE, reason, Owner.MANAGED, on_disk.raw)
    if on_disk.text == content:
        return Change(path, Action.UNCHANGED, "", Owner.MANAGED, on_disk.raw)
    action = Action.CREATE if on_disk.raw is None else Action.UPDATE
    return Change(path, action, "", Owner.MANAGED, on_disk.raw, content)
