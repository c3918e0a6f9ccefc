"""Who reads what is being written: their language and their time zone.

A page says for whom it is made with :func:`reading`, and everything that makes sentences asks here. Where nobody has said, as at
the command line, in the API, in alerts and in whatever is stored, sentences are English.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar
from zoneinfo import ZoneInfo

from .catalogue import ENGLISH, Catalogue, catalogue
from .isolation import isolated

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who reads a page.

    Args:
        catalogue: The texts in their language.
        zone: Their time zone, if it is known.
    """

    catalogue: Catalogue
    zone: ZoneInfo | None = None


_NOBODY = Reader(catalogue(ENGLISH))
_READER: ContextVar[Reader] = ContextVar("targcc_reader", default=_NOBODY)


@contextmanager
def reading(reader: Reader) -> Iterator[None]:
    """For a while, write for this reader."""
    token = _READER.set(reader)
    try:
        yield
    finally:
        _READER.reset(token)


def for_nobody() -> AbstractContextManager[None]:
    """For a while, write what is stored: in English."""
    return reading(_NOBODY)


def reader() -> Reader:
    """Who reads what is being written."""
    return _READER.get()


def zone_of_reader(own: str) -> ZoneInfo:
    """The zone in which the reader is shown times: theirs, else the one with this name."""
    return reader().zone or ZoneInfo(own)


def translated(message: str) -> str:
    """A message in the reader's language, with its placeholders."""
    return reader().catalogue.text(message)


def translated_in(context: str, message: str) -> str:
    """The same of a message that English says in the same words as another one."""
    return reader().catalogue.text(message, context)


def translated_plural(one: str, many: str, number: int) -> str:
    """A message that says a number, with its placeholders, in the form that goes with the number."""
    return reader().catalogue.plural(one, many, number)


def gettext(message: str, **values: object) -> str:
    """A message in the reader's language.

    Args:
        message: In English, with a placeholder such as ``%(name)s`` for each value.
        values: What stands for the placeholders; a text of somebody does not turn the sentence around.
    """
    return translated(message) % _isolated(values)


def ngettext(one: str, many: str, number: int, **values: object) -> str:
    """A message that says a number, in the reader's language; ``%(num)s`` is the number."""
    said = {"num": f"{number:,}", **values}
    return translated_plural(one, many, number) % _isolated(said)


def _isolated(values: Mapping[str, object]) -> dict[str, object]:
    if reader() is _NOBODY:
        return dict(values)
    direction = reader().catalogue.direction
    return {
        name: isolated(value, direction) if isinstance(value, str) else value
        for name, value in values.items()
    }


class Words(Mapping[K, str]):
    """Words that are looked up in the reader's language."""

    def __init__(self, words: Mapping[K, str]) -> None:
        self._words = words

    def __getitem__(self, key: K) -> str:
        return translated(self._words[key])

    def __iter__(self) -> Iterator[K]:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)
