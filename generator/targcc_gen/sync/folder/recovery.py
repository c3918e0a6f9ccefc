"""What a killed run left half done: found by whoever looks, undone by whoever writes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from targcc_gen.errors import ConflictError, TargccError
from targcc_gen.render.tree import PENDING_PATH
from targcc_gen.sync.folder.claim import RunClaim
from targcc_gen.sync.folder.files import Files
from targcc_gen.sync.folder.journal import Journal, Pending

_LARGEST_JOURNAL = 64_000_000
_SHOWN = 10


class UnfinishedError(ConflictError):
    """A run was killed while it wrote, and nothing may be planned before that is undone."""

    code = "unfinished"


def check_finished(root: Path) -> None:
    """Make sure that no killed run waits to be undone; nothing is written.

    Raises:
        UnfinishedError: One does; it says what will be put back.
        ConflictError: Another run is writing right now, or what is there is not of this user and this machine.
    """
    pending = Pending(root)
    if not _is_there(pending):
        return
    with _held(pending):
        journal = _journal_of(pending)
        raise UnfinishedError(
            "a run of targcc-gen was killed while it wrote" + _what_waits(pending, journal),
            hint="any command that writes puts that back first, for example: targcc-gen regenerate",
        )


def recover(root: Path, files: Files | None = None) -> list[str]:
    """Undo what a killed run left half done; nothing where there is none.

    Returns:
        The paths that somebody has written to since the kill: they stay as they are.

    Raises:
        ConflictError: Another run is writing right now, or what is there is not of this user and this machine.
        TargccError: What is left cannot be undone by itself.
    """
    files, pending = files or Files(), Pending(root)
    if not _is_there(pending):
        return []
    newer: list[str] = []
    with _held(pending):
        journal = _journal_of(pending)
        try:
            if journal is not None:
                newer = pending.undo(journal, files)
        except OSError as error:
            raise TargccError(
                f"a run was killed while it wrote, and undoing it failed: {error}",
                hint=f"the old versions of the files are in {pending.folder}, *.old",
            ) from error
    pending.remove(journal, files)
    RunClaim(root).end()
    return newer


def _is_there(pending: Pending) -> bool:
    """Whether a run left something.

    Raises:
        ConflictError: There is something that no run leaves there.
    """
    for folder in (pending.folder.parent, pending.folder):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            shown = folder.relative_to(pending.root).as_posix()
            raise ConflictError(f"{shown} is no folder", hint="remove it and run this again")
    return pending.folder.exists()


def _what_waits(pending: Pending, journal: Journal | None) -> str:
    if journal is None:
        return ": nothing of the project was touched yet"
    left, newer = pending.compare(journal)
    lines = [f"  to be put back  {step.path}" for step in left[:_SHOWN]]
    lines += [f"  … and {len(left) - _SHOWN} more"] if len(left) > _SHOWN else []
    lines += [f"  stays as it is  {path}: written since" for path in newer]
    return "\n".join(["", *lines])


def _journal_of(pending: Pending) -> Journal | None:
    """The journal; None when the run was killed before it touched a file of the project.

    Raises:
        ConflictError: It is not of a run of this user's in this folder: a repository may hold anything.
        TargccError: It is damaged.
    """
    claim = RunClaim(pending.root)
    if not claim.knows():
        if not any(pending.folder.iterdir()):  # killed before it could say so
            return None
        raise _not_ours()
    try:
        text = _read(pending.journal)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _not_ours() from error
    if not claim.signed(text):
        raise _not_ours()
    try:
        return Journal.load(text)
    except ValueError as error:
        raise TargccError(
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


def _not_ours() -> ConflictError:
    return ConflictError(
        f"{PENDING_PATH} was not left by a run of yours in this folder on this machine: it is not followed",
        hint=f"look at it, *.old are earlier versions of files; then remove it: rm -r {PENDING_PATH}",
    )


@contextlib.contextmanager
def _held(pending: Pending) -> Iterator[None]:
    if pending.guard.is_symlink() or (pending.guard.exists() and not pending.guard.is_file()):
        raise _not_ours()
    try:
        file = pending.guard.open("rb")
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
