"""The journal of a run that writes: enough to undo it, in this process or, after a kill, in the next.

`.targcc/pending/` holds the new files, copies of the old ones and `journal.json`, which lists what is to be replaced. It is there
only while a run writes. While its process lives, the operating system keeps the file `running` locked, so that a second run can tell a
run that goes on from one that was killed. Undoing touches only what is still as the run wrote it: whatever a person wrote since stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from targcc_gen.render.tree import LOCK_PATH, PENDING_PATH, path_problem
from targcc_gen.sync.folder.disk import Disk
from targcc_gen.sync.folder.files import Files

_SHELF = 100


@dataclass(frozen=True)
class Step:
    """One file to replace, create or delete.

    Attributes:
        path: POSIX path below the project's folder.
        number: What its new and its old version are called there.
        before: The SHA-256 of its old version; None where there is none.
        after: The SHA-256 of its new version; None where it is to be deleted.
    """

    path: str
    number: int
    before: str | None
    after: str | None


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
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"it is not as it was written: {error}") from error
        for path in [*(step.path for step in journal.steps), *journal.folders]:
            if path not in {LOCK_PATH, "."} and path_problem(path):
                raise ValueError(f"{path!r} {path_problem(path)}")
        return journal


def digest_of(content: bytes | None) -> str | None:
    """The SHA-256 of a file's bytes; None of a file that is not there."""
    return None if content is None else hashlib.sha256(content).hexdigest()


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

    def compare(self, journal: Journal) -> tuple[list[Step], list[str]]:
        """Hold the project's files against the journal, each read once.

        Returns:
            The steps that were made and are still as the run left them, the last one first; and the paths where there is something that
            neither the run wrote nor what was there before.
        """
        disk, left, newer = Disk(self.root), [], []
        for step in journal.steps:
            found = _state(disk, step)
            if found not in {(True, step.before), (True, step.after)}:
                newer.append(step.path)
            elif found == (True, step.after) and step.before != step.after:
                left.append(step)
        return left[::-1], newer

    def undo(self, journal: Journal, files: Files) -> list[str]:
        """Put back what is still as the run left it; may be repeated when it was interrupted.

        Returns:
            The paths that somebody has written to since: they stay as they are.

        Raises:
            OSError: A file could not be put back; the folder stays for another try.
        """
        left, newer = self.compare(journal)
        for step in left:
            target = self.root / step.path
            if step.before is None:
                target.unlink()
            else:
                self._put_back(step, target, files)
        self.journal.unlink()  # from here on it is undone, whatever happens
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
        """Remove the folder, and what an undone run left empty."""
        files.remove_tree(self.folder)
        disk = Disk(self.root)
        made = [
            self.root / folder
            for folder in reversed(journal.folders if journal else ())
            if not disk.look(f"{folder}/x").blocked
        ]
        for folder in [*made, self.folder.parent]:
            with contextlib.suppress(OSError):  # it is not empty
                files.remove_folder(folder)


def _state(disk: Disk, step: Step) -> tuple[bool, str | None]:
    """Whether it can be told what is at a step's path, and the digest of the file there."""
    found = disk.look(step.path)
    return found.raw is not None or found.blocked is None, digest_of(found.raw)
