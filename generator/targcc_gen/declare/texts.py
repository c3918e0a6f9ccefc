"""The files of a project with edits that are not written yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

_LARGEST = 2_000_000


class Texts:
    """Files below a folder, and what they are to be.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._new: dict[str, bytes] = {}

    def read(self, path: str) -> bytes | None:
        """The bytes of a file with the edits; None where there is none, or it is too large."""
        return self._new[path] if path in self._new else self._on_disk(path)

    def put(self, path: str, content: bytes) -> None:
        """Let a file be this."""
        self._new[path] = content

    def edited(self, path: str, edit: Callable[[str], str | None]) -> bytes | None:
        """The bytes of a file after an edit of its text, which sees `\\n` alone; None where that cannot be."""
        data = self.read(path)
        try:
            text = (data or b"").decode()
        except UnicodeDecodeError:
            return None
        windows = "\r\n" in text
        if data is None or (windows and text.count("\r\n") != text.count("\n")):
            return None
        new = edit(text.replace("\r\n", "\n"))
        if new is None:
            return None
        return (new.replace("\n", "\r\n") if windows else new).encode()

    def changes(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Path, bytes on disk and new bytes of each file that is to be another."""
        for path, after in sorted(self._new.items()):
            before = self._on_disk(path)
            if before is not None and before != after:
                yield path, before, after

    def _on_disk(self, path: str) -> bytes | None:
        place = self.root / path
        try:
            return place.read_bytes() if place.stat().st_size <= _LARGEST else None
        except OSError:
            return None
