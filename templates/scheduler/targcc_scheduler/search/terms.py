"""What a search means: terms, each with its key, its values and its place."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from ..core.states import RunState
from ..schedules import format_duration

_BARE_VALUE = re.compile(r'[^\s,"<>][^\s,]*')
_AFTER_MINUS = re.compile(r'(?![a-z]+(\.[^\s:"]+)?:)[^\s"]\S*', re.IGNORECASE)
_BARE_TEXT = re.compile(rf"(?!not$|-.){_AFTER_MINUS.pattern}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text to compare with; ``*`` is any number of characters and ``?`` one, unless it is ``literal``."""

    text: str
    literal: bool = False

    @classmethod
    def exactly(cls, text: str) -> Self:
        """The pattern that means one text."""
        return cls(text, literal="*" in text or "?" in text)

    @property
    def is_exact(self) -> bool:
        """Whether it means one text only."""
        return self.literal or not ("*" in self.text or "?" in self.text)

    def written(self, bare: re.Pattern[str]) -> str:
        """As people write it: in quotation marks where it cannot stand without."""
        if not self.literal and bare.fullmatch(self.text):
            return self.text
        return quoted(self.text)

    def __str__(self) -> str:
        return self.written(_BARE_VALUE)


@dataclass(frozen=True, slots=True)
class Duration:
    """A comparison with a length of time: ``>5m``."""

    operator: str
    length: timedelta

    def __str__(self) -> str:
        return f"{self.operator}{format_duration(self.length)}"


Value = Pattern | RunState | datetime | Duration | int


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: any of the values fits, or, negated, none does.

    Args:
        key: One of :data:`~.keys.KEYS`; empty for a text.
        values: What fits.
        name: Of ``arg``: which argument.
        negated: Whether what fits is not wanted.
        at: Where it begins in the search; says nothing about what it means.
        end: Where it ends.
    """

    key: str
    values: tuple[Value, ...]
    name: str = ""
    negated: bool = False
    at: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        """The term as :func:`~.parser.parse` reads it; instants stand there as they are."""
        before = "-" if self.negated else ""
        if not self.key:
            bare = _AFTER_MINUS if self.negated else _BARE_TEXT
            return before + "".join(
                one.written(bare) for one in self.values if isinstance(one, Pattern)
            )
        key = f"{self.key}.{self.name}" if self.name else self.key
        return f"{before}{key}:{','.join(map(_value, self.values))}"


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for: every term holds. An empty one means every run."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))

    def of(self, *keys: str) -> Iterator[Term]:
        """The terms with one of these keys."""
        return (one for one in self.terms if one.key in keys)

    def but(self, old: Term, new: Term | None = None) -> Search:
        """The same search with ``new`` in the place of a term, or without it."""
        kept = (new if one is old else one for one in self.terms)
        return Search(tuple(one for one in kept if one is not None))


EVERYTHING = Search()
"""The search that every run fits."""


def quoted(text: str) -> str:
    """A text in quotation marks."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def write(key: str, *values: object) -> str:
    """A term as people write it, for addresses and options: ``job:"Daily Report"``; empty when no value says anything."""
    said = [
        one if isinstance(one, RunState | datetime) else Pattern.exactly(str(one))
        for one in values
        if one
    ]
    if not key:
        return " ".join(one.written(_BARE_TEXT) for one in said if isinstance(one, Pattern))
    return f"{key}:{','.join(map(_value, said))}" if said else ""


def _value(value: Value) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def joined(*parts: str) -> str:
    """Searches put together: all of them hold."""
    return " ".join(part for part in map(str.strip, parts) if part)


def only(**wanted: Any) -> Search:
    """A search made by the program: ``only(cause=key, is_="open", run=ids)``; a key without a value asks for nothing."""
    terms = []
    for name, given in wanted.items():
        several = given if isinstance(given, Collection) and not isinstance(given, str) else [given]
        said = tuple(
            Pattern.exactly(one) if type(one) is str else one
            for one in several
            if one not in {None, ""}
        )
        if said:
            terms.append(Term("" if name == "text" else name.rstrip("_"), said))
    return Search(tuple(terms))
