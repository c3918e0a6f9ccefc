"""What can be wrong with a flow."""

from __future__ import annotations


class FlowError(ValueError):
    """A flow, or an expression in it, cannot be used.

    Args:
        message: What is wrong.
        column: Where in the expression, in characters from 0; ``None`` when it is about no text.
        length: Of what is wrong there.
    """

    def __init__(self, message: str, column: int | None = None, length: int = 1) -> None:
        super().__init__(message)
        self.column = column
        self.length = length
