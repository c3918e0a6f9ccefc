"""Text as it can be stored and shown: without characters that a database refuses, on one line, or cut in the middle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def clean(text: str, longest: int | None = None) -> str:
    """Text as every database takes it: no NUL, no half characters, not longer than asked."""
    text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    text = text.encode("utf-8", "replace").decode()
    if longest is not None and len(text) > longest:
        return f"{text[:longest]}… ({len(text) - longest} more characters)"
    return text


def clean_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose texts every database takes."""
    return {key: clean(value) if isinstance(value, str) else value for key, value in row.items()}


_LONGEST_TRACEBACK = 50_000


def exception_line(error: BaseException) -> str:
    """An exception as the last line of its traceback shows it; of a message of several lines the first."""
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ in {"builtins", "__main__"}
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    text = next(iter(message_of(error).strip().splitlines()), "")
    return f"{name}: {text}" if text else name


def message_of(error: BaseException) -> str:
    """What an exception says of itself; a sentence in its place when it cannot say it."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception class of the job may be broken itself
        return "<its message cannot be shown>"


def both_ends(text: str, longest: int = _LONGEST_TRACEBACK) -> str:
    """A text that is too long without its middle, whose length is said in its place."""
    left_out = len(text) - longest
    if left_out <= 0:
        return text
    half = longest // 2
    return f"{text[:half]}\n… ({left_out} more characters) …\n{text[-half:]}"
