"""The texts of the pages: found in the code, and merged into the file of each language.

`uv run python tests/catalogue.py` brings every `xx.po` up to date; `… fr` begins another language. Texts that nobody has translated yet
are shown in English.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import targcc_scheduler
from babel.messages import Catalog
from babel.messages.extract import extract_python
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment
from jinja2.ext import babel_extract

PACKAGE = Path(targcc_scheduler.__file__).parent
LANGUAGES = PACKAGE / "core" / "languages"
TEMPLATES = PACKAGE / "web" / "dashboard" / "templates"
COMMAND = "uv run python tests/catalogue.py"
HOW = (
    'Mark it: {{ _("Text") }} or {% trans %} in a template, gettext("Text %(name)s", name=…) in Python. Then run'
    f" `{COMMAND}` and fill in what is empty in {LANGUAGES.name}/*.po."
)
KEYWORDS = {
    **dict.fromkeys(("_", "gettext", "marked", "translated"), None),
    **dict.fromkeys(("ngettext", "count", "Problem"), None),
}
OPTIONS = {
    "trimmed": "true",
    "newstyle_gettext": "true",
    "trim_blocks": "true",
    "lstrip_blocks": "true",
}
_LETTERS = re.compile("[A-Za-z]{2}")
_ADDRESS = re.compile(r"/[\w?/]+")
_SENTENCE = re.compile("[A-Z][a-z]|[a-z]{2} [a-z]{2}")


def extracted() -> Catalog:
    """Every text of the pages."""
    catalog = Catalog()
    for file in sorted([*PACKAGE.rglob("*.py"), *TEMPLATES.rglob("*.html")]):
        place = file.relative_to(PACKAGE).as_posix()
        content = BytesIO(file.read_bytes())
        if file.suffix == ".html":
            found = babel_extract(content, KEYWORDS, [], OPTIONS)
        else:
            found = extract_python(content, KEYWORDS, [], {})
        for _, function, messages, _ in found:
            for message in _messages(function, messages):
                catalog.add(message, locations=[(place, None)])  # type: ignore[list-item]  # without a line: fewer conflicts
    return catalog


def _messages(function: str | None, said: Any) -> Iterator[str | tuple[str, str]]:
    """The messages of one call."""
    texts = [said] if isinstance(said, str) else [one for one in said if isinstance(one, str)]
    if function == "count" and texts:
        one, many = (*texts, f"{texts[0]}s")[:2]
        yield f"%(num)s {one}", f"%(num)s {many}"
    elif function == "ngettext" and len(texts) > 1:
        yield texts[0], texts[1]
    elif function == "Problem":
        yield from texts
    elif texts:
        yield texts[0]


def bare_texts() -> list[str]:
    """What the templates say without asking the catalogue: place and text."""
    found = []
    for file in sorted(TEMPLATES.rglob("*.html")):
        place = file.relative_to(TEMPLATES).as_posix()
        found += [f"{place}: {text}" for text in bare_texts_of(file.read_text(encoding="utf-8"))]
    return found


def bare_texts_of(template: str) -> list[str]:
    """The same of one template."""
    reader = _Bare()
    asked: list[str] = []
    inside, name, before, calls = "", "", "", []
    for _, kind, value in Environment(extensions=["jinja2.ext.i18n"]).lex(template):
        if kind in {"block_begin", "variable_begin"}:
            inside, name, calls = kind, "", []
        elif kind in {"block_end", "variable_end"}:
            asked.append("" if inside == "block_begin" else "\0")
            inside = ""
        elif kind == "data":
            reader.translated or asked.append(value)
        elif kind == "name":
            reader.translated = {"trans": True, "endtrans": False}.get(value, reader.translated)
            name = value
        elif kind == "operator":
            if value in "([{":
                calls.append(name if value == "(" else value)
            elif value in ")]}" and calls:
                calls.pop()
        elif kind == "string":
            text = value[1:-1]
            lone = (
                inside == "variable_begin"
                and not calls
                and text.isalpha()
                and before not in {"==", "!="}
            )
            if (lone or _SENTENCE.search(text)) and not set(calls) & set(KEYWORDS):
                reader.found.append(text)
        if kind != "whitespace":
            before = value
        if kind == "operator" or (kind == "string"):
            name = ""
    reader.feed("".join(asked))
    return reader.found


class _Bare(HTMLParser):
    """Collects the texts of a page that have letters, but those of code."""

    READ = {"title", "placeholder", "aria-label", "data-label", "alt", "hx-confirm"}
    CODE = {"code", "pre", "kbd", "style", "script"}

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.translated = False
        self._code = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._code += tag in self.CODE
        self.found += [
            value for name, value in attrs if name in self.READ and value and _LETTERS.search(value)
        ]

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in self.CODE

    def handle_data(self, data: str) -> None:
        if not self._code and _LETTERS.search(_ADDRESS.sub("", data)):
            self.found.append(" ".join(data.split()))


def update(language: str) -> Catalog:
    """Bring the file of a language up to date, or begin it; the catalogue as it is now."""
    path, found = LANGUAGES / f"{language}.po", extracted()
    if path.exists():
        with path.open(encoding="utf-8") as file:
            catalog = read_po(file, locale=language)
        catalog.update(found, no_fuzzy_matching=True)
    else:
        catalog = Catalog(locale=language, project="targcc-scheduler")
        catalog.update(found)
    catalog.obsolete.clear()
    content = BytesIO()
    write_po(content, catalog, width=140, sort_output=True, omit_header=False)
    path.write_bytes(content.getvalue())
    return catalog


if __name__ == "__main__":
    for one in sys.argv[1:] or sorted(file.stem for file in LANGUAGES.glob("*.po")):
        missing = [str(message.id) for message in update(one) if message.id and not message.string]
        print(f"{one}: {len(missing)} to translate")  # noqa: T201 - a command
    if texts := bare_texts():
        sys.exit("\n".join(["Not marked:", *texts, HOW]))
