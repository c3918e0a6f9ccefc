"""Files: the type `File` for arguments and attachments, extracted content, and file stores."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import io
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ...core.errors import FileError
from ...core.stored_values import (
    LARGE,
    LONGEST_ARGUMENTS,
    LONGEST_CONTENT_TYPE,
    REFERENCE,
    FileReference,
    Here,
    is_large,
    may_refer,
    references_in,
    safe_name,
)

# The parameter type of a file: ``async def execute(self, ctx: JobContext, report: File)``.

_CONTENT_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(; ?charset=[\w-]+)?")
_UNKNOWN_TYPE = "application/octet-stream"


class File:
    """A file as a job argument or attachment: a name, a content type and bytes.

    Declare a parameter of type ``File``; callers pass a ``File``, a :class:`~pathlib.Path`, ``bytes`` or a binary file object::

        async def execute(self, ctx: JobContext, report: File) -> None:
            text = report.read_text()

        await scheduler.enqueue(ImportReport, report=File(Path("march.csv")))

    Args:
        source: The content, or its path. A file object is read at once; a path is read when the content is needed.
        name: The file name. Default: the path's or file object's name, else ``file``. Folders and unsafe characters are removed.
        content_type: The content type. Default: guessed from the name.

    Raises:
        TypeError: The source has another type, or a file object in text mode.
    """

    def __init__(
        self,
        source: Path | bytes | BinaryIO | IO[bytes],
        *,
        name: str | None = None,
        content_type: str | None = None,
    ) -> None:
        self._reference: FileReference | None = None
        self._source: Path | bytes | None
        if isinstance(source, Path):
            self._source, given = source, source.name
        elif isinstance(source, bytes | bytearray | memoryview):
            self._source, given = bytes(source), ""
        elif hasattr(source, "read"):
            self._source, given = _all_of(cast("BinaryIO", source)), str(
                getattr(source, "name", "")
            )
        else:
            raise TypeError(
                f"a File is made of a Path, bytes or a binary file object, not of {type(source).__name__}"
            )
        self.name = safe_name(given if name is None else name)
        self.content_type = safe_type(content_type, self.name)

    @classmethod
    def kept(cls, reference: FileReference, source: Path | bytes | None) -> File:
        """Return a file that is stored with a run.

        Args:
            reference: The reference to the stored content.
            source: The content, or its path on this machine; ``None`` while the content is not on this machine.
        """
        made = cls(source or b"", name=reference.name, content_type=reference.content_type)
        made._reference, made._source = reference, source
        return made

    @property
    def source(self) -> Path | bytes:
        """The content, or its path.

        Raises:
            FileError: The content is not on this machine.
        """
        if self._source is None:
            raise FileError(f"{self.name} is not here: a run's files are, while its job runs")
        return self._source

    @property
    def path(self) -> Path:
        """The content's path on this machine, for libraries that need a path. In a job the path is valid until the attempt ends.

        Raises:
            FileError: The content is not on this machine, or is in memory and not in a file.
        """
        source = self.source
        if not isinstance(source, Path):
            raise FileError(f"{self.name} is in no file here: read_bytes() and open() have it")
        return source

    @property
    def size(self) -> int:
        """The size in bytes.

        Raises:
            FileError: The file at the path cannot be read.
        """
        if self._reference is not None:
            return self._reference.size
        if isinstance(self._source, Path):
            return _stat(self._source)
        return len(self._source or b"")

    def open(self) -> BinaryIO:
        """Open the content for reading: ``with report.open() as content``. A file may be opened repeatedly.

        Raises:
            FileError: The content is not on this machine, or cannot be read.
        """
        source = self.source
        if isinstance(source, bytes):
            return io.BytesIO(source)
        try:
            return source.open("rb")
        except OSError as error:
            raise FileError(f"{self.name} cannot be read: {error.strerror}") from None

    def read_bytes(self) -> bytes:
        """Return the whole content.

        Raises:
            FileError: The content is not on this machine, or cannot be read.
        """
        with self.open() as content:
            return content.read()

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the whole content, decoded as text.

        Raises:
            FileError: The content is not on this machine, or cannot be read.
            UnicodeDecodeError: The content is not text in this encoding.
        """
        return self.read_bytes().decode(encoding)

    def __repr__(self) -> str:
        return f"File({self.name!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema by which pydantic validates a file."""
        del source, handler
        return core_schema.with_info_plain_validator_function(_validated)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the JSON schema for a small file in an API request; a large file is sent in a multipart form."""
        del schema, handler
        return {
            "type": "object",
            "title": "File",
            "properties": {
                "name": {"type": "string"},
                "content": {"type": "string", "contentEncoding": "base64"},
                "content_type": {"type": "string"},
            },
            "required": ["content"],
            "additionalProperties": False,
        }


def _validated(value: Any, info: core_schema.ValidationInfo) -> File:
    if isinstance(value, File):
        return value
    if isinstance(value, Mapping):
        if isinstance(info.context, Here) and REFERENCE in value:
            reference = FileReference.of(value)
            return File.kept(reference, info.context.find(reference.sha256))
        return _from_json(value)
    try:
        return File(value)
    except TypeError:
        raise ValueError(
            "a file is a Path, bytes, a binary file object or a File; in JSON an object with its name and content in base64"
        ) from None


def _from_json(value: Mapping[str, Any]) -> File:
    if not {"content"} <= value.keys() <= {"content", "name", "content_type"} or not all(
        isinstance(item, str) for item in value.values()
    ):
        raise ValueError('a file in JSON is {"name": "a.csv", "content": "<base64>"}')
    try:
        content = base64.b64decode(value["content"], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the content of a file in JSON is base64") from None
    return File(content, name=value.get("name"), content_type=value.get("content_type"))


def safe_type(given: str | None, name: str) -> str:
    """Return ``given`` if that is a valid content type, else the content type that the file name suggests."""
    if given and len(given) <= LONGEST_CONTENT_TYPE and _CONTENT_TYPE.fullmatch(given):
        return given
    import mimetypes  # imported only by processes that handle files

    return mimetypes.guess_type(name)[0] or _UNKNOWN_TYPE


def _all_of(source: BinaryIO) -> bytes:
    content = source.read()
    if not isinstance(content, bytes):
        raise TypeError("a File is made of a file object that was opened in binary mode")
    return content


def _stat(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise FileError(f"{path.name} cannot be read: {error.strerror}") from None


# Content to store with a run: extracted from its arguments, or attached by its job.

_PIECE = 2**20
_WIDEST = 4
"""Maximum bytes for a character in UTF-8."""
_JSON = "application/json"


class ContentKind(StrEnum):
    """The content's role in a run."""

    ARGUMENTS = "arguments"
    FILE = "file"
    RESULT = "result"


@dataclass(frozen=True, kw_only=True)
class Content:
    """Content to store with a run.

    Args:
        kind: The content's role in the run.
        file: The name, content type and bytes.
        sha256: SHA-256 in hexadecimal.
        size: Size in bytes.
        store: The file store that holds the content, by name; ``None`` stores the content in ``c_JobBlob``.
        reference: The reference to the content in that store.
    """

    kind: ContentKind
    file: File
    sha256: str
    size: int
    store: str | None = None
    reference: str | None = None

    @classmethod
    def of(cls, kind: ContentKind, file: File) -> Content:
        """Return a file's content, after reading the file once to compute hash and size.

        Raises:
            FileError: The file cannot be read.
        """
        digest, size = hashlib.sha256(), 0
        with file.open() as source:
            while piece := source.read(_PIECE):
                digest.update(piece)
                size += len(piece)
        return cls(kind=kind, file=file, sha256=digest.hexdigest(), size=size)

    def stored(self, store: str, reference: str) -> Content:
        """Return a copy that names the file store and the reference in that store."""
        return replace(self, store=store, reference=reference)


class Taken:
    """Collect a run's files and large arguments.

    Args:
        most: Maximum bytes in a file or a large argument.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[tuple[ContentKind, str], Content] = {}

    @property
    def contents(self) -> tuple[Content, ...]:
        """All collected content, without duplicates."""
        return tuple(self._found.values())

    def file(self, file: File) -> dict[str, Any]:
        """Collect a file; return the reference that replaces the file in the arguments.

        Raises:
            FileError: The file is too large, or cannot be read.
        """
        check_size(file.name, file.size, self._most)
        content = self._add(ContentKind.FILE, file)
        named = FileReference(content.sha256, file.name, content.size, file.content_type)
        return named.plain()

    @staticmethod
    def is_too_large(text: str) -> bool:
        """Return whether arguments in JSON need :meth:`large`: they are too large for a row's column, or contain text like a reference."""
        wide = len(text) * _WIDEST > LONGEST_ARGUMENTS
        return (wide and len(text.encode("utf-8", "surrogatepass")) > LONGEST_ARGUMENTS) or (
            may_refer(text)
        )

    def large(self, arguments: Mapping[str, Any], *, but: frozenset[str]) -> dict[str, Any]:
        """Collect the largest arguments until the rest is small enough; return the arguments with references in their place.

        An argument that looks like a reference is collected too, whatever its size.

        Args:
            arguments: The arguments, as JSON values.
            but: The arguments to leave in place, whatever their size: secret arguments, which are encrypted in place.

        Raises:
            FileError: An argument is too large to be stored.
        """
        reduced = dict(arguments)
        texts = {name: _written(value) for name, value in reduced.items()}
        total = sum(len(text) + len(name) + 8 for name, text in texts.items())
        for name in sorted(texts.keys() - but, key=lambda one: -len(texts[one])):
            text = texts[name]
            if total <= LONGEST_ARGUMENTS and not self._misleads(reduced[name]):
                continue
            check_size(f"the argument {name}", len(text), self._most)
            content = self._add(
                ContentKind.ARGUMENTS, File(text, name=f"{name}.json", content_type=_JSON)
            )
            reduced[name] = {LARGE: content.sha256, "size": len(text)}
            total -= len(text)
        return reduced

    def _misleads(self, value: Any) -> bool:
        """Return whether a value looks like a reference but is none."""
        return is_large(value) or any(
            (ContentKind.FILE, str(reference[REFERENCE])) not in self._found
            for reference in references_in(value)
        )

    def _add(self, kind: ContentKind, file: File) -> Content:
        content = Content.of(kind, file)
        return self._found.setdefault((kind, content.sha256), content)


def check_size(what: str, size: int, most: int) -> None:
    """Check a file's or argument's size.

    Raises:
        FileError: The size exceeds ``most`` bytes.
    """
    if size > most:
        raise FileError(
            f"{what} has {size:,} bytes, and may have {most:,}: TARGCC_MAX_FILE_BYTES says how many"
        )


def _written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


# File stores, for projects that store files outside the database: the protocol, and a store in a folder.


class FileStore(Protocol):
    """A store for file content outside the database, such as an object store.

    Define ``def make_file_store() -> FileStore`` in the project's ``services.py``. Methods are called from several threads at the same time.
    A method that raises an exception has failed.
    """

    name: str
    """The store's name, at most 50 characters. Each stored row records its store's name."""

    def put(self, content: BinaryIO, size: int, sha256: str) -> str:
        """Store content; return a unique reference, at most 500 characters long."""

    def open(self, reference: str) -> BinaryIO:
        """Open a reference's content; the caller reads the content once and closes the file.

        Raises:
            FileNotFoundError: The store has no content for the reference.
        """

    def delete(self, reference: str) -> None:
        """Delete a reference's content; do nothing if the content is already gone."""

    def references(self, before: datetime) -> Iterator[str]:
        """Yield the references for content stored before an instant; the caller deletes content that no run refers to."""


class FolderStore:
    """A file store in a folder that all nodes can reach.

    Args:
        folder: The folder; created when the first file is stored.
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
