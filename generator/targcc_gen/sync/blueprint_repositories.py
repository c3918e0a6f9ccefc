"""Fetch blueprints from git repositories into the project, where the generator reads the copies."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from targcc_gen.errors import BlueprintFetchError, GitError, InputError
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

# Read a foreign repository at a tag or commit, without a checkout.

PATIENCE = 120.0
"""Seconds after which a fetch is given up."""

LARGEST_REPOSITORY = 100_000_000
"""Limit in bytes of a fetched commit."""

_LOOK_EVERY = 0.1
_REGULAR = {b"100644", b"100755"}
_FETCH = ("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--")


@dataclass(frozen=True)
class Fetched:
    """The blueprints of a repository.

    Attributes:
        commit: The fetched commit.
        files: Contents of the blueprints' files, by path below the requested folder.
    """

    commit: str
    files: Mapping[str, bytes]


def fetch(upstream: Upstream) -> Fetched:
    """Fetch the blueprints of a repository. Writes nothing to the project.

    Raises:
        InputError: The repository cannot be reached, or the folder contains no valid blueprints.
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
    """Run git in an empty repository, isolated from the settings of other repositories.

    Args:
        folder: Parent folder of the repository.
        upstream: The repository to fetch from.
    """

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.folder, self.upstream = folder / "repository", upstream
        self.folder.mkdir()
        self._errors = folder / "said"
        self._end = time.monotonic() + PATIENCE

    def run(self, *arguments: str) -> bytes:
        """Run git and return its output.

        Raises:
            InputError: Git fails, exceeds the time limit, or fetches too many bytes.
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
                raise GitError("git is not installed", hint="blueprints come by git") from error
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
        """Return the error for a problem with the repository."""
        return BlueprintFetchError(
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
                continue  # git has removed the file meanwhile
    return total


def _files(git: _Git, listing: bytes) -> list[tuple[str, bytes]]:
    """Return path and content of each blueprint's parts, skipping every other file of the repository."""
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
    """Plan the update of the project's copies: one copy for each repository, other copies deleted. The lock stays as it is.

    Args:
        root: The project's folder.
        fetched: Fetched blueprints by repository.
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
