"""The search language: ``job:Daily* state:failed since:yesterday "timeout"``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from difflib import get_close_matches
from typing import Any, Self
from zoneinfo import ZoneInfo

from ...core.states import RunState
from ...schedules.errors import CronError
from ...schedules.words import format_duration, parse_duration

# What is wrong with a search, and where.


class SearchError(ValueError):
    """A search that cannot be understood.

    Args:
        reason: What is wrong, and what could be written instead.
        text: The whole search.
        at: Where in it, counted from 0.
        length: How many characters are meant.
    """

    def __init__(self, reason: str, *, text: str, at: int, length: int = 1) -> None:
        self.reason = reason
        self.text = text
        self.at = at
        self.length = max(length, 1)
        super().__init__(f"at character {at + 1}: {reason}")

    @property
    def frame(self) -> str:
        """The search with a mark below what is meant; for a terminal."""
        line = "".join(char if char.isprintable() else " " for char in self.text)
        return f"  {line}\n  {' ' * self.at}{'^' * self.length}"


# The keys that a search knows, with an example of each.


@dataclass(frozen=True, slots=True)
class Key:
    """A key.

    Args:
        example: A value of it.
        meaning: What it finds.
    """

    example: str
    meaning: str


KEYS = {
    "job": Key("Daily*", "of this job, by its name or the one that is shown"),
    "state": Key("failed", "in this state"),
    "since": Key("yesterday", "created then or later: 12h, 7d, today, monday, 2026-12-31, 2026-12-31T08:00"),
    "until": Key("monday", "created before that; a day counts to its end"),
    "took": Key(">5m", "ran longer, or with < shorter"),
    "queue": Key("critical", "in this queue"),
    "node": Key("web-2", "performed by this node"),
    "by": Key("dana", "started by this person, program or part of the scheduler"),
    "arg": Key("42", "arg.customer:42: with this argument"),
    "cause": Key("3f2504e04f8911d3", "failed of this cause, one of the inbox"),
    "is": Key("open", "waits in the inbox for a person"),
    "run": Key("1234", "this run"),
    "batch": Key("12", "of this batch, but not of those in it; or of this flow"),
}  # fmt: skip
"""What can stand before a colon. All else is looked for in the job's name, message, arguments and who started it."""

KNOWN = ", ".join(f"{name}.NAME" if name == "arg" else name for name in KEYS)
"""The keys, for sentences."""


# A search as a row of pieces with their places: what is negated, what has a key, what is in quotation marks.

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


# Instants as people write them in a search: ``yesterday``, ``12h``, ``monday``, ``2026-12-31``.

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ONE_DAY = timedelta(days=1)
HINT = "write a length of time ago (12h, 7d), now, today, yesterday, a weekday, 2026-12-31 or 2026-12-31T08:00"


def instant(text: str, now: datetime, zone: ZoneInfo, *, end: bool) -> datetime:
    """The instant that a text means.

    Args:
        text: What was written.
        now: The present instant.
        zone: Whose days are meant.
        end: Of a day: its end, not its beginning.

    Raises:
        ValueError: it means none.
    """
    said, today = text.lower(), now.astimezone(zone).date()
    if said == "now":
        return now
    if said in {"today", "yesterday"}:
        day = today - (_ONE_DAY if said == "yesterday" else timedelta(0))
    elif said in _WEEKDAYS:
        day = today - timedelta(days=(today.weekday() - _WEEKDAYS.index(said)) % 7)
    elif _DAY.fullmatch(text):
        day = datetime.fromisoformat(text).date()
    else:
        return _ago(said, now) or _moment(text, zone)
    try:
        return datetime.combine(day + (_ONE_DAY if end else timedelta(0)), time(), zone)
    except OverflowError:
        raise ValueError(text) from None


def _ago(text: str, now: datetime) -> datetime | None:
    try:
        return now - parse_duration(text)
    except CronError:
        return None


def _moment(text: str, zone: ZoneInfo) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=zone)


# What a search means: terms, each with its key, its values and its place.

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


# Reading a search: ``job:Daily* state:failed since:yesterday arg.customer:42 "timeout" node:web-2 took:>5m``.

MOST_CHARACTERS = 250_000
"""How long a search may be: a list of ten thousand runs fits."""
_MOST_DIGITS = 18  # a larger number is no id that a database has given
_STATES = ", ".join(RunState)


def parse(text: str, *, now: datetime, zone: ZoneInfo) -> Search:
    """What a search means.

    Args:
        text: What somebody wrote.
        now: The present instant, for ``since:12h``.
        zone: Whose days ``yesterday`` means.

    Raises:
        SearchError: it cannot be understood; says where, and what could be written.
    """
    if len(text) > MOST_CHARACTERS:
        raise SearchError("the search is too long", text=text[:100], at=0)
    reader = _Reader(text, now, zone)
    return Search(tuple(reader.term(piece) for piece in pieces(text)))


class _Reader:
    """Reads the terms of one search."""

    def __init__(self, text: str, now: datetime, zone: ZoneInfo) -> None:
        self._text = text
        self._now = now
        self._zone = zone

    def term(self, piece: Piece) -> Term:
        """A term."""
        if piece.key not in KEYS and piece.key:
            self._fail(
                piece, f"there is no key {piece.key!r}{self._meant(piece)}. The keys are {KNOWN}"
            )
        if bool(piece.name) != (piece.key == "arg"):
            self._fail(piece, "write which argument: arg.customer:42" if piece.key == "arg" else f"{piece.key} has no parts: write {piece.key}:{KEYS[piece.key].example}")  # fmt: skip
        for word in piece.words:
            if not word.text and not (word.quoted and piece.key == "arg"):
                said = f"{piece.key}: needs a value, such as {piece.key}:{KEYS[piece.key].example}" if piece.key else "there is nothing between the quotation marks"  # fmt: skip
                raise SearchError(said, text=self._text, at=word.at)
        compares = piece.operator or any(one.text[:1] in "<>" and not one.quoted for one in piece.words[1:])  # fmt: skip
        if compares and piece.key != "took":
            self._fail(
                piece, "< and > can only stand in took:>5m; put a text with them in quotation marks"
            )
        values = tuple(self._value(piece, word) for word in piece.words)
        if len(values) > 1 and piece.key in {"since", "until", "took"}:
            self._fail(piece, f"{piece.key} takes one value")
        return Term(piece.key, values, piece.name, piece.negated, piece.at, piece.end)

    def _meant(self, piece: Piece) -> str:
        near = get_close_matches(piece.key, KEYS, n=1)
        if near:
            return f" (did you mean {near[0]}?)"
        said = self._text[piece.at : piece.end].removeprefix("-")
        return f"; to look for it as a text, write {quoted(said)}"

    def _fail(self, piece: Piece, reason: str) -> None:
        raise SearchError(reason, text=self._text, at=piece.at, length=piece.end - piece.at)

    def _value(self, piece: Piece, word: Word) -> Value:
        readers: dict[str, Callable[[Piece, Word], Value]] = {
            "state": self._state,
            "since": self._instant,
            "until": self._instant,
            "took": self._duration,
            "is": self._standing,
            "run": self._number,
            "batch": self._number,
            "arg": self._argument,
        }
        if (read := readers.get(piece.key)) is None:
            return Pattern.exactly(word.text) if word.quoted else Pattern(word.text)
        try:
            return read(piece, word)
        except ValueError as error:
            length = len(word.text) + 2 * word.quoted
            raise SearchError(str(error), text=self._text, at=word.at, length=length) from None

    def _state(self, _: Piece, word: Word) -> RunState:
        said = word.text.lower()
        if said not in set(RunState):
            near = get_close_matches(said, list(RunState), n=1)
            hint = f": did you mean {near[0]}?" if near else "."
            raise ValueError(f"there is no state {word.text!r}{hint} The states are {_STATES}")
        return RunState(said)

    def _instant(self, piece: Piece, word: Word) -> datetime:
        try:
            return instant(word.text, self._now, self._zone, end=piece.key == "until")
        except (ValueError, OverflowError):
            raise ValueError(f"{word.text!r} is no time: {HINT}") from None

    def _duration(self, piece: Piece, word: Word) -> Duration:
        if not piece.operator:
            raise ValueError("say whether longer or shorter: took:>5m or took:<5m")
        try:
            return Duration(piece.operator, parse_duration(word.text))
        except CronError as error:
            raise ValueError(str(error).splitlines()[0]) from None

    def _standing(self, _: Piece, word: Word) -> Pattern:
        if word.text.lower() != "open":
            raise ValueError("there is is:open only")
        return Pattern("open")

    def _number(self, piece: Piece, word: Word) -> int:
        digits = word.text.removeprefix("#")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS):
            raise ValueError(f"{word.text!r} is no number of a {piece.key}")
        return int(digits)

    def _argument(self, _: Piece, word: Word) -> Pattern:
        found = Pattern.exactly(word.text) if word.quoted else Pattern(word.text)
        if not found.is_exact and ("?" in found.text or "*" in found.text[:-1]):
            raise ValueError("an argument may end with a star, and have none elsewhere")
        return found
