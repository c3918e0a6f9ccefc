"""Create files that only their owner can read: by file mode, and on Windows by access list.

Windows has no file mode; a new file inherits the access list of its folder. The system's ``icacls`` changes the list. The program is called
by its full path, and accounts by their well-known SIDs, which are the same in every language.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger("targcc.core.owner_only")

OWNER, SYSTEM, ADMINISTRATORS = "*S-1-3-4", "*S-1-5-18", "*S-1-5-32-544"
EVERYONE, USERS, SIGNED_IN = "*S-1-1-0", "*S-1-5-32-545", "*S-1-5-11"
_PATIENCE = 30
"""The time limit of a call in seconds."""
Run = Callable[[Sequence[str]], tuple[int, str]]


def create(file: Path, windows: Windows | None = None) -> bool:
    """Create an empty file that only its owner can read, from the first moment; return whether the file was created.

    Raises:
        OSError: The file cannot be created.
    """
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    if (system := windows or WINDOWS) is not None:
        system.restrict(file)
    return True


class Windows:
    """The access lists of Windows.

    Args:
        run: Run a program; return its exit status and its output.
        folder: The folder of the system's own programs.
    """

    def __init__(self, run: Run, folder: str) -> None:
        self._run = run
        self._icacls = f"{folder}\\icacls.exe"
        self._followed: set[Path] = set()

    @property
    def advice(self) -> str:
        """Return the command with which a user restricts a file."""
        return f"icacls FILE /inheritance:r /grant:r {OWNER}:F {SYSTEM}:F"

    def restrict(self, file: Path) -> None:
        """Restrict a file to its owner, the system and the administrators, who could take the file anyway."""
        grants = [f"{sid}:F" for sid in (OWNER, SYSTEM, ADMINISTRATORS)]
        status, output = self._run(
            [self._icacls, str(file.absolute()), "/inheritance:r", "/grant:r", *grants, "/q"]
        )
        if status:
            log.warning("others may read %s: icacls says %s", file, output.strip() or status)

    def is_shared(self, file: Path) -> bool:
        """Return whether the access list of a file names everybody, all users or all signed-in users."""
        path = str(file.absolute())
        return any(
            path.casefold() in self._run([self._icacls, path, "/findsid", sid, "/q"])[1].casefold()
            for sid in (EVERYONE, USERS, SIGNED_IN)
        )

    def follow(self, file: Path, beside: Sequence[Path]) -> None:
        """Restrict the files beside a private file, because such files inherit the access list of the folder. Each file is handled once."""
        new = [path for path in beside if path not in self._followed and path.exists()]
        if new and not self.is_shared(file):
            for path in new:
                self.restrict(path)
        self._followed.update(new)


def _run(command: Sequence[str]) -> tuple[int, str]:
    import subprocess  # imported late: needed on Windows only

    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_PATIENCE,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return -1, str(error)
    return done.returncode, done.stdout + done.stderr


def _system_folder() -> str:
    """Return the folder of Windows' programs, read from the system, because an environment variable may be wrong."""
    import ctypes

    buffer = ctypes.create_unicode_buffer(260)
    system: Any = ctypes  # mypy knows no ``windll`` on other systems
    system.windll.kernel32.GetSystemDirectoryW(buffer, len(buffer))
    return buffer.value


WINDOWS = Windows(_run, _system_folder()) if sys.platform == "win32" else None
"""The access lists of this system; ``None`` where the system is not Windows."""
