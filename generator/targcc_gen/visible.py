"""Escape texts for a terminal."""

from __future__ import annotations

import re

_OBEYED = "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
_CONTROL = re.compile(_OBEYED)
_CONTROL_IN_LINES = re.compile(rf"(?![\n\t]){_OBEYED}")
_DELETE = 0x7F


def visible(text: str, *, lines: bool = False) -> str:
    """Replace characters that a terminal would obey: `␛` for an escape, `<U+202E>` for a character that reverses the line.

    Args:
        text: Untrusted text, such as a name in an export.
        lines: Whether the text may have several lines, and tabs.
    """
    if lines:
        return _CONTROL_IN_LINES.sub(_picture, text.replace("\r\n", "\n"))
    return _CONTROL.sub(_picture, text)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < ord(" "):
        return chr(0x2400 + code)
    return "␡" if code == _DELETE else f"<U+{code:04X}>"
