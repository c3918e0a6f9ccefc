"""Parse errors of this package, with the position in the text."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

FIELDS_HINT = (
    "Five fields are minute, hour, day of month, month, day of week; six put seconds first."
)
"""The fields of an expression; the default hint of an error."""


class CronError(ValueError):
    """A schedule, a duration or a zone that cannot be read.

    Args:
        message: The error in one line.
        text: The whole text.
        column: The position of the error, counted from 1.
        length: The number of wrong characters.
        allowed: The allowed values at the position, or an alternative.
    """

    code = "TS301"

    def __init__(
        self, message: str, *, text: str, column: int = 1, length: int = 0, allowed: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.text = text
        self.column = column
        self.length = length or max(1, len(text) - column + 1)
        self.allowed = allowed

    def frame(self) -> str:
        """Return the message, the text with carets under the wrong characters, and the allowed values.

        A long text is cut on both sides of the error, so that the lines fit a terminal.
        """
        start = max(0, self.column - 40)
        shown = "".join(c if c.isprintable() else " " for c in self.text[start : start + 76])
        carets = "^" * max(1, min(self.length, len(shown) - (self.column - 1 - start)))
        lines = [self.message, f"  {shown}", f"  {' ' * (self.column - 1 - start)}{carets}"]
        return "\n".join([*lines, f"  {self.allowed}"] if self.allowed else lines)


class Part(NamedTuple):
    """A piece of a text and its position, so that an error can point at the piece.

    Attributes:
        whole: The whole text.
        start: The position of the piece in the whole text, counted from 0.
        text: The piece.
    """

    whole: str
    start: int
    text: str

    @property
    def shown(self) -> str:
        """The piece for a message: printable, at most 40 characters."""
        text = "".join(c if c.isprintable() else "?" for c in self.text[:40])
        return text + "..." * (len(self.text) > len(text))

    def fail(self, message: str, allowed: str = FIELDS_HINT) -> NoReturn:
        """Raise a CronError that points at this piece."""
        raise CronError(
            message,
            text=self.whole,
            column=min(self.start, len(self.whole)) + 1,
            length=max(1, len(self.text)),
            allowed=allowed,
        )

    def split(self, separator: str) -> list[Part]:
        """Return the pieces between the separators, each with its position."""
        pieces, at = [], self.start
        for piece in self.text.split(separator):
            pieces.append(Part(self.whole, at, piece))
            at += len(piece) + len(separator)
        return pieces

    def cut(self, end: int) -> Part:
        """Return the first ``end`` characters as a piece."""
        return Part(self.whole, self.start, self.text[:end])
