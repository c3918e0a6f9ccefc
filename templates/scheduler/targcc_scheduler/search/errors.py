"""What is wrong with a search, and where."""

from __future__ import annotations


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
