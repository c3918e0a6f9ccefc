"""What is wrong with a value, in our own words, as an error that Pydantic carries."""

from __future__ import annotations

from typing import LiteralString

from pydantic_core import PydanticCustomError

PROBLEM: LiteralString = "targcc_problem"
"""The type of the Pydantic errors that carry our own words about one value."""

RULE: LiteralString = "targcc_rule"
"""The type of those about several values, from `targcc_gen.spec.rules`."""


def problem(
    message: str,
    *,
    hint: str | None = None,
    column: int | None = None,
    length: int = 1,
    kind: LiteralString = PROBLEM,
) -> PydanticCustomError:
    """A Pydantic error in our own words.

    Args:
        message: What is wrong.
        hint: What to do about it.
        column: Where in the text of the value the wrong part begins, from 0.
        length: How many characters are wrong.
        kind: The error's type.
    """
    context = {"message": message, "hint": hint, "column": column, "length": length}
    return PydanticCustomError(kind, "{message}", context)


def nearest(text: str, known: tuple[str, ...] | list[str]) -> str | None:
    """`did you mean "…"?` for the known word most like `text`, or None."""
    from difflib import get_close_matches

    same = [word for word in known if word.casefold() == text.casefold()]
    close = same or get_close_matches(text, known, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else None
