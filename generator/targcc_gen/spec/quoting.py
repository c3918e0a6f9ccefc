"""Text as a YAML scalar that every reader, of YAML 1.1 too, reads back as the same text."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z](?:[A-Za-z0-9 _.,'()/@+;!-]*[A-Za-z0-9_.)!])?")

# What YAML 1.1 or 1.2 reads as something other than text.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}

_BASIC_PLANE = 0xFFFF


def scalar(text: str, *, in_brackets: bool = False) -> str:
    """`text` without quotes where that is safe, otherwise in double quotes.

    Args:
        text: Any text without lone surrogates.
        in_brackets: Whether it stands in a list or a mapping in brackets, where a comma ends it and a space makes it hard to read.
    """
    if (
        not _PLAIN.fullmatch(text)
        or text.lower() in _WORDS
        or (in_brackets and re.search("[, ]", text))
    ):
        return quoted(text)
    return text


def quoted(text: str) -> str:
    """`text` in double quotes, on one line."""
    return '"' + "".join(_ESCAPES.get(c) or _shown(c) for c in text) + '"'


def _shown(character: str) -> str:
    """Printable characters as they are; those nobody sees, or that turn the writing direction, as their number."""
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04X}" if number <= _BASIC_PLANE else f"\\U{number:08X}"
