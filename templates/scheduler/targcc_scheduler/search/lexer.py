"""A search as a row of pieces with their places: what is negated, what has a key, what is in quotation marks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import SearchError

_KEY = re.compile(r"([A-Za-z]+)((?:\.[^\s:\"]+)?):")
_NOT = re.compile(r"not(?=\s+\S)", re.IGNORECASE)
_OPERATOR = re.compile(r"[<>]=?")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SPACE = re.compile(r"\s*")
_BARE = {True: re.compile(r"[^\s,]*"), False: re.compile(r"\S+")}


@dataclass(frozen=True, slots=True)
class Word:
    """One value as it was written.

    Args:
        text: What it says, without its quotation marks.
        at: Where it begins.
        quoted: Whether it stood in quotation marks.
    """

    text: str
    at: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """One term as it was written.

    Args:
        key: What stands before the colon, such as ``state``; empty for a text.
        name: Of ``arg.customer``: ``customer``.
        operator: Of ``took:>5m``: ``>``.
        words: The values, of which any may fit.
        negated: Whether it is what is not wanted.
        at: Where it begins.
        end: Where it ends.
    """

    key: str
    name: str
    operator: str
    words: tuple[Word, ...]
    negated: bool
    at: int
    end: int


def pieces(text: str) -> Iterator[Piece]:
    """The terms of a search, from left to right.

    Raises:
        SearchError: a quotation mark is not closed.
    """
    place = _skip(text, 0)
    while place < len(text):
        begin = place
        negated = False
        if found := _NOT.match(text, place):
            negated, place = True, _skip(text, found.end())
        elif text[place] == "-" and text[place + 1 : place + 2].strip():
            negated, place = True, place + 1
        piece = _piece(text, place, begin, negated=negated)
        yield piece
        place = _skip(text, piece.end)


def _piece(text: str, place: int, begin: int, *, negated: bool) -> Piece:
    found = _KEY.match(text, place)
    if found is None:
        word, end = _word(text, place, listed=False)
        return Piece("", "", "", (word,), negated, begin, end)
    place = found.end()
    operator = found_operator[0] if (found_operator := _OPERATOR.match(text, place)) else ""
    place += len(operator)
    words = []
    while True:
        word, place = _word(text, place, listed=True)
        words.append(word)
        if text[place : place + 1] != ",":
            break
        place += 1
    name = found[2].removeprefix(".")
    return Piece(found[1].lower(), name, operator, tuple(words), negated, begin, place)


def _word(text: str, place: int, *, listed: bool) -> tuple[Word, int]:
    """The value that begins here, and where it ends; ``listed`` ones end at a comma."""
    if text[place : place + 1] == '"':
        found = _QUOTED.match(text, place)
        if found is None:
            raise SearchError("this quotation mark is not closed", text=text, at=place)
        return Word(_ESCAPED.sub(r"\1", found[1]), place, quoted=True), found.end()
    bare = _BARE[listed].match(text, place)
    said = bare[0] if bare is not None else ""
    return Word(said, place), place + len(said)


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found is not None else place
