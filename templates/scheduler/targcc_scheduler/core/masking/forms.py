"""The forms in which a secret value turns up in texts: as it is, escaped, quoted and encoded."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

_SHORTEST = 6
_SURE = 8  # a shorter value that is one plain word or number may be part of an ordinary text
_SHORTEST_LINE = 16
_SHORTEST_CORE = 8
"""Characters of base64 that belong to the value alone; fewer turn up by chance."""


def worth_masking(value: str) -> bool:
    """Whether a value can be told from ordinary text: it has 8 characters or more, or 6 that are not just letters or just digits."""
    plain = value.isdigit() or (value.isalpha() and value in {value.lower(), value.title()})
    return len(value) >= _SURE or (len(value) >= _SHORTEST and not plain)


def forms_of(value: str | bytes) -> frozenset[str]:
    """Every form of a secret value; empty when it is too short to be told from ordinary text."""
    text = value if isinstance(value, str) else value.decode("utf-8", "replace")
    raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    if not worth_masking(text.strip()):
        return frozenset()
    found = {*_written(text), repr(raw)[2:-1]}
    found |= {again for form in found for again in _written_again(form)} | {*_encoded(raw)}
    if text != text.strip():
        found |= forms_of(text.strip())
    for line in text.splitlines() if "\n" in text else ():  # a key of many lines
        if len(line.strip()) >= _SHORTEST_LINE:
            found |= forms_of(line.strip())
    return frozenset(form for form in found if len(form) >= _SHORTEST)


def _written(text: str) -> Iterator[str]:
    yield text
    for safe in ("", "/", "/:@"):
        escaped = quote(text, safe=safe, errors="replace")
        yield escaped
        yield _lower_hex(escaped)
    yield quote_plus(text, errors="replace")
    for ascii_only in (True, False):
        inside = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield inside
        yield inside.replace("/", "\\/")
    yield repr(text)[1:-1]
    yield _html(text)
    yield _html(text, quote=False)
    yield _html(text).replace("&quot;", "&#34;")  # as Jinja writes it
    yield shlex.quote(text).removeprefix("'").removesuffix("'")
    yield text.replace("'", "'\\''")
    yield text.replace("'", "''")  # SQL, YAML
    yield text.replace('"', '""')  # CSV
    yield text.replace("%", "%%")
    yield text.replace("]", "]]").replace("}", "}}")


def _written_again(form: str) -> Iterator[str]:
    """A form inside another text, such as the JSON of an answer in an exception's message that is shown by ``repr``."""
    yield json.dumps(form)[1:-1]
    yield json.dumps(form, ensure_ascii=False)[1:-1]
    yield repr(form)[1:-1]
    yield _html(form)
    yield quote(form, safe="", errors="replace")
    yield quote_plus(form, errors="replace")


def _html(text: str, *, quote: bool = True) -> str:
    from html import escape  # brings 2,000 names of characters; many processes have no secret

    return escape(text, quote=quote)


def _lower_hex(escaped: str) -> str:
    head, *rest = escaped.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def _encoded(raw: bytes) -> Iterator[str]:
    """Hexadecimal, and base64 wherever in the encoded text the value begins, without the letters that others share."""
    yield raw.hex()
    yield raw.hex().upper()
    for before in range(3):
        letters = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        whole = (before + len(raw)) * 8 // 6  # the next one also holds what follows
        core = letters[-(-before * 8 // 6) : whole]
        if len(core) >= _SHORTEST_CORE:
            yield core
            yield core.replace("+", "-").replace("/", "_")
            yield quote(core, safe="")
            yield _lower_hex(quote(core, safe=""))
            yield core.replace("/", "\\/")
