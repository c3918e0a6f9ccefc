"""What this user's own folder says about a run: that a journal in a project was written here, by this user, for that folder.

A repository is not trusted: anybody may have committed a `.targcc/pending/journal.json`, and whoever follows one overwrites files. So
a run leaves the digest of its journal outside of every repository, under the name of the project's folder, and a journal that has
none is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
from pathlib import Path

_BEGUN = b"begun"


class RunClaim:
    """The claim of a run on a project's folder, kept where only this user writes.

    Args:
        root: The project's folder, resolved.
    """

    def __init__(self, root: Path) -> None:
        self._name = hashlib.sha256(str(root).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def begin(self) -> None:
        """Say that a run of this user's is about to write to the folder.

        Raises:
            OSError: There is no folder of this user's that can be written to.
        """
        self._write(_BEGUN)

    def sign(self, journal: bytes) -> None:
        """Say that this is the journal of that run."""
        self._write(hashlib.sha256(journal).hexdigest().encode())

    def knows(self) -> bool:
        """Whether a run of this user's began to write to the folder and did not end."""
        return self._read() is not None

    def signed(self, journal: bytes) -> bool:
        """Whether this is the journal of that run."""
        return self._read() == hashlib.sha256(journal).hexdigest().encode()

    def end(self) -> None:
        """The run has ended, or was undone."""
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
    """This user's folder for the state of programs; where that cannot be written to, one of the temporary folder's."""
    user = str(os.getuid()) if sys.platform != "win32" else os.environ.get("USERNAME", "user")
    spare = Path(tempfile.gettempdir()) / f"targcc-gen-{user}" / "runs"
    try:
        return _state_folder() / "targcc-gen" / "runs", spare
    except RuntimeError:  # no home
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
    """Whether nobody else can write there; a folder in the temporary folder may have been made by anybody."""
    for place in (folder, folder.parent):
        status = place.lstat()
        if not stat.S_ISDIR(status.st_mode):
            return False
        if sys.platform != "win32" and (
            status.st_uid != os.getuid() or (place == folder and status.st_mode & 0o022)
        ):
            return False
    return True
