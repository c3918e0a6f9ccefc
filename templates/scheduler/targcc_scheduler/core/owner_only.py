"""Files that nobody but their owner reads: by their mode, and on Windows by their access list.

Windows has no mode; a new file has the access list of its folder. ``icacls`` of the system changes it, named by its whole path and with accounts by
their well-known numbers, which are the same in every language.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger("targcc.core.files.owner_only")

OWNER, SYSTEM, ADMINISTRATORS = "*S-1-3-4", "*S-1-5-18", "*S-1-5-32-544"
EVERYONE, USERS, SIGNED_IN = "*S-1-1-0", "*S-1-5-32-545", "*S-1-5-11"
_PATIENCE = 30
"""Seconds."""
Run = Callable[[Sequence[str]], tuple[int, str]]


def create(file: Path, windows: Windows | None = None) -> bool:
    """Make an empty file that is its owner's alone from its first moment; whether it was not there yet.

    Raises:
        OSError: it cannot be made.
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
        run: Runs a program; its status and what it prints.
        folder: Where the system's own programs are.
    """

    def __init__(self, run: Run, folder: str) -> None:
        self._run = run
        self._icacls = f"{folder}\\icacls.exe"
        self._followed: set[Path] = set()

    @property
    def advice(self) -> str:
        """The command that a person gives for it."""
        return f"icacls FILE /inheritance:r /grant:r {OWNER}:F {SYSTEM}:F"

    def restrict(self, file: Path) -> None:
        """Leave a file to its owner, the system and the administrators, who could take it anyway."""
        grants = [f"{one}:F" for one in (OWNER, SYSTEM, ADMINISTRATORS)]
        status, said = self._run(
            [self._icacls, str(file.absolute()), "/inheritance:r", "/grant:r", *grants, "/q"]
        )
        if status:
            log.warning("others may read %s: icacls says %s", file, said.strip() or status)

    def is_shared(self, file: Path) -> bool:
        """Whether all users, or everybody, have a place in its access list."""
        path = str(file.absolute())
        return any(
            path.casefold() in self._run([self._icacls, path, "/findsid", one, "/q"])[1].casefold()
            for one in (EVERYONE, USERS, SIGNED_IN)
        )

    def follow(self, file: Path, beside: Sequence[Path]) -> None:
        """Give the files beside a private one, which its folder's list was given to, the same list; each once."""
        new = [one for one in beside if one not in self._followed and one.exists()]
        if new and not self.is_shared(file):
            for one in new:
                self.restrict(one)
        self._followed.update(new)


def _run(command: Sequence[str]) -> tuple[int, str]:
    import subprocess  # other systems do without it

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
    """Where Windows has its programs; asked of the system, since a variable can say anything."""
    import ctypes

    buffer = ctypes.create_unicode_buffer(260)
    system: Any = ctypes  # which has no ``windll`` elsewhere
    system.windll.kernel32.GetSystemDirectoryW(buffer, len(buffer))
    return buffer.value


WINDOWS = Windows(_run, _system_folder()) if sys.platform == "win32" else None
"""The system that this process runs on, if it is Windows."""
