"""The search language: ``job:Daily* state:failed since:yesterday "timeout"``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

from ..schedules.errors import CronError
from ..schedules.words import format_duration, parse_duration
from .states import RunState
from .text import closest

# Errors in a search, with their position.


class SearchError(ValueError):
    """An invalid search.

    Args:
        reason: The problem, and a valid alternative.
        text: The whole search.
        at: Start of the wrong part, from 0.
        length: Length of the wrong part, in characters.
    """

    code = "TS805"

    def __init__(self, reason: str, *, text: str, at: int, length: int = 1) -> None:
        self.reason = reason
        self.text = text
        self.at = at
        self.length = max(length, 1)
        super().__init__(f"at character {at + 1}: {reason}")

    @property
    def frame(self) -> str:
        """Return the search with a mark below the wrong part, for a terminal."""
        line = "".join(char if char.isprintable() else " " for char in self.text)
        return f"  {line}\n  {' ' * self.at}{'^' * self.length}"


# Keys of the search language, with an example of each.


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the search language.

    Args:
        example: An example value.
        meaning: Description of the matching runs.
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
"""Keys before a colon. A term without a key matches the job's name, message, arguments and actor."""

KNOWN = ", ".join(f"{name}.NAME" if name == "arg" else name for name in KEYS)
"""List of the keys for messages."""


# Tokens of a search, with their positions: negation, key, quotation marks.

_KEY = re.compile(r"([A-Za-z]+)((?:\.[^\s:\"]+)?):")
_NOT = re.compile(r"not(?=\s+\S)", re.IGNORECASE)
_OPERATOR = re.compile(r"[<>]=?")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SPACE = re.compile(r"\s*")
_BARE = {True: re.compile(r"[^\s,]*"), False: re.compile(r"\S+")}


@dataclass(frozen=True, slots=True)
class Word:
    """A value as written in a search.

    Args:
        text: The value without quotation marks.
        at: Start position.
        quoted: Whether the value was in quotation marks.
    """

    text: str
    at: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A term as written in a search.

    Args:
        key: The key before the colon, such as ``state``; empty for a text.
        name: The argument's name: ``customer`` for ``arg.customer``.
        operator: The comparison: ``>`` for ``took:>5m``.
        words: Alternative values.
        negated: Whether the term is negated.
        at: Start position.
        end: End position.
    """

    key: str
    name: str
    operator: str
    words: tuple[Word, ...]
    negated: bool
    at: int
    end: int


def pieces(text: str) -> Iterator[Piece]:
    """Yield the terms of a search from left to right.

    Raises:
        SearchError: a quotation mark is not closed.
    """
    place = _skip(text, 0)
    while place < len(text):
        begin = place
        negated = False
        if match := _NOT.match(text, place):
            negated, place = True, _skip(text, match.end())
        elif text[place] == "-" and text[place + 1 : place + 2].strip():
            negated, place = True, place + 1
        piece = _piece(text, place, begin, negated=negated)
        yield piece
        place = _skip(text, piece.end)


def _piece(text: str, place: int, begin: int, *, negated: bool) -> Piece:
    match = _KEY.match(text, place)
    if match is None:
        word, end = _word(text, place, listed=False)
        return Piece("", "", "", (word,), negated, begin, end)
    place = match.end()
    operator = found_operator[0] if (found_operator := _OPERATOR.match(text, place)) else ""
    place += len(operator)
    words = []
    while True:
        word, place = _word(text, place, listed=True)
        words.append(word)
        if text[place : place + 1] != ",":
            break
        place += 1
    name = match[2].removeprefix(".")
    return Piece(match[1].lower(), name, operator, tuple(words), negated, begin, place)


def _word(text: str, place: int, *, listed: bool) -> tuple[Word, int]:
    """Return the value at a position, and the value's end. With ``listed``, a comma ends the value."""
    if text[place : place + 1] == '"':
        match = _QUOTED.match(text, place)
        if match is None:
            raise SearchError("this quotation mark is not closed", text=text, at=place)
        return Word(_ESCAPED.sub(r"\1", match[1]), place, quoted=True), match.end()
    bare = _BARE[listed].match(text, place)
    value = bare[0] if bare is not None else ""
    return Word(value, place), place + len(value)


def _skip(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match is not None else place


# Instants as written in a search: ``yesterday``, ``12h``, ``monday``, ``2026-12-31``.

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ONE_DAY = timedelta(days=1)
HINT = "write a length of time ago (12h, 7d), now, today, yesterday, a weekday, 2026-12-31 or 2026-12-31T08:00"


def instant(text: str, now: datetime, zone: ZoneInfo, *, end: bool) -> datetime:
    """Parse an instant.

    Args:
        text: The text in the search.
        now: The current instant.
        zone: Time zone of days.
        end: For a day, return the day's end instead of its start.

    Raises:
        ValueError: the text is no instant.
    """
    lowercase, today = text.lower(), now.astimezone(zone).date()
    if lowercase == "now":
        return now
    if lowercase in {"today", "yesterday"}:
        day = today - (_ONE_DAY if lowercase == "yesterday" else timedelta(0))
    elif lowercase in _WEEKDAYS:
        day = today - timedelta(days=(today.weekday() - _WEEKDAYS.index(lowercase)) % 7)
    elif _DAY.fullmatch(text):
        day = datetime.fromisoformat(text).date()
    else:
        return _ago(lowercase, now) or _moment(text, zone)
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
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


# Parsed searches: terms with key, values and position.

_BARE_VALUE = re.compile(r'[^\s,"<>][^\s,]*')
_AFTER_MINUS = re.compile(r'(?![a-z]+(\.[^\s:"]+)?:)[^\s"]\S*', re.IGNORECASE)
_BARE_TEXT = re.compile(rf"(?!not$|-.){_AFTER_MINUS.pattern}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text to match: ``*`` matches any number of characters and ``?`` exactly one, unless the pattern is ``literal``."""

    text: str
    literal: bool = False

    @classmethod
    def exactly(cls, text: str) -> Self:
        """Return the pattern that matches exactly this text."""
        return cls(text, literal="*" in text or "?" in text)

    @property
    def is_exact(self) -> bool:
        """Whether the pattern matches a single text."""
        return self.literal or not ("*" in self.text or "?" in self.text)

    def written(self, bare: re.Pattern[str]) -> str:
        """Return the pattern as written in a search, in quotation marks if required."""
        if not self.literal and bare.fullmatch(self.text):
            return self.text
        return quoted(self.text)

    def __str__(self) -> str:
        return self.written(_BARE_VALUE)


@dataclass(frozen=True, slots=True)
class Duration:
    """A comparison with a duration: ``>5m``."""

    operator: str
    length: timedelta

    def __str__(self) -> str:
        return f"{self.operator}{format_duration(self.length)}"


Value = Pattern | RunState | datetime | Duration | int


@dataclass(frozen=True, slots=True)
class Term:
    """A condition: any value matches; if negated, no value matches.

    Args:
        key: A key of :data:`KEYS`; empty for a text.
        values: Alternative values.
        name: For ``arg``, the argument's name.
        negated: Whether the condition is negated.
        at: Start position in the search; ignored by comparisons.
        end: End position, likewise.
    """

    key: str
    values: tuple[Value, ...]
    name: str = ""
    negated: bool = False
    at: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        """Return the term in the syntax of :func:`parse`. Instants are written in ISO format."""
        before = "-" if self.negated else ""
        if not self.key:
            bare = _AFTER_MINUS if self.negated else _BARE_TEXT
            return before + "".join(
                value.written(bare) for value in self.values if isinstance(value, Pattern)
            )
        key = f"{self.key}.{self.name}" if self.name else self.key
        return f"{before}{key}:{','.join(map(_value, self.values))}"


@dataclass(frozen=True, slots=True)
class Search:
    """A parsed search: all terms must match. An empty search matches every run."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))

    def of(self, *keys: str) -> Iterator[Term]:
        """Yield the terms with one of these keys."""
        return (term for term in self.terms if term.key in keys)

    def but(self, old: Term, new: Term | None = None) -> Search:
        """Return a copy of the search with a term replaced by ``new``, or removed."""
        kept = (new if term is old else term for term in self.terms)
        return Search(tuple(term for term in kept if term is not None))


EVERYTHING = Search()
"""The empty search: every run matches."""


def quoted(text: str) -> str:
    """Return a text in quotation marks, escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def write(key: str, *values: object) -> str:
    """Return a term in the search syntax, such as ``job:"Daily Report"``, for links and options; empty if all values are empty."""
    converted = [
        value if isinstance(value, RunState | datetime) else Pattern.exactly(str(value))
        for value in values
        if value
    ]
    if not key:
        return " ".join(
            value.written(_BARE_TEXT) for value in converted if isinstance(value, Pattern)
        )
    return f"{key}:{','.join(map(_value, converted))}" if converted else ""


def _value(value: Value) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def joined(*parts: str) -> str:
    """Join searches with spaces: all must match."""
    return " ".join(part for part in map(str.strip, parts) if part)


def only(**wanted: Any) -> Search:
    """Build a search from code: ``only(cause=key, is_="open", run=ids)``. Skip keys with an empty value."""
    terms = []
    for name, given in wanted.items():
        several = given if isinstance(given, Collection) and not isinstance(given, str) else [given]
        values = tuple(
            Pattern.exactly(value) if type(value) is str else value
            for value in several
            if value not in {None, ""}
        )
        if values:
            terms.append(Term("" if name == "text" else name.rstrip("_"), values))
    return Search(tuple(terms))


# Parser of searches such as ``job:Daily* state:failed since:yesterday arg.customer:42 "timeout" node:web-2 took:>5m``.

MOST_CHARACTERS = 250_000
"""Limit of characters in a search; a list of ten thousand runs fits."""
_MOST_DIGITS = 18  # no database gives larger ids
_STATES = ", ".join(RunState)


def parse(text: str, *, now: datetime, zone: ZoneInfo) -> Search:
    """Parse a search.

    Args:
        text: The search.
        now: The current instant, for ``since:12h``.
        zone: Time zone of days, for ``yesterday``.

    Raises:
        SearchError: the search is invalid; with the position and a hint.
    """
    if len(text) > MOST_CHARACTERS:
        raise SearchError("the search is too long", text=text[:100], at=0)
    reader = _Reader(text, now, zone)
    return Search(tuple(reader.term(piece) for piece in pieces(text)))


class _Reader:
    """Reader of the terms of one search."""

    def __init__(self, text: str, now: datetime, zone: ZoneInfo) -> None:
        self._text = text
        self._now = now
        self._zone = zone

    def term(self, piece: Piece) -> Term:
        """Convert a written term to a condition."""
        if piece.key not in KEYS and piece.key:
            self._fail(
                piece, f"there is no key {piece.key!r}{self._meant(piece)}. The keys are {KNOWN}"
            )
        if bool(piece.name) != (piece.key == "arg"):
            self._fail(piece, "write which argument: arg.customer:42" if piece.key == "arg" else f"{piece.key} has no parts: write {piece.key}:{KEYS[piece.key].example}")  # fmt: skip
        for word in piece.words:
            if not word.text and not (word.quoted and piece.key == "arg"):
                error_text = f"{piece.key}: needs a value, such as {piece.key}:{KEYS[piece.key].example}" if piece.key else "there is nothing between the quotation marks"  # fmt: skip
                raise SearchError(error_text, text=self._text, at=word.at)
        compares = piece.operator or any(other_word.text[:1] in "<>" and not other_word.quoted for other_word in piece.words[1:])  # fmt: skip
        if compares and piece.key != "took":
            self._fail(
                piece, "< and > can only stand in took:>5m; put a text with them in quotation marks"
            )
        values = tuple(self._value(piece, word) for word in piece.words)
        if len(values) > 1 and piece.key in {"since", "until", "took"}:
            self._fail(piece, f"{piece.key} takes one value")
        return Term(piece.key, values, piece.name, piece.negated, piece.at, piece.end)

    def _meant(self, piece: Piece) -> str:
        near = closest(piece.key, KEYS)
        if near:
            return f" (did you mean {near}?)"
        term_text = self._text[piece.at : piece.end].removeprefix("-")
        return f"; to look for it as a text, write {quoted(term_text)}"

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
        state_name = word.text.lower()
        if state_name not in set(RunState):
            near = closest(state_name, RunState)
            hint = f": did you mean {near}?" if near else "."
            raise ValueError(f"there is no state {word.text!r}{hint} The states are {_STATES}")
        return RunState(state_name)

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
        pattern = Pattern.exactly(word.text) if word.quoted else Pattern(word.text)
        if not pattern.is_exact and ("?" in pattern.text or "*" in pattern.text[:-1]):
            raise ValueError("an argument may end with a star, and have none elsewhere")
        return pattern
