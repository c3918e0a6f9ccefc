"""Bound, clean and serialise values of jobs before storage: texts, tracebacks, metadata, references to files.

Files, and arguments that are stored separately, are stored whole or refused: ``TARGCC_MAX_FILE_BYTES``.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import GeneratorType
from typing import Any

from . import masking
from .masking import MASK, looks_secret, mask
from .text import clean

# Limits of stored texts. A longer text is shortened with a mark that states the number of characters left out; none raises an error.

LONGEST_MESSAGE = 4_000
"""Characters of a result's or an exception's message."""
LONGEST_NOTE = 200
"""Characters of a message within a line of a run's state history."""
LONGEST_STACK_TRACE = 50_000
"""Characters of a traceback; a longer traceback keeps its beginning and its end."""
LONGEST_METADATA = 100_000
"""Characters of a result's metadata as JSON, approximately."""
LONGEST_METADATA_TEXT = 10_000
"""Characters of a text within the metadata."""
LONGEST_METADATA_KEY = 200
"""Characters of a key within the metadata."""
DEEPEST_METADATA = 20
"""Levels of nested lists and objects in the metadata."""
LONGEST_LOG_LINE = 20_000
"""Characters of a line of a run's log."""
LONGEST_LOG_VALUE = 10_000
"""Characters of a value in a line of a run's log."""
MOST_LOG_LINES = 10_000
"""Lines of an attempt's log."""
LONGEST_ARGUMENTS = 65_536
"""Bytes of a run's arguments as JSON; if larger, the largest arguments go to ``c_JobBlob``, or to the project's file store."""
MOST_BYTES = 64 * 2**20
"""The default limit in bytes of a file, and of an argument that is stored separately."""
LONGEST_FILE_NAME = 200
"""Bytes of a file's name in UTF-8."""
LONGEST_CONTENT_TYPE = 100
"""Characters of a file's content type."""


# Texts of jobs in stored form: bounded in length, without secrets, without characters that a database refuses.
#
# An object whose own code fails to give a text is stored as a text that states the failure.

# Not kind.__name__: a metaclass may override it.
_name_of_type = type.__dict__["__name__"].__get__
_qualified_name_of_type = type.__dict__["__qualname__"].__get__
_module_of_type = type.__dict__["__module__"].__get__
_PREFIX = 100
"""The maximum length of a prefix that marks a secret, such as ``Bearer``."""


def kept_text(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Mask, clean and shorten a text to ``longest`` characters plus the number left out.

    The text is cut before masking, so that the cost does not depend on the length of the text. A secret across the cut is left out as a
    whole.
    """
    length = str.__len__(text)
    margin = masking.KNOWN.longest + _PREFIX
    window = str.__getitem__(text, slice(longest + margin))  # also converts a subclass to ``str``
    shown = clean(mask(window))
    if length <= longest + margin:
        return _cut(shown, longest)
    shown = shown[: max(min(longest, len(shown) - margin), 0)]
    return f"{shown}… ({length - len(shown)} more characters)"


def kept_ends(text: str, longest: int = LONGEST_STACK_TRACE) -> str:
    """Mask, clean and shorten a text in its middle; the end begins after any secret that the cut may have split."""
    length = str.__len__(text)
    margin = masking.KNOWN.longest + _PREFIX
    half = longest // 2
    if length <= longest + 2 * margin:
        return _both_ends(clean(mask(str.__getitem__(text, slice(None)))), longest)
    head = clean(mask(str.__getitem__(text, slice(half + margin))))
    tail = clean(mask(_from_third_word(str.__getitem__(text, slice(length - half - margin, None)))))
    return _joined(head[: max(min(half, len(head) - margin), 0)], tail[margin:][-half:], length)


def type_name(value: object) -> str:
    """Return the name of the class of ``value``, bypassing overrides by the class or its metaclass."""
    name: str = _name_of_type(type(value))
    return name


def text_of(value: object, longest: int = LONGEST_MESSAGE) -> str:
    """Return ``str(value)`` in stored form, or a text that states the failure."""
    kind = type(value)
    try:
        if issubclass(kind, bytes | bytearray):
            value = repr(bytes(value[: longest * 2]))  # type: ignore[index]
        return kept_text(value if issubclass(kind, str) else str(value), longest)  # type: ignore[arg-type]
    except BaseException as error:  # noqa: BLE001 - whatever it raises is no fault of who asks
        return f"<its text cannot be shown: {type_name(error)}>"


def exception_line(error: BaseException) -> str:
    """Format an exception like the last line of its traceback, in stored form; only the first line of the message is used."""
    kind = type(error)
    name, module = _qualified_name_of_type(kind), text_of(_module_of_type(kind), 200)
    if module not in {"builtins", "__main__"}:
        name = f"{module}.{name}"
    text = next(iter(text_of(error).strip().splitlines()), "")
    return f"{name}: {text}" if text else name


def _cut(text: str, longest: int) -> str:
    left_out = len(text) - longest
    return text if left_out <= 0 else f"{text[:longest]}… ({left_out} more characters)"


def _both_ends(text: str, longest: int) -> str:
    half = longest // 2
    if len(text) <= longest:
        return text
    return _joined(text[:half], text[-half:], len(text))


def _joined(head: str, tail: str, length: int) -> str:
    return f"{head}\n… ({length - len(head) - len(tail)} more characters) …\n{tail}"


def _from_third_word(text: str) -> str:
    """Drop the first two words: the first may be the end of a split secret, or of the ``Bearer`` before the second."""
    return (text.split(maxsplit=2) + [""] * 3)[2]


# Tracebacks of failed attempts in stored form.

_HERE = str(Path(__file__).resolve().parents[2])  # the scheduler's package


def stack_trace(error: object) -> str:
    """Return the traceback from the job's own code on, in stored form; do not raise, whatever the exception's own code does."""
    if not issubclass(type(error), BaseException):
        return f"<the exception of the result is of type {type_name(error)}>"
    try:
        return kept_ends(_formatted(error))  # type: ignore[arg-type]
    except BaseException as problem:  # noqa: BLE001 - the exception's own code may raise anything
        line = exception_line(error)  # type: ignore[arg-type]
        return f"<its traceback cannot be shown ({type_name(problem)})>\n{line}"


def _formatted(error: BaseException) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_HERE):
        frame = frame.tb_next
    exceptions = traceback.TracebackException(
        type(error), error, frame or error.__traceback__, compact=True
    )
    return "".join(itertools.islice(exceptions.format(), LONGEST_STACK_TRACE))


# Metadata of a result as JSON. Any metadata of a job results in JSON that can be stored and read back.
#
# A value that JSON or a database cannot hold is replaced by a text that says so. The walk is bounded, so that endless iterables end.

_LARGEST_INT = 2**63
_NUMBER_SIZE = 8  # characters, about
_SEQUENCES = (list, tuple, set, frozenset, GeneratorType)


_MARK = re.compile(r"… \((more than|the rest cannot|it contains) .*\)", re.DOTALL)
"""The mark in place of the remaining items, or of a container."""
_NOT_KEPT = re.compile(
    rf"{_MARK.pattern}|<it cannot be kept: .*>|.*… \(\d+ more characters\)", re.DOTALL
)


def is_kept(value: object) -> bool:
    """Return whether a value read back from metadata is the job's whole value. Items within a list or an object are not checked."""
    if isinstance(value, list):
        return not value or not (isinstance(value[-1], str) and _MARK.fullmatch(value[-1]))
    return not isinstance(value, str) or (MASK not in value and not _NOT_KEPT.fullmatch(value))


def metadata_json(metadata: object) -> str | None:
    """Return the metadata as JSON; ``None`` for no metadata."""
    encoder = _Encoder()
    value = encoder.encode(metadata)
    if value is None or value == {}:
        return None
    value = value if isinstance(value, dict) else {"value": value}
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


class _Mark(str):
    """A mark in place of items that are not stored."""

    __slots__ = ()


class _Encoder:
    """Encode any value as JSON types, within a budget of characters."""

    def __init__(self) -> None:
        self._left = LONGEST_METADATA
        self._open: list[int] = []
        """The ids of the containers on the current path."""
        self._rules: Sequence[tuple[Any, Callable[[Any], Any]]] = (
            ((str, bytes, bytearray), self._text),
            (int, self._int),
            (float, _float),
            (dict, lambda value: self._object(value, dict.items(value))),
            (Mapping, lambda value: self._object(value, value.items())),
            (_SEQUENCES, self._list),
            (Iterator, self._text),  # pydantic would walk an endless iterator
        )

    def encode(self, value: object) -> Any:
        """Encode ``value`` as JSON types; do not raise, whatever the value's own code does."""
        if type(value) is _Mark:
            return str(value)
        try:
            encoded = self._encode(value)
        except BaseException as error:  # noqa: BLE001 - the value's own code may raise anything
            encoded = f"<it cannot be kept: {type_name(error)}>"
        if not isinstance(encoded, dict | list):
            self._left -= len(encoded) if isinstance(encoded, str) else _NUMBER_SIZE
        return encoded

    def _encode(self, value: object) -> Any:
        kind = type(value)  # isinstance would trust an overridden __class__
        if value is None or kind is bool:
            return value
        for classes, encode in self._rules:
            if issubclass(kind, classes):
                return encode(value)
        if dataclasses.is_dataclass(kind):
            fields = [field.name for field in dataclasses.fields(kind)]
            return self._object(value, ((name, getattr(value, name)) for name in fields))
        return self._other(value)

    def _other(self, value: object) -> Any:
        """Encode a value that pydantic knows (dates, enumerations, models …), or else the value's text."""
        try:
            from pydantic_core import to_jsonable_python  # heavy for commands of a server

            known = to_jsonable_python(value)
        except BaseException:  # noqa: BLE001 - as above
            return self._text(value)
        return self._text(value) if type(known) is type(value) else self.encode(known)

    def _text(self, value: object) -> str:
        return text_of(value, max(min(LONGEST_METADATA_TEXT, self._left), 0))

    def _int(self, value: int) -> int | str:
        """Encode an integer; beyond 64 bits as a text, because not every JSON reader accepts larger integers."""
        value = int.__pos__(value)  # converts a subclass to ``int``
        return value if -_LARGEST_INT <= value < _LARGEST_INT else self._text(value)

    def _object(self, value: object, items: Iterable[tuple[object, object]]) -> Any:
        if (mark := self._enter(value)) is not None:
            return mark
        encoded: dict[str, Any] = {}
        try:
            for key, item in self._walk(items, lambda mark: ("…", mark)):
                name = self._key(key, encoded)
                hidden = looks_secret(name) and issubclass(type(item), (str, bytes, bytearray))
                encoded[name] = MASK if hidden else self.encode(item)
        finally:
            self._open.pop()
        return encoded

    def _list(self, value: Any) -> Any:
        if (mark := self._enter(value)) is not None:
            return mark
        try:
            return [self.encode(item) for item in self._walk(value, lambda mark: mark)]
        finally:
            self._open.pop()

    def _enter(self, value: object) -> str | None:
        """Start the walk of a container; return a mark when the container must not be walked."""
        if id(value) in self._open:
            return "… (it contains itself)"
        if len(self._open) >= DEEPEST_METADATA:
            return f"… (more than {DEEPEST_METADATA} levels)"
        self._open.append(id(value))
        return None

    def _walk(self, items: Iterable[Any], marked: Any) -> Iterator[Any]:
        """Yield the items within the budget; then, or when the next item cannot be read, a mark."""
        try:
            for item in items:
                if self._left <= 0:
                    yield marked(_Mark("… (more than is kept)"))
                    return
                yield item
                self._left -= 2
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            yield marked(_Mark(f"… (the rest cannot be read: {type_name(error)})"))

    def _key(self, key: object, taken: Mapping[str, Any]) -> str:
        text = text_of(key, LONGEST_METADATA_KEY)
        self._left -= len(text)
        names = (f"{text} ({number})" for number in itertools.count(2))
        return text if text not in taken else next(name for name in names if name not in taken)


def _float(value: float) -> float | str:
    number = float.__pos__(value)  # converts a subclass to ``float``
    return number if math.isfinite(number) else str(number)


# References in a run's arguments to separately stored content. The SHA-256 identifies the content within its run.
#
# A file is ``{"$file": "<sha256>", "name": "a.csv", "size": 12, "content_type": "text/csv"}``, an argument that is too large
# ``{"$large": "<sha256>", "size": 70000}``. Equal content gives equal references, so that equal arguments stay equal.

REFERENCE = "$file"
LARGE = "$large"


@dataclass(frozen=True, slots=True)
class FileReference:
    """A reference to a file that is stored with its run."""

    sha256: str
    name: str
    size: int
    content_type: str

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> FileReference:
        """Parse a reference from the arguments.

        Raises:
            ValueError: The value is no reference.
        """
        try:
            return cls(
                str(value[REFERENCE]),
                str(value["name"]),
                int(value["size"]),
                str(value["content_type"]),
            )
        except (KeyError, TypeError):
            raise ValueError("not a reference to a file") from None

    def plain(self) -> dict[str, Any]:
        """Return the form of the reference in the arguments."""
        return {
            REFERENCE: self.sha256,
            "name": self.name,
            "size": self.size,
            "content_type": self.content_type,
        }


@dataclass(frozen=True, slots=True)
class Here:
    """The content of a run that is present in this process or in a file of this machine, by SHA-256."""

    contents: Mapping[str, Path | bytes] = field(default_factory=dict)

    def find(self, sha256: str) -> Path | bytes | None:
        """Return the content or the path of its file; ``None``: not present."""
        return self.contents.get(sha256)


def may_refer(arguments_json: str | None) -> bool:
    """Return whether the arguments may hold references; a cheap check for each claimed run."""
    return arguments_json is not None and (
        f'"{REFERENCE}"' in arguments_json or f'"{LARGE}"' in arguments_json
    )


def is_large(value: object) -> bool:
    """Return whether an argument's value is a reference to a larger value."""
    return isinstance(value, dict) and value.keys() == {LARGE, "size"}


def referred(arguments_json: str | None) -> dict[str, str]:
    """Map the SHA-256 of each content that the arguments refer to, to a description for users."""
    if arguments_json is None or not may_refer(arguments_json):
        return {}
    descriptions: dict[str, str] = {}
    for name, value in json.loads(arguments_json).items():
        if is_large(value):
            descriptions[str(value[LARGE])] = f"the argument {name}"
        else:
            descriptions |= {
                str(reference[REFERENCE]): f"the file {reference.get('name')}"
                for reference in references_in(value)
            }
    return descriptions


def references_in(value: object) -> Iterator[dict[str, Any]]:
    """Yield the references to files in a value."""
    if isinstance(value, dict):
        if REFERENCE in value:
            yield value
        else:
            for item in value.values():
                yield from references_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from references_in(item)


def expanded(arguments_json: str, here: Here) -> str:
    """Insert the large arguments that are present; keep references to files.

    Raises:
        OSError: The content cannot be read.
        ValueError: The content is not JSON.
    """
    arguments: dict[str, Any] = json.loads(arguments_json)
    for name, value in arguments.items():
        if is_large(value) and (content := here.find(str(value[LARGE]))) is not None:
            arguments[name] = json.loads(
                content if isinstance(content, bytes) else content.read_bytes()
            )
    return json.dumps(arguments, ensure_ascii=False)


# Names of files.

_SEPARATORS = re.compile(r"[/\\]")
_UNWANTED = re.compile(
    '[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ufeff\\ud800-\\udfff<>:"|?*]'
)
_DEVICES = {"CON", "PRN", "AUX", "NUL"} | {
    f"{port}{number}" for port in ("COM", "LPT") for number in range(10)
}
"""Windows device names, which cannot be file names with any extension."""


def safe_name(name: str) -> str:
    """Return a file name without folders and without characters that some operating system forbids; a long name keeps its end."""
    last = _UNWANTED.sub("_", _SEPARATORS.split(name)[-1])
    short = last.encode()[-LONGEST_FILE_NAME:].decode("utf-8", "ignore").strip(" .")
    if short.partition(".")[0].rstrip().upper() in _DEVICES:
        short = f"_{short}"
    return short or "file"
