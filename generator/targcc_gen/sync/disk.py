"""The disk of a project: inspect untrusted paths, write files, remove empty folders."""

from __future__ import annotations

import contextlib
import shutil
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from targcc_gen.sync.merge import Style, plain

# Paths: links, folders, and names that differ in case alone.

LARGEST = 64_000_000
"""Size limit in bytes: the generator neither writes nor merges a larger file."""


@dataclass(frozen=True)
class OnDisk:
    """The state of one path.

    Attributes:
        raw: The file's bytes; None where there is no file.
        blocked: Reason why the path must not be written, or None.
        mode: The file's permission bits; None where there is no file.
    """

    raw: bytes | None = None
    blocked: str | None = None
    mode: int | None = None

    @cached_property
    def text(self) -> bytes | None:
        """The file's text with `\\n` line ends; None where there is no file."""
        return None if self.raw is None else plain(self.raw)

    @cached_property
    def style(self) -> Style:
        """The file's line ends and byte order mark."""
        return Style() if self.raw is None else Style.of(self.raw)


class Disk:
    """The project's folder, read-only.

    Args:
        root: The folder; need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[Path, frozenset[str]] = {}
        self._folders: dict[str, tuple[Path, str | None]] = {"": (root, None)}

    def look(self, path: str) -> OnDisk:
        """Return the state of `path`. Links are not followed."""
        folder, _, name = path.rpartition("/")
        place, problem = self._folder(folder)
        return self._file(place, name) if problem is None else OnDisk(blocked=problem)

    def _folder(self, path: str) -> tuple[Path, str | None]:
        """Return a folder's location, and the reason why nothing may be written there, or None. Cached, as the names in folders are."""
        if path not in self._folders:
            above, _, name = path.rpartition("/")
            place, problem = self._folder(above)
            self._folders[path] = place / name, problem or self._folder_problem(place, name)
        return self._folders[path]

    def _folder_problem(self, parent: Path, name: str) -> str | None:
        if twin := self._twin(parent, name):
            return f"there is a folder or file {twin}, which is the same name on some systems"
        place = parent / name
        if place.is_symlink():
            return f"{self._shown(place)} is a link to another place"
        if place.exists() and not place.is_dir():
            return f"{self._shown(place)} is a file, not a folder"
        return None

    def _file(self, parent: Path, name: str) -> OnDisk:
        if twin := self._twin(parent, name):
            return OnDisk(blocked=f"there is {twin}, which is the same name on some systems")
        place = parent / name
        try:
            status = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return OnDisk()
        except OSError as error:
            return OnDisk(blocked=f"it cannot be looked at: {error.strerror}")
        if not stat.S_ISREG(status.st_mode):
            kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder"}
            return OnDisk(blocked=f"it is {kinds.get(stat.S_IFMT(status.st_mode), 'no file')}")
        if status.st_size > LARGEST:
            return OnDisk(blocked=f"it is larger than {LARGEST // 1_000_000} MB")
        return self._regular(place, stat.S_IMODE(status.st_mode))

    def _regular(self, place: Path, mode: int) -> OnDisk:
        try:
            raw = place.read_bytes()
        except OSError as error:
            return OnDisk(blocked=f"it cannot be read: {error.strerror}")
        # Replacing a file does not need write permission on the file; a user who removed the permission meant to protect the file.
        blocked = None if mode & 0o222 else "it is read-only"
        return OnDisk(raw, blocked, mode)

    def _twin(self, parent: Path, name: str) -> str | None:
        """Return the entry of `parent` that differs from `name` in case alone; some file systems treat both as one name."""
        names = self._names_in(parent)
        if name in names:
            return None
        folded = name.casefold()
        twin = next((other for other in names if other.casefold() == folded), None)
        return None if twin is None else self._shown(parent / twin)

    def _names_in(self, folder: Path) -> frozenset[str]:
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(entry.name for entry in folder.iterdir())
            except OSError:
                self._names[folder] = frozenset()
        return self._names[folder]

    def _shown(self, place: Path) -> str:
        return place.relative_to(self.root).as_posix()


# Writes; tests replace `Files` to make any write fail.


class Files:
    """Writes to a folder. Every method either completes or raises OSError."""

    def make_folder(self, folder: Path) -> None:
        """Create a folder whose parent exists."""
        folder.mkdir()

    def write(self, path: Path, content: bytes, *, mode: int | None = None) -> None:
        """Write a file of the generator's own.

        Args:
            path: Path of the file.
            content: The bytes to write.
            mode: Permission bits; None for the default bits.
        """
        with path.open("wb") as file:
            file.write(content)
        if mode is not None:
            path.chmod(mode)

    def copy(self, source: Path, target: Path) -> None:
        """Copy a file with its permissions."""
        shutil.copy2(source, target)

    def replace(self, source: Path, target: Path) -> None:
        """Move a file over a possibly existing file, atomically."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def remove_folder(self, folder: Path) -> None:
        """Remove an empty folder."""
        folder.rmdir()

    def remove_tree(self, folder: Path) -> None:
        """Remove a folder of the generator's own with its contents."""
        shutil.rmtree(folder)


# Empty folders.


def remove_left(root: Path, path: Path) -> None:
    """Remove the compiled files of a removed module, and the folders that are empty now.

    Args:
        root: The folder that stays.
        path: The removed file.
    """
    cache = path.parent / "__pycache__"
    if path.suffix == ".py" and path.is_relative_to(root) and not cache.is_symlink():
        for compiled in cache.glob(f"{path.stem}.*.pyc"):
            compiled.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            cache.rmdir()
    remove_empty(root, path.parent)


def remove_empty(root: Path, folder: Path) -> None:
    """Remove `folder` and its parents below `root`, as long as each folder is empty but for compiled files."""
    while folder != root and folder.is_relative_to(root):
        if folder.is_dir():
            if any(path.name != "__pycache__" for path in folder.iterdir()):
                return
            shutil.rmtree(folder / "__pycache__", ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
        folder = folder.parent
