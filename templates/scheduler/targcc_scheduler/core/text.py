"""Clean texts for storage and display; isolate the direction of texts from users."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

# Texts for storage, without characters that a database refuses; and for display, without characters that control a terminal.


def clean(text: str, longest: int | None = None) -> str:
    """Replace characters that databases refuse, NUL and lone surrogates; shorten to ``longest`` characters."""
    text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    text = text.encode("utf-8", "replace").decode()
    if longest is not None and len(text) > longest:
        return f"{text[:longest]}… ({len(text) - longest} more characters)"
    return text


def clean_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Apply :func:`clean` to each text of a row."""
    return {key: clean(value) if isinstance(value, str) else value for key, value in row.items()}


_OBEYED = "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
_CONTROL = re.compile(_OBEYED)
_CONTROL_IN_LINES = re.compile(rf"(?![\n\t]){_OBEYED}")
_DELETE = 0x7F


def visible(text: str, *, lines: bool = False) -> str:
    """Replace control characters by visible text: ``␛`` for an escape, ``<U+202E>`` for a character that changes the text direction.

    Args:
        text: A text from a user.
        lines: Whether to keep line breaks and tabs.
    """
    if lines:
        return _CONTROL_IN_LINES.sub(_picture, text.replace("\r\n", "\n"))
    return _CONTROL.sub(_picture, text)


def visible_json(text: str) -> str:
    """Escape control characters in JSON text."""
    return _CONTROL_IN_LINES.sub(lambda found: json.dumps(found[0])[1:-1], text)


def _picture(match: re.Match[str]) -> str:
    return _PICTURES[match[0]]


class _Pictures(dict[str, str]):
    """Visible text of each control character, made at the first use: a line may have thousands."""

    def __missing__(self, character: str) -> str:
        code = ord(character)
        picture = "␡" if code == _DELETE else f"<U+{code:04X}>"
        self[character] = picture = chr(0x2400 + code) if code < ord(" ") else picture
        return picture


_PICTURES = _Pictures()


# Digests of secrets; the secrets are not stored.


def digest(secret: str) -> str:
    """Return the SHA-256 of a token, for storage in its place."""
    return hashlib.sha256(secret.encode()).hexdigest()


# Texts of users within other texts, isolated so that neither changes the other's direction (Unicode standard annex 9).

_OVERRIDES = re.compile("[\u202a-\u202e]")
"""Embeddings and overrides: no name needs these characters, and text that they hide should be visible."""
_ISOLATES = re.compile("[\u2066-\u2069]")
_FIRST_STRONG, _END = "\u2068", "\u2069"
_FIGURE = re.compile(r"[\d.,:]*")
"""A number or a time of day, which reads the same in both directions."""
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
"""Letters of Hebrew, Arabic and related scripts: the Unicode ranges reserved for right-to-left scripts."""


def isolated(text: str, direction: str) -> str:
    """Wrap ``text`` in isolate marks where its direction may differ from the sentence's ``direction``: ``ltr`` or ``rtl``."""
    if (
        direction == "ltr" and text.isascii()
    ):  # most texts of a page; the patterns below take ten times as long
        return text
    if _FIGURE.fullmatch(text) or (direction == "ltr" and _RIGHT_TO_LEFT.search(text) is None):
        return harmless(text)
    return f"{_FIRST_STRONG}{harmless(text)}{_END}"


def harmless(text: str) -> str:
    """Replace characters that would change the direction of adjacent text by their numbers: overrides, and unbalanced isolates."""
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


def _number(match: re.Match[str]) -> str:
    return f"<U+{ord(match[0]):04X}>"


# Misspelt names.


def closest(word: str, names: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the name most similar to a word; ``None`` if the similarity of each name is below ``cutoff``, from 0 to 1."""
    from difflib import get_close_matches  # a quarter of a MiB, for errors alone

    return next(iter(get_close_matches(word, list(names), n=1, cutoff=cutoff)), None)
