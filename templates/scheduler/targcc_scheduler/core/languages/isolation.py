"""Texts of people within other texts, so that their direction stays their own affair (Unicode standard annex 9)."""

from __future__ import annotations

import re

_OVERRIDES = re.compile("[\u202a-\u202e]")
"""Embeddings and overrides: nobody needs them in a name, and what they hide is worth seeing."""
_ISOLATES = re.compile("[\u2066-\u2069]")
_FIRST_STRONG, _END = "\u2068", "\u2069"
_FIGURE = re.compile(r"[\d.,:]*")
"""A number or a time of the day, which reads the same in both directions."""
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
"""Letters of Hebrew, Arabic and their relatives: the ranges that Unicode keeps for them."""


def isolated(text: str, direction: str) -> str:
    """``text`` in a pair of marks that keep its direction within it, in a sentence of this ``direction``: ``ltr`` or ``rtl``."""
    if _FIGURE.fullmatch(text) or (direction == "ltr" and _RIGHT_TO_LEFT.search(text) is None):
        return harmless(text)
    return f"{_FIRST_STRONG}{harmless(text)}{_END}"


def harmless(text: str) -> str:
    """``text`` that cannot turn around what stands beside it: overrides, and isolates without their other half, are shown by their number."""
    if text.isascii():
        return text
    text = _OVERRIDES.sub(_number, text)
    return text if _is_balanced(text) else _ISOLATES.sub(_number, text)


def _is_balanced(text: str) -> bool:
    depth = 0
    for mark in _ISOLATES.findall(text):
        depth += -1 if mark == _END else 1
        if depth < 0:
            return False
    return depth == 0


def _number(found: re.Match[str]) -> str:
    return f"<U+{ord(found[0]):04X}>"
