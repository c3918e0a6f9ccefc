"""Files as arguments and attachments: the type `File`, their content, and stores."""

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
    LONGEST_FILE_NAME,
    REFERENCE,
    FileReference,
    Here,
    is_large,
    may_refer,
    references_in,
)

# The type of a parameter that takes a file: ``async def execute(self, ctx: JobContext, report: File)``.

_SEPARATORS = re.compile(r"[/\\]")
_UNWANTED = re.compile(
    '[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ufeff\\ud800-\\udfff<>:"|?*]'
)
_DEVICES = {"CON", "PRN", "AUX", "NUL"} | {
    f"{port}{one}" for port in ("COM", "LPT") for one in range(10)
}
"""What is no file on Windows, whatever stands after the first dot."""
_CONTENT_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(; ?charset=[\w-]+)?")
_UNKNOWN_TYPE = "application/octet-stream"


class File:
    """A file: what ``enqueue`` is given, and what the job gets.

    A parameter of this type also takes a :class:`~pathlib.Path`, ``bytes`` or a binary file object that can be read from a place twice.

    Args:
        source: The content, or where it is.
        name: What it is called. Default: the name of the path or file object, else ``file``.
        content_type: Default: by the name.

    Raises:
        TypeError: the source is none of these.
        FileError: it is not a file that can be read.
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
        """A file that is kept with a run.

        Args:
            reference: Which.
            source: Its content, or where it is on this machine; ``None``: it is not here yet.
        """
        made = cls(source or b"", name=reference.name, content_type=reference.content_type)
        made._reference, made._source = reference, source
        return made

    @property
    def source(self) -> Path | bytes:
        """The content, or where it is.

        Raises:
            FileError: it is not here.
        """
        if self._source is None:
            raise FileError(f"{self.name} is not here: a run's files are, while its job runs")
        return self._source

    @property
    def path(self) -> Path:
        """Where the content is on this machine, for libraries that want a path; in a job it is there until the attempt ends.

        Raises:
            FileError: it is in no file.
        """
        source = self.source
        if not isinstance(source, Path):
            raise FileError(f"{self.name} is in no file here: read_bytes() and open() have it")
        return source

    @property
    def size(self) -> int:
        """Bytes."""
        if self._reference is not None:
            return self._reference.size
        if isinstance(self._source, Path):
            return _stat(self._source)
        return len(self._source or b"")

    def open(self) -> BinaryIO:
        """The content to be read, as often as it is opened: ``with report.open() as content``.

        Raises:
            FileError: it is not there.
        """
        source = self.source
        if isinstance(source, bytes):
            return io.BytesIO(source)
        try:
            return source.open("rb")
        except OSError as error:
            raise FileError(f"{self.name} cannot be read: {error.strerror}") from None

    def read_bytes(self) -> bytes:
        """The whole content."""
        with self.open() as content:
            return content.read()

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole content as text."""
        return self.read_bytes().decode(encoding)

    def __repr__(self) -> str:
        return f"File({self.name!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic reads one."""
        del source, handler
        return core_schema.with_info_plain_validator_function(_validated)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """How the API takes a small one within JSON; a large one comes as a part of a form."""
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
        isinstance(one, str) for one in value.values()
    ):
        raise ValueError('a file in JSON is {"name": "a.csv", "content": "<base64>"}')
    try:
        content = base64.b64decode(value["content"], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the content of a file in JSON is base64") from None
    return File(content, name=value.get("name"), content_type=value.get("content_type"))


def safe_name(name: str) -> str:
    """A file's name without a path, and without what some system cannot have in one; the end of one that is too long."""
    last = _UNWANTED.sub("_", _SEPARATORS.split(name)[-1])
    short = last.encode()[-LONGEST_FILE_NAME:].decode("utf-8", "ignore").strip(" .")
    if short.partition(".")[0].rstrip().upper() in _DEVICES:
        short = f"_{short}"
    return short or "file"


def safe_type(given: str | None, name: str) -> str:
    """A content type: the given one if it is one, else that which a name suggests."""
    if given and len(given) <= LONGEST_CONTENT_TYPE and _CONTENT_TYPE.fullmatch(given):
        return given
    import mimetypes  # only where there are files

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


# Content that is to be kept with a run, taken out of its arguments or attached by its job.

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


# Where files are kept, if not in the database: what a store of a project's own does, and one that keeps them in a folder.


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
