"""Reading a search: ``job:Daily* state:failed since:yesterday arg.customer:42 "timeout" node:web-2 took:>5m``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from difflib import get_close_matches
from zoneinfo import ZoneInfo

from ..core.states import RunState
from ..schedules import CronError, parse_duration
from .errors import SearchError
from .keys import KEYS, KNOWN
from .lexer import Piece, Word, pieces
from .moments import HINT, instant
from .terms import Duration, Pattern, Search, Term, Value, quoted

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
