"""Literals of Python, TOML, YAML and Markdown: each text of a spec enters a generated file through this module."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

_BEYOND_8_BITS, _BEYOND_16_BITS = 0x100, 0x10000

# Invisible characters, and characters that change the direction of a line. The list is fixed here because `str.isprintable`
# follows the Unicode version of each Python, and the same spec must give the same bytes on every version.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    "\u3000\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e0fff"
    "\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a]"
)
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}


def pyliteral(value: Any) -> str:  # noqa: PLR0911 - one line for each type
    """Return `value` as Python source, with the quotes that black and ruff keep.

    Raises:
        TypeError: The value's type cannot occur in a spec.
    """
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool | int | float | type(None)):
        return repr(value).replace("e+", "e")  # as black writes it
    if isinstance(value, dt.datetime):
        return _datetime(value)
    if isinstance(value, dt.date):
        return f"date({value.year}, {value.month}, {value.day})"
    if isinstance(value, uuid.UUID):
        return f"UUID({_string(str(value))})"
    if isinstance(value, Mapping):
        items = ", ".join(f"{pyliteral(key)}: {pyliteral(item)}" for key, item in value.items())
        return f"{{{items}}}"
    if isinstance(value, tuple):
        items = ", ".join(map(pyliteral, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, list):
        return f"[{', '.join(map(pyliteral, value))}]"
    raise TypeError(f"no literal for {type(value).__name__}")


def docstring(text: str, indent: int = 0) -> str:
    """Return `text` as a docstring in triple double quotes.

    Blank lines separate paragraphs; other white space collapses to single spaces, because code that needs the exact text has it as data.

    Args:
        text: Any text with a visible character. Invisible characters are written as escapes.
        indent: Indent of the docstring's later lines, in spaces.
    """
    paragraphs = [_visible(part) for part in re.split(r"\n\s*\n", text.strip())]
    lines = [line for part in paragraphs if part for line in (part, "")][:-1]
    if len(lines) == 1 or not lines:
        return _triple(lines[0] if lines else "", "")
    margin = " " * indent
    body = "\n".join(f"{margin}{line}" if line else "" for line in lines).lstrip()
    return _triple(body, f"\n{margin}")


def is_visible(text: str) -> bool:
    """Return whether all of `text` is visible, and on a single line."""
    return not _HIDDEN.search(text)


def tomlstr(text: str) -> str:
    """Return `text` as a basic string of TOML."""
    return _json_string(text)


def yamlstr(text: str) -> str:
    """Return `text` as a double-quoted scalar of YAML."""
    return _json_string(text)


def _json_string(text: str) -> str:
    """Return a JSON string that is also valid in TOML and YAML.

    Invisible characters are escaped; no escape is a surrogate pair.
    """
    quoted = json.dumps(text, ensure_ascii=False)
    return _HIDDEN.sub(lambda match: _unicode_escape(match[0]), quoted)


def _unicode_escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < _BEYOND_16_BITS else f"\\U{code:08x}"


def _string(text: str) -> str:
    quote = "'" if text.count("'") < text.count('"') else '"'
    return quote + "".join(_escaped(character, quote) for character in text) + quote


def _escaped(character: str, quote: str) -> str:
    if character == quote:
        return f"\\{character}"
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if is_visible(character) else _python_escape(character)


def _python_escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < _BEYOND_8_BITS else _unicode_escape(character)


def _datetime(value: dt.datetime) -> str:
    return f"datetime.fromisoformat({_string(value.isoformat())})"


def _visible(text: str) -> str:
    return " ".join(text.split())


def _triple(body: str, end: str) -> str:
    plain = is_visible(body.replace("\n", ""))
    if plain and '"""' not in body and not body.startswith('"') and not body.endswith(('"', "\\")):
        raw = "r" if "\\" in body else ""
        return f'{raw}"""{body}{end}"""'
    escaped = "".join("\n" if c == "\n" else _escaped(c, "\0") for c in body)
    if '"""' in escaped:
        escaped = escaped.replace('"', '\\"')
        return f'"""{escaped}{end}"""'
    if escaped.startswith(
        '"'
    ):  # black would insert a space before the quote, and ruff would complain
        escaped = "\\" + escaped
    if escaped.endswith('"') and len(body) > 1:  # a body of a single quote is escaped already
        escaped = escaped[:-1] + '\\"'
    return f'"""{escaped}{end}"""'


_MARKDOWN = re.compile(r"[\\`*_\[\]<>&~|$]|!(?=\[)|(?<=[A-Za-z]):(?=//)|(?<=\w)@(?=\w)|(?<=www)\.")
_AT_THE_START = re.compile(r"[-+#=>:]|\d+(?=[.)])")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def mdtext(text: str) -> str:
    """Escape `text` for one paragraph of Markdown: nothing in the result is markup, a link or HTML."""
    line = " ".join("".join(c if is_visible(c) else " " for c in text).split())
    escaped = _MARKDOWN.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), line)
    begins = _AT_THE_START.match(escaped)
    if begins is None:
        return escaped
    place = begins.end() if begins[0].isdigit() else 0
    return f"{escaped[:place]}\\{escaped[place:]}"
