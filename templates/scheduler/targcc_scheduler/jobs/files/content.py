"""Content that is to be kept with a run, taken out of its arguments or attached by its job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ...core.errors import FileError
from ...core.kept.limits import LONGEST_ARGUMENTS
from ...core.kept.references import (
    LARGE,
    REFERENCE,
    FileReference,
    is_large,
    may_refer,
    references_in,
)
from .file import File

_PIECE = 2**20
_WIDEST = 4
"""Bytes of one character in UTF-8."""
_JSON = "application/json"


class ContentKind(StrEnum):
    """What content is to its run."""

    ARGUMENTS = "arguments"
    FILE = "file"
    RESULT = "result"


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is to be kept.

    Args:
        kind: What it is to its run.
        file: Has its name, type and bytes.
        sha256: Of the bytes.
        size: How many they are.
        store: The store that has it; ``None``: it goes to ``c_JobBlob``.
        reference: What it is called there.
    """

    kind: ContentKind
    file: File
    sha256: str
    size: int
    store: str | None = None
    reference: str | None = None

    @classmethod
    def of(cls, kind: ContentKind, file: File) -> Content:
        """A file, read once for its hash.

        Raises:
            FileError: it cannot be read.
        """
        digest, size = hashlib.sha256(), 0
        with file.open() as source:
            while piece := source.read(_PIECE):
                digest.update(piece)
                size += len(piece)
        return cls(kind=kind, file=file, sha256=digest.hexdigest(), size=size)

    def stored(self, store: str, reference: str) -> Content:
        """The same, once a store has it."""
        return replace(self, store=store, reference=reference)


class Taken:
    """What is taken out of the arguments of one run.

    Args:
        most: Bytes of a file, or of a large argument, at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[tuple[ContentKind, str], Content] = {}

    @property
    def contents(self) -> tuple[Content, ...]:
        """All of it, each content once."""
        return tuple(self._found.values())

    def file(self, file: File) -> dict[str, Any]:
        """Take a file; what stands in its place.

        Raises:
            FileError: it is too large, or cannot be read.
        """
        check_size(file.name, file.size, self._most)
        content = self._add(ContentKind.FILE, file)
        named = FileReference(content.sha256, file.name, content.size, file.content_type)
        return named.plain()

    @staticmethod
    def is_too_large(text: str) -> bool:
        """Whether arguments, written as JSON, do not stand in a run's row as they are; also those that may look as if some had been taken."""
        wide = len(text) * _WIDEST > LONGEST_ARGUMENTS
        return (wide and len(text.encode("utf-8", "surrogatepass")) > LONGEST_ARGUMENTS) or (
            may_refer(text)
        )

    def large(self, arguments: Mapping[str, Any], *, but: frozenset[str]) -> dict[str, Any]:
        """The arguments with the largest taken until the rest is small enough.

        Args:
            arguments: As JSON holds them.
            but: Those that stay, however large: secret ones, which are sealed where they stand.

        Raises:
            FileError: one is too large to be kept.
        """
        found = dict(arguments)
        texts = {name: _written(value) for name, value in found.items()}
        total = sum(len(text) + len(name) + 8 for name, text in texts.items())
        for name in sorted(texts.keys() - but, key=lambda one: -len(texts[one])):
            text = texts[name]
            if total <= LONGEST_ARGUMENTS and not self._misleads(found[name]):
                continue
            check_size(f"the argument {name}", len(text), self._most)
            content = self._add(
                ContentKind.ARGUMENTS, File(text, name=f"{name}.json", content_type=_JSON)
            )
            found[name] = {LARGE: content.sha256, "size": len(text)}
            total -= len(text)
        return found

    def _misleads(self, value: Any) -> bool:
        """Whether a value looks like a reference and is none."""
        return is_large(value) or any(
            (ContentKind.FILE, str(one[REFERENCE])) not in self._found
            for one in references_in(value)
        )

    def _add(self, kind: ContentKind, file: File) -> Content:
        content = Content.of(kind, file)
        return self._found.setdefault((kind, content.sha256), content)


def check_size(what: str, size: int, most: int) -> None:
    """Refuse what is too large.

    Raises:
        FileError: it is.
    """
    if size > most:
        raise FileError(
            f"{what} has {size:,} bytes, and may have {most:,}: TARGCC_MAX_FILE_BYTES says how many"
        )


def _written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
