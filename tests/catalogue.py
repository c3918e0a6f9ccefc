"""Texts of the pages: extract them from the code and merge them into the file of each language.

`uv run python tests/catalogue.py` updates every `xx.po`; `… fr` begins another language. Pages show untranslated texts in English.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import targcc_scheduler
from babel.messages import Catalog, Message
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment
from jinja2.ext import babel_extract
from targcc_scheduler.core.languages import in_context

PACKAGE = Path(targcc_scheduler.__file__).parent
LANGUAGES = PACKAGE / "core" / "translations"
COMMAND = "uv run python tests/catalogue.py"
HOW = (
    'Mark it: {{ _("Text") }} or {% trans %} in a template, gettext("Text %(name)s", name=…) in Python. Then run'
    f" `{COMMAND}` and fill in what is empty in {LANGUAGES.name}/*.po."
)
KEYWORDS = {
    **dict.fromkeys(("_", "gettext", "marked", "translated", "Localized"), None),
    **dict.fromkeys(
        (
            "ngettext",
            "pgettext",
            "translated_in",
            "marked_plural",
            "count",
            "Problem",
            "from_another_site",
        ),
        None,
    ),
}
_IN_CONTEXT = {"pgettext", "translated_in"}
OPTIONS = {
    "trimmed": "true",
    "newstyle_gettext": "true",
    "trim_blocks": "true",
    "lstrip_blocks": "true",
}
_ENGLISH = (
    "cli/",
    "features/doctor/",
    *(
        f"features/legacy/{name}.py"
        for name in ("cutover", "cutover_plan", "shadow_report", "old_server")
    ),
)
"""Files without texts of pages, besides commands."""
_PAGES = (
    "web/dashboard/",
    "web/guest.py",
    "web/addresses.py",
    "web/host_login.py",
    "web/authentication.py",
    "web/problems.py",
)
_CALL = re.compile(rf"\b({'|'.join(KEYWORDS)})\(")
_DATED = (
    '"Project-Id',
    '"Report-',
    '"POT-',
    '"PO-',
    '"Last-',
    '"Language-Team',
    '"Generated',
    "#, python-format",
)
"""Header lines that would differ each time, or carry no information."""
_LETTERS = re.compile("[A-Za-z]{2}")
_ADDRESS = re.compile(r"/[\w?/]+")
_URL = re.compile(r"https://\S+")
_SENTENCE = re.compile("[A-Z][a-z]|[a-z]{2} [a-z]{2}")


def extracted() -> Catalog:
    """Return every text of the pages."""
    catalog = Catalog()
    for file in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.html")]):
        place = file.relative_to(PACKAGE).as_posix()
        if place.startswith(_ENGLISH) or place.endswith("/commands.py"):
            continue
        calls = _of_template(file) if file.suffix == ".html" else _of_module(file)
        for function, texts in calls:
            if function.lower().startswith("problem") and not (
                place.startswith(_PAGES) or place.endswith("pages.py")
            ):
                continue  # read by programs, in English
            for message in _messages(function, texts):
                context = texts[0] if function in _IN_CONTEXT else None
                catalog.add(message, context=context)
    return catalog


def _of_template(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each translation call of a template with its texts."""
    for _, function, argument, _ in babel_extract(
        BytesIO(file.read_bytes()), KEYWORDS, [], OPTIONS
    ):
        parts = (argument,) if isinstance(argument, str) else argument or ()
        yield function or "", [part for part in parts if isinstance(part, str)]


def _of_module(file: Path) -> Iterator[tuple[str, list[str]]]:
    source = file.read_text(encoding="utf-8")
    if _CALL.search(source) is None:
        return  # most files have no such call, and parsing all takes a second
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func).rpartition(".")[2]
            if function in KEYWORDS:
                texts = [
                    part.value if isinstance(part, ast.Constant) else None for part in node.args
                ]
                if function == "count" and texts and isinstance(texts[0], str):
                    # `count` of a text, not our function, whose first argument is a number
                    continue
                yield function, [part for part in texts if isinstance(part, str)]


def _messages(function: str, texts: list[str]) -> Iterator[str | tuple[str, str]]:
    """Yield the messages of one call."""
    if function == "count" and texts:
        singular, plural = (*texts, f"{texts[0]}s")[:2]
        yield f"%(num)s {singular}", f"%(num)s {plural}"
    elif function in {"ngettext", "marked_plural"} and len(texts) > 1:
        yield texts[0], texts[1]
    elif function in _IN_CONTEXT:
        yield texts[1]
    elif function.lower().startswith("problem"):
        yield from texts
    elif texts:
        yield texts[0]


def key_of(message: Message) -> str:
    """Return the key of a message."""
    text = message.id if isinstance(message.id, str) else message.id[0]
    return in_context(message.context or "", text)


def is_translated(message: Message) -> bool:
    """Return whether every form of a message has a translation."""
    return bool(message.string) and all(message.string)


def bare_texts() -> list[str]:
    """Return place and text of the templates' texts outside of translation calls."""
    texts = []
    for file in sorted(PACKAGE.rglob("*.html")):
        place = file.relative_to(PACKAGE).as_posix()
        texts += [f"{place}: {text}" for text in bare_texts_of(file.read_text(encoding="utf-8"))]
    return texts


def bare_texts_of(template: str) -> list[str]:
    """Return the texts of a template outside of translation calls."""
    texts, page, asking = [], [], _Asking()
    translated = False
    for _, kind, value in Environment(extensions=["jinja2.ext.i18n"]).lex(template):
        if kind == "name" and value in {"trans", "endtrans"}:
            translated = value == "trans"
        elif kind == "data" and not translated:
            page.append(value)
        elif kind == "variable_end":
            page.append("\0")  # any expression
        if text := asking.bare(kind, value):
            texts.append(text)
    reader = _Bare()
    reader.feed("".join(page))
    return texts + reader.found


class _Asking:
    """Follow the expressions of a template to find texts outside of translation calls."""

    def __init__(self) -> None:
        self._inside = self._before = ""
        self._calls: list[str] = []

    def bare(self, kind: str, value: str) -> str:
        """Return the text, if this token is an untranslated text."""
        if kind in {"block_begin", "variable_begin"}:
            self._inside, self._calls = kind, []
        elif value in {"(", "[", "{"}:
            self._calls.append(self._before)
        elif value in {")", "]", "}"} and self._calls:
            self._calls.pop()
        text = value[1:-1] if kind == "string" and self._is_bare(value[1:-1]) else ""
        if kind != "whitespace":
            self._before = value
        return text

    def _is_bare(self, text: str) -> bool:
        if not KEYWORDS.keys().isdisjoint(self._calls):
            return False
        alone = self._inside == "variable_begin" and not self._calls
        word = alone and text.isalpha() and self._before not in {"==", "!="}
        return word or _SENTENCE.search(text) is not None


_READ = {"title", "placeholder", "aria-label", "data-label", "alt", "hx-confirm"}
"""Attributes with visible text."""
_CODE = {"code", "pre", "kbd", "style", "script"}


class _Bare(HTMLParser):
    """Collect the texts of a page that contain letters, except code."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._code = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._code += tag in _CODE
        self.found += [
            value
            for name, value in attrs
            if name in _READ and value and _LETTERS.search(_URL.sub("", value))
        ]

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in _CODE

    def handle_data(self, data: str) -> None:
        if not self._code and _LETTERS.search(_ADDRESS.sub("", data)):
            self.found.append(" ".join(data.split()))


def update(language: str) -> Catalog:
    """Update or create the file of a language; return its catalogue."""
    path, template = LANGUAGES / f"{language}.po", extracted()
    if path.exists():
        with path.open(encoding="utf-8") as file:
            catalog = read_po(file, locale=language)
    else:
        catalog = Catalog(locale=language, header_comment=f"# The texts of the pages: {language}.")
    catalog.update(template, no_fuzzy_matching=True)
    catalog.obsolete.clear()
    catalog.fuzzy = False
    content = BytesIO()
    write_po(content, catalog, width=140, sort_output=True, no_location=True)
    lines = content.getvalue().decode().splitlines(keepends=True)
    kept = "".join(line for line in lines if not line.startswith(_DATED))
    path.write_text(kept, encoding="utf-8", newline="\n")
    return catalog


if __name__ == "__main__":
    for one in sys.argv[1:] or sorted(file.stem for file in LANGUAGES.glob("*.po")):
        missing = [
            str(message.id) for message in update(one) if message.id and not is_translated(message)
        ]
        print(f"{one}: {len(missing)} to translate")  # noqa: T201 - a command
    if texts := bare_texts():
        sys.exit("\n".join(["Not marked:", *texts, HOW]))
