"""Texts that can be stored and shown: without characters that a database refuses, on one line, shortened in the middle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def clean(text: str, longest: int | None = None) -> str:
    """``text`` without what databases refuse: NUL and lone surrogates; shortened to ``longest`` characters."""
    text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    text = text.encode("utf-8", "replace").decode()
    if longest is not None and len(text) > longest:
        return f"{text[:longest]}… ({len(text) - longest} more characters)"
    return text


def clean_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with each of its texts passed through :func:`clean`."""
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
    """The message of an exception; a sentence in its place when its ``__str__`` fails."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception class of the job may be broken itself
        return "<its message cannot be shown>"


def both_ends(text: str, longest: int = _LONGEST_TRACEBACK) -> str:
    """``text`` of at most ``longest`` characters: from a longer one the middle is cut out, and the number of characters stands there."""
    left_out = len(text) - longest
    if left_out <= 0:
        return text
    half = longest // 2
    return f"{text[:half]}\n… ({left_out} more characters) …\n{text[-half:]}"
