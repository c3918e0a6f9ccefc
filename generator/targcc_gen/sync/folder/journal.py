"""The journal of a run that writes: enough to undo it, in this process or, after a kill, in the next.

`.targcc/pending/` holds the new files, copies of the old ones and `journal.json`, which lists what is to be replaced. It is there
only while a run writes. While its process lives, the operating system keeps the file `running` locked, so that a second run can tell a
run that goes on from one that was killed.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from targcc_gen.errors import ConflictError, TargccError
from targcc_gen.render.tree import LOCK_PATH, PENDING_PATH, path_problem
from targcc_gen.sync.folder.files import Files

_SHELF = 100


@dataclass(frozen=True)
class Step:
    """One file to replace, create or delete.

    Attributes:
        path: POSIX path below the project's folder.
        number: What its new and its old version are called there.
        existed: Whether there is an old version.
        stays: Whether there is a new version.
    """

    path: str
    number: int
    existed: bool
    stays: bool


@dataclass(frozen=True)
class Journal:
    """What a run is about to do.

    Attributes:
        steps: The files, the lock last.
        folders: The folders that the run makes, outermost first; POSIX paths below the project's folder.
    """

    steps: tuple[Step, ...]
    folders: tuple[str, ...]

    def dump(self) -> bytes:
        """The text of `journal.json`."""
        return json.dumps(
            {"steps": [asdict(step) for step in self.steps], "folders": self.folders}
        ).encode()

    @classmethod
    def load(cls, text: bytes) -> Journal:
        """Read what `dump` wrote.

        Raises:
            ValueError: It is damaged, or names a path outside of the project.
        """
        try:
            data = json.loads(text)
            journal = cls(tuple(Step(**step) for step in data["steps"]), tuple(data["folders"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is not as it was written: {error}") from error
        for path in [*(step.path for step in journal.steps), *journal.folders]:
            if path not in {LOCK_PATH, "."} and path_problem(path):
                raise ValueError(f"{path!r} {path_problem(path)}")
        return journal


class Pending:
    """The folder `.targcc/pending` of a project while a run writes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / PENDING_PATH
        self.journal = self.folder / "journal.json"
        self.guard = self.folder / "running"

    def new(self, step: Step) -> Path:
        """Where the new version of a file waits."""
        return self.shelf(step) / f"{step.number}.new"

    def old(self, step: Step) -> Path:
        """Where the old version of a file is kept."""
        return self.shelf(step) / f"{step.number}.old"

    def shelf(self, step: Step) -> Path:
        """The folder of both; each holds few files, because creating one takes longer the more there are."""
        return self.folder / str(step.number // _SHELF)

    def undo(self, journal: Journal, files: Files) -> None:
        """Put everything back; may be repeated when it was interrupted.

        Raises:
            OSError: A file could not be put back; the folder stays for another try.
        """
        for step in reversed(journal.steps):
            target = self.root / step.path
            if step.existed:
                self._put_back(step, target, files)
            elif not self.new(step).exists():  # it was moved to its place
                target.unlink(missing_ok=True)
        self.journal.unlink()  # from here on it is undone, whatever happens

    def _put_back(self, step: Step, target: Path, files: Files) -> None:
        spare = self.folder / "spare"
        spare.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        files.copy(self.old(step), spare)
        files.replace(spare, target)

    def remove(self, journal: Journal | None, files: Files) -> None:
        """Remove the folder, and what an undone run left empty."""
        files.remove_tree(self.folder)
        made = [self.root / folder for folder in reversed(journal.folders if journal else ())]
        for folder in [*made, self.folder.parent]:
            with contextlib.suppress(OSError):  # it is not empty
                files.remove_folder(folder)


def recover(root: Path, files: Files | None = None) -> None:
    """Undo what a killed run left half done.

    Raises:
        ConflictError: Another run is writing right now.
        TargccError: What is left cannot be undone by itself.
    """
    files, pending = files or Files(), Pending(root)
    if pending.folder.is_symlink() or not pending.folder.is_dir():
        raise TargccError(f"{PENDING_PATH} is no folder", hint="remove it and run this again")
    with _held(pending):
        journal = _journal_of(pending)
        try:
            if journal is not None:
                pending.undo(journal, files)
        except OSError as error:
            raise TargccError(
                f"a run was killed while it wrote, and undoing it failed: {error}",
                hint=f"the old versions of the files are in {pending.folder}, *.old",
            ) from error
    pending.remove(journal, files)


def _journal_of(pending: Pending) -> Journal | None:
    """The journal; None when the run was killed before it touched a file of the project."""
    if not pending.journal.exists():
        return None
    try:
        return Journal.load(pending.journal.read_bytes())
    except ValueError as error:
        raise TargccError(
            f"{PENDING_PATH}/journal.json is damaged: {error}",
            hint=f"look at the old versions in it, *.old, then remove {PENDING_PATH}",
        ) from error


@contextlib.contextmanager
def _held(pending: Pending) -> Iterator[None]:
    try:
        file = pending.guard.open("r+b")
    except FileNotFoundError:  # killed before it wrote one
        yield
        return
    with file, guarded(file):
        yield


@contextlib.contextmanager
def guarded(file: BinaryIO) -> Iterator[None]:
    """Keep an open file locked; a process that is killed lets go of it.

    Raises:
        ConflictError: Another process keeps it.
    """
    try:
        _lock(file)
    except OSError as error:
        raise busy() from error
    yield


def busy() -> ConflictError:
    """The error of a second run at the same time."""
    return ConflictError(
        "another targcc-gen is writing to this project right now",
        hint="wait until it has finished, then run this again",
    )


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
