"""The type of a parameter that takes a file: ``async def execute(self, ctx: JobContext, report: File)``."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ...core.errors import FileError
from ...core.kept.limits import LONGEST_CONTENT_TYPE, LONGEST_FILE_NAME
from ...core.kept.references import REFERENCE, FileReference, Here

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
