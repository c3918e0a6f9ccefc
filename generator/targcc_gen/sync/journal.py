"""The journal of a writing run, and recovery of a killed run.

`.targcc/pending/` holds the new files, copies of the old files, and `journal.json` with the list of replacements. The folder exists only
while a run writes. The writing process holds a lock on the file `running`, so a second run can tell a live run from a killed run. Undoing
restores only files that are still as the run wrote them: later edits stay.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from targcc_gen.errors import (
    BusyError,
    ConflictError,
    ForeignJournalError,
    ObstacleError,
    RollbackError,
)
from targcc_gen.render.tree import LOCK_PATH, PENDING_PATH, path_problem
from targcc_gen.sync.disk import Disk, Files

# The journal.

_SHELF = 100


@dataclass(frozen=True)
class Step:
    """A file to replace, create or delete.

    Attributes:
        path: POSIX path below the project's folder.
        number: Name of the new and the old version in the staging folder.
        before: SHA-256 of the old version; None where there is none.
        after: SHA-256 of the new version; None for a file to delete.
    """

    path: str
    number: int
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Journal:
    """The replacements of one run.

    Attributes:
        steps: The files, the lock last.
        folders: Folders that the run creates, outermost first; POSIX paths below the project's folder.
    """

    steps: tuple[Step, ...]
    folders: tuple[str, ...]

    def dump(self) -> bytes:
        """Return the text of `journal.json`."""
        return json.dumps(
            {"steps": [asdict(step) for step in self.steps], "folders": self.folders}
        ).encode()

    @classmethod
    def load(cls, text: bytes) -> Journal:
        """Parse the output of `dump`.

        Raises:
            ValueError: The text is damaged, or names a path outside of the project.
        """
        try:
            data = json.loads(text)
            journal = cls(tuple(Step(**step) for step in data["steps"]), tuple(data["folders"]))
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"it is not as it was written: {error}") from error
        for path in [*(step.path for step in journal.steps), *journal.folders]:
            if path not in {LOCK_PATH, "."} and path_problem(path):
                raise ValueError(f"{path!r} {path_problem(path)}")
        return journal


def digest_of(content: bytes | None) -> str | None:
    """Return the SHA-256 of a file's bytes; None for a missing file."""
    return None if content is None else hashlib.sha256(content).hexdigest()


class Pending:
    """The folder `.targcc/pending` of a project while a run writes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / PENDING_PATH
        self.journal = self.folder / "journal.json"
        self.guard = self.folder / "running"

    def new(self, step: Step) -> Path:
        """Return the staging path of a file's new version."""
        return self.shelf(step) / f"{step.number}.new"

    def old(self, step: Step) -> Path:
        """Return the path of the copy of a file's old version."""
        return self.shelf(step) / f"{step.number}.old"

    def shelf(self, step: Step) -> Path:
        """Return the folder of both versions. Each folder holds few files, because creating a file is slower in a full folder."""
        return self.folder / str(step.number // _SHELF)

    def compare(self, journal: Journal) -> tuple[list[Step], list[str]]:
        """Compare the project's files with the journal, reading each file once.

        Returns:
            The completed steps whose files are still as the run left them, the last step first; and the paths whose content is neither
            the old nor the new version.
        """
        disk, left, newer = Disk(self.root), [], []
        for step in journal.steps:
            state = _state(disk, step)
            if state not in {(True, step.before), (True, step.after)}:
                newer.append(step.path)
            elif state == (True, step.after) and step.before != step.after:
                left.append(step)
        return left[::-1], newer

    def undo(self, journal: Journal, files: Files) -> list[str]:
        """Restore the files that are still as the run left them. Safe to repeat after an interruption.

        Returns:
            The paths written since the run; these files stay as they are.

        Raises:
            OSError: A file could not be restored; the folder stays for another try.
        """
        left, newer = self.compare(journal)
        for step in left:
            target = self.root / step.path
            if step.before is None:
                target.unlink()
            else:
                self._put_back(step, target, files)
        self.journal.unlink()  # from here on the run is undone, whatever fails
        return newer

    def _put_back(self, step: Step, target: Path, files: Files) -> None:
        old, spare = self.old(step), self.folder / "spare"
        if old.is_symlink() or digest_of(old.read_bytes()) != step.before:
            raise OSError(f"the copy of {step.path} in {PENDING_PATH} is not what it was")
        spare.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        files.copy(old, spare)
        files.replace(spare, target)

    def remove(self, journal: Journal | None, files: Files) -> None:
        """Remove the staging folder, and the folders that an undone run left empty."""
        files.remove_tree(self.folder)
        disk = Disk(self.root)
        made = [
            self.root / folder
            for folder in reversed(journal.folders if journal else ())
            if not disk.look(f"{folder}/x").blocked
        ]
        for folder in [*made, self.folder.parent]:
            with contextlib.suppress(OSError):  # the folder is not empty
                files.remove_folder(folder)


def _state(disk: Disk, step: Step) -> tuple[bool, str | None]:
    """Return whether a step's path can be read, and the digest of the file there."""
    on_disk = disk.look(step.path)
    return on_disk.raw is not None or on_disk.blocked is None, digest_of(on_disk.raw)


# Claims: this user's own record that a journal in a project was written here.
# A repository is not trusted: anybody may have committed a `.targcc/pending/journal.json`, and following such a journal overwrites files.
# So a run stores the digest of its journal outside of every repository, keyed by the project's folder. A journal without a matching
# digest is refused.

_BEGUN = b"begun"


class RunClaim:
    """A run's claim on a project's folder, stored in a folder that only this user can write.

    Args:
        root: The project's folder, resolved.
    """

    def __init__(self, root: Path) -> None:
        self._name = hashlib.sha256(str(root).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def begin(self) -> None:
        """Record that a run of this user is about to write to the folder.

        Raises:
            OSError: No folder of this user is writable.
        """
        self._write(_BEGUN)

    def sign(self, journal: bytes) -> None:
        """Record the digest of the run's journal."""
        self._write(hashlib.sha256(journal).hexdigest().encode())

    def knows(self) -> bool:
        """Return whether a run of this user began to write to the folder and did not end."""
        return self._read() is not None

    def signed(self, journal: bytes) -> bool:
        """Return whether `journal` is the journal of the recorded run."""
        return self._read() == hashlib.sha256(journal).hexdigest().encode()

    def end(self) -> None:
        """Delete the record: the run has ended, or was undone."""
        for folder in _places():
            with contextlib.suppress(OSError):
                (folder / self._name).unlink()

    def _write(self, text: bytes) -> None:
        failure: OSError | None = None
        for folder in _places():
            try:
                _make_own(folder)
                draft = folder / f"{self._name}.{os.getpid()}"
                draft.write_bytes(text)
                draft.replace(folder / self._name)
            except OSError as error:
                failure = failure or error
            else:
                return
        assert failure is not None
        raise failure

    def _read(self) -> bytes | None:
        for folder in _places():
            with contextlib.suppress(OSError):
                if _is_own(folder):
                    return (folder / self._name).read_bytes()
        return None


def _places() -> tuple[Path, ...]:
    """Return this user's state folder, then a fallback below the temporary folder."""
    user = str(os.getuid()) if sys.platform != "win32" else os.environ.get("USERNAME", "user")
    spare = Path(tempfile.gettempdir()) / f"targcc-gen-{user}" / "runs"
    try:
        return _state_folder() / "targcc-gen" / "runs", spare
    except RuntimeError:  # no home folder
        return (spare,)


def _state_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    named = os.environ.get("XDG_STATE_HOME", "")
    return Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "state"


def _make_own(folder: Path) -> None:
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_own(folder):
        raise PermissionError(f"{folder} belongs to somebody else")


def _is_own(folder: Path) -> bool:
    """Return whether only this user can write to the folder; anybody may have created a folder in the temporary folder."""
    for place in (folder, folder.parent):
        status = place.lstat()
        if not stat.S_ISDIR(status.st_mode):
            return False
        if sys.platform != "win32" and (
            status.st_uid != os.getuid() or (place == folder and status.st_mode & 0o022)
        ):
            return False
    return True


# Recovery: readers detect an unfinished run, writers undo it.

_LARGEST_JOURNAL = 64_000_000
_SHOWN = 10


class UnfinishedError(ConflictError):
    """A run was killed while it wrote, and nothing may be planned before that is undone."""

    code = "TG208"
    kind = "unfinished"


def check_finished(root: Path) -> None:
    """Raise when a killed run is not undone yet. Writes nothing.

    Raises:
        UnfinishedError: A killed run is not undone; the message lists the files to restore.
        ConflictError: Another run is writing right now, or the journal is not from this user and this machine.
    """
    pending = Pending(root)
    if not _has_pending(pending):
        return
    with _held(pending):
        journal = _journal_of(pending)
        raise UnfinishedError(
            "a run of targcc-gen was killed while it wrote" + _unfinished_work(pending, journal),
            hint="any command that writes puts that back first, for example: targcc-gen regenerate",
        )


def recover(root: Path, files: Files | None = None) -> list[str]:
    """Undo a killed run; do nothing where there is none.

    Returns:
        The paths written since the kill; these files stay as they are.

    Raises:
        ConflictError: Another run is writing right now, or the journal is not from this user and this machine.
        TargccError: The run cannot be undone automatically.
    """
    files, pending = files or Files(), Pending(root)
    if not _has_pending(pending):
        return []
    newer: list[str] = []
    with _held(pending):
        journal = _journal_of(pending)
        try:
            if journal is not None:
                newer = pending.undo(journal, files)
        except OSError as error:
            raise RollbackError(
                f"a run was killed while it wrote, and undoing it failed: {error}",
                hint=f"the old versions of the files are in {pending.folder}, *.old",
            ) from error
    pending.remove(journal, files)
    RunClaim(root).end()
    return newer


def _has_pending(pending: Pending) -> bool:
    """Return whether a run left its staging folder.

    Raises:
        ConflictError: The path is a link or a file.
    """
    for folder in (pending.folder.parent, pending.folder):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            shown = folder.relative_to(pending.root).as_posix()
            raise ObstacleError(f"{shown} is no folder", hint="remove it and run this again")
    return pending.folder.exists()


def _unfinished_work(pending: Pending, journal: Journal | None) -> str:
    if journal is None:
        return ": nothing of the project was touched yet"
    left, newer = pending.compare(journal)
    lines = [f"  to be put back  {step.path}" for step in left[:_SHOWN]]
    lines += [f"  … and {len(left) - _SHOWN} more"] if len(left) > _SHOWN else []
    lines += [f"  stays as it is  {path}: written since" for path in newer]
    return "\n".join(["", *lines])


def _journal_of(pending: Pending) -> Journal | None:
    """Read the journal; return None when the run was killed before changing a file of the project.

    Raises:
        ConflictError: The journal is not from a run of this user in this folder: a repository may contain anything.
        TargccError: The journal is damaged.
    """
    claim = RunClaim(pending.root)
    if not claim.knows():
        if not any(pending.folder.iterdir()):  # killed before the claim was stored
            return None
        raise _foreign_journal()
    try:
        text = _read(pending.journal)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _foreign_journal() from error
    if not claim.signed(text):
        raise _foreign_journal()
    try:
        return Journal.load(text)
    except ValueError as error:
        raise RollbackError(
            f"{PENDING_PATH}/journal.json is damaged: {error}",
            hint=f"look at the old versions in it, *.old, then remove {PENDING_PATH}",
        ) from error


def _read(path: Path) -> bytes:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OSError("it is no file")
    with path.open("rb") as file:
        text = file.read(_LARGEST_JOURNAL + 1)
    if len(text) > _LARGEST_JOURNAL:
        raise OSError("it is too large")
    return text


def _foreign_journal() -> ConflictError:
    return ForeignJournalError(
        f"{PENDING_PATH} was not left by a run of yours in this folder on this machine: it is not followed",
        hint=f"look at it, *.old are earlier versions of files; then remove it: rm -r {PENDING_PATH}",
    )


@contextlib.contextmanager
def _held(pending: Pending) -> Iterator[None]:
    if pending.guard.is_symlink() or (pending.guard.exists() and not pending.guard.is_file()):
        raise _foreign_journal()
    try:
        file = pending.guard.open("rb")
    except FileNotFoundError:  # killed before the guard file was written
        yield
        return
    with file, guarded(file):
        yield


@contextlib.contextmanager
def guarded(file: BinaryIO) -> Iterator[None]:
    """Hold a lock on an open file; the operating system releases the lock of a killed process.

    Raises:
        ConflictError: Another process holds the lock.
    """
    try:
        _lock(file)
    except OSError as error:
        raise busy() from error
    yield


def busy() -> ConflictError:
    """Return the error for a second run at the same time."""
    return BusyError(
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
