"""The metadata of a result, as JSON: whatever a job puts there, something can be stored and read back.

What JSON or a database cannot hold is replaced by a text that says so. Only so much is walked, so that endless iterables end.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import GeneratorType
from typing import Any

from pydantic_core import to_jsonable_python

from ..masking.patterns import MASK, looks_secret
from . import limits
from .texts import text_of, type_name

_LARGEST_INT = 2**63
_NUMBER_SIZE = 8  # characters, about
_SEQUENCES = (list, tuple, set, frozenset, GeneratorType)


_MARK = re.compile(r"… \((more than|the rest cannot|it contains) .*\)", re.DOTALL)
"""What stands in the place of what comes after it, or of a container."""
_NOT_KEPT = re.compile(
    rf"{_MARK.pattern}|<it cannot be kept: .*>|.*… \(\d+ more characters\)", re.DOTALL
)


def is_kept(value: object) -> bool:
    """Whether a value that was read back from metadata is the whole of what a job put there; what is in a list or an object is not looked at."""
    if isinstance(value, list):
        return not value or not (isinstance(value[-1], str) and _MARK.fullmatch(value[-1]))
    return not isinstance(value, str) or (MASK not in value and not _NOT_KEPT.fullmatch(value))


def metadata_json(metadata: object) -> str | None:
    """The metadata as JSON; ``None`` when there is none."""
    encoder = _Encoder()
    value = encoder.encode(metadata)
    if value is None or value == {}:
        return None
    value = value if isinstance(value, dict) else {"value": value}
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


class _Mark(str):
    """What stands for items that are not kept."""

    __slots__ = ()


class _Encoder:
    """Makes JSON values of anything, within one budget of characters."""

    def __init__(self) -> None:
        self._left = limits.LONGEST_METADATA
        self._open: list[int] = []
        """The containers that are being walked, by identity."""
        self._rules: Sequence[tuple[Any, Callable[[Any], Any]]] = (
            ((str, bytes, bytearray), self._text),
            (int, self._int),
            (float, _float),
            (dict, lambda value: self._object(value, dict.items(value))),
            (Mapping, lambda value: self._object(value, value.items())),
            (_SEQUENCES, self._list),
            (Iterator, self._text),  # pydantic walks an endless one
        )

    def encode(self, value: object) -> Any:
        """A value of JSON for ``value``, whatever its own code raises."""
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
        kind = type(value)  # isinstance would believe a __class__ of its own
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
        """What pydantic knows (dates, enumerations, models …), or else its text."""
        try:
            known = to_jsonable_python(value, inf_nan_mode="strings")
        except BaseException:  # noqa: BLE001 - as above
            return self._text(value)
        return self._text(value) if type(known) is type(value) else self.encode(known)

    def _text(self, value: object) -> str:
        return text_of(value, max(min(limits.LONGEST_METADATA_TEXT, self._left), 0))

    def _int(self, value: int) -> int | str:
        """Beyond 64 bits it is a text: not every reader of JSON takes it."""
        value = int.__pos__(value)  # exactly an int
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
        """Begin to walk a container; a mark when it is not to be walked."""
        if id(value) in self._open:
            return "… (it contains itself)"
        if len(self._open) >= limits.DEEPEST_METADATA:
            return f"… (more than {limits.DEEPEST_METADATA} levels)"
        self._open.append(id(value))
        return None

    def _walk(self, items: Iterable[Any], marked: Any) -> Iterator[Any]:
        """The items, until there is no room; then, or when the next cannot be had, a mark."""
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
        text = text_of(key, limits.LONGEST_METADATA_KEY)
        self._left -= len(text)
        names = (f"{text} ({number})" for number in itertools.count(2))
        return text if text not in taken else next(name for name in names if name not in taken)


def _float(value: float) -> float | str:
    number = float.__pos__(value)  # exactly a float
    return number if math.isfinite(number) else str(number)
