"""Texts that can be stored, without characters that a database refuses; and shown, without what a terminal obeys."""

from __future__ import annotations

import json
import re
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


_OBEYED = "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
_CONTROL = re.compile(_OBEYED)
_CONTROL_IN_LINES = re.compile(rf"(?![\n\t]){_OBEYED}")
_DELETE = 0x7F


def visible(text: str, *, lines: bool = False) -> str:
    """``text`` with what a terminal would obey shown instead: ``␛`` for an escape, ``<U+202E>`` for what turns the writing around.

    Args:
        text: Somebody's text.
        lines: Whether it may have several lines, and tabs.
    """
    if lines:
        return _CONTROL_IN_LINES.sub(_picture, text.replace("\r\n", "\n"))
    return _CONTROL.sub(_picture, text)


def visible_json(text: str) -> str:
    """JSON with the same characters escaped."""
    return _CONTROL_IN_LINES.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < ord(" "):
        return chr(0x2400 + code)
    return "␡" if code == _DELETE else f"<U+{code:04X}>"
