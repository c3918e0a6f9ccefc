"""Where files are kept, if not in the database: what a store of a project's own does, and one that keeps them in a folder."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from ...core.errors import FileError

_PIECE = 2**20


class FileStore(Protocol):
    """Keeps content under references of its own. Called from threads, from several at a time; any exception means that it did not work.

    A project's ``services.py`` has ``def make_file_store() -> FileStore``.
    """

    name: str
    """Its name, at most 50 characters: rows remember which store has their content."""

    def put(self, content: BinaryIO, size: int, sha256: str) -> str:
        """Keep content and return its reference, at most 500 characters, which no other content has."""

    def open(self, reference: str) -> BinaryIO:
        """The content, to be read once and closed.

        Raises:
            FileNotFoundError: there is none.
        """

    def delete(self, reference: str) -> None:
        """Remove it; nothing happens when it is gone."""

    def references(self, before: datetime) -> Iterator[str]:
        """All that was put before an instant: what no run has is removed."""


class FolderStore:
    """Files in a folder that all nodes reach.

    Args:
        folder: The folder; made when the first file is put.
    """

    name = "folder"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, content: BinaryIO, size: int, sha256: str) -> str:
        """See :class:`FileStore`."""
        del size
        reference = f"{sha256[:2]}/{uuid.uuid4().hex}"
        path = self._path(reference)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partly = path.with_suffix(".part")
        try:
            with partly.open("xb") as file:
                while piece := content.read(_PIECE):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            partly.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                partly.unlink()
            raise
        return reference

    def open(self, reference: str) -> BinaryIO:
        """See :class:`FileStore`."""
        return self._path(reference).open("rb")

    def delete(self, reference: str) -> None:
        """See :class:`FileStore`."""
        self._path(reference).unlink(missing_ok=True)

    def references(self, before: datetime) -> Iterator[str]:
        """See :class:`FileStore`."""
        for path in self._folder.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):  # removed by another node
                if datetime.fromtimestamp(path.stat().st_mtime, UTC) < before:
                    yield path.relative_to(self._folder).as_posix()

    def _path(self, reference: str) -> Path:
        path = (self._folder / reference).resolve()
        if not path.is_relative_to(self._folder.resolve()):
            raise FileError("a reference that leads out of the folder of files")
        return path
