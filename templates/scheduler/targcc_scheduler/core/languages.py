"""Languages of the pages: catalogues of texts, and the reader's language and time zone.

The ``.po`` files are read at run time, so that a language is one text file: no compiled file can be stale, and no build step is needed.
"""

from __future__ import annotations

import gettext as gettext_
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Self, TypeVar
from zoneinfo import ZoneInfo

from .text import isolated

# Texts of one language, in gettext's ``.po`` format.

FOLDER = Path(__file__).with_name("translations")
ENGLISH = "en"


def marked(message: str) -> str:
    """Mark a message for extraction and return the message; translate the message where it is shown."""
    return message


def marked_plural(one: str, many: str) -> tuple[str, str]:
    """Mark the singular and the plural of a message with a number for extraction; return both."""
    return one, many


_NAME = marked("English")
"""The translation is the name of the language in the language itself."""
_DIRECTION = marked("default:LTR")
"""The translation is ``default:RTL`` for a right-to-left language, as in GTK."""
_LINE = re.compile(r'(?:(msgctxt|msgid_plural|msgid|msgstr(?:\[\d\])?)\s+)?(".*")\s*')


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The texts of one language.

    Args:
        language: The code of the language, such as ``he``.
        name: The name of the language in the language itself.
        direction: ``ltr`` or ``rtl``.
        texts: Map each message to its forms: a single form, or one for each plural form. A missing message stays English.
        form_of: Return the index of the plural form for a number.
    """

    language: str
    name: str
    direction: str
    texts: Mapping[str, tuple[str, ...]]
    form_of: Callable[[int], int]

    def text(self, message: str, context: str = "") -> str:
        """Translate a message. ``context`` distinguishes meanings that English expresses with the same words."""
        forms = self.texts.get(in_context(context, message) if context else message)
        return message if forms is None else forms[0]

    def plural(self, one: str, many: str, number: int) -> str:
        """Translate a message with a number, in the plural form of the number."""
        forms = self.texts.get(one)
        if forms is None:
            return one if number == 1 else many
        return forms[self.form_of(number)]


@cache
def languages() -> tuple[str, ...]:
    """Return the codes of the available languages, English first."""
    return (ENGLISH, *sorted(file.stem for file in FOLDER.glob("*.po")))


@cache
def catalogue(language: str) -> Catalogue:
    """Return the catalogue of a language of :func:`languages`."""
    if language == ENGLISH:
        return Catalogue(ENGLISH, "English", "ltr", {}, lambda number: int(number != 1))
    translations = dict(messages((FOLDER / f"{language}.po").read_text(encoding="utf-8")))
    [header] = translations.pop("")
    says = dict(line.split(": ", 1) for line in header.splitlines())
    rule = says["Plural-Forms"].partition("plural=")[2].rstrip(";")
    name, direction = (translations.get(msgid, (msgid,))[0] for msgid in (_NAME, _DIRECTION))
    side = direction.partition(":")[2].lower()
    return Catalogue(language, name, side, translations, gettext_.c2py(rule))


def in_context(context: str, message: str) -> str:
    """Return gettext's key of a message in a context."""
    return f"{context}\4{message}" if context else message


def messages(po: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each message of a ``.po`` text with its forms; skip untranslated and fuzzy messages."""
    for block in re.split(r"\n\s*\n", po):
        lines = block.splitlines()
        if any(line.startswith("#,") and "fuzzy" in line for line in lines):
            continue  # the translation needs review
        fields: dict[str, str] = {}
        name = ""
        for line in lines:
            if match := _LINE.fullmatch(line):
                name = match[1] or name
                fields[name] = fields.get(name, "") + json.loads(match[2])
        forms = tuple(text for field, text in fields.items() if field.startswith("msgstr"))
        if forms and all(forms):
            yield in_context(fields.get("msgctxt", ""), fields["msgid"]), forms


# The reader of the text that is being produced: language and time zone.
#
# A page sets its reader with :func:`reading`; every function that builds sentences reads the setting here. Without a reader, as at
# the command line, in the API, in alerts and in stored texts, sentences are English.

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Reader:
    """The reader of a page.

    Args:
        catalogue: The texts in the reader's language.
        zone: The reader's time zone, if known.
    """

    catalogue: Catalogue
    zone: ZoneInfo | None = None


_NOBODY = Reader(catalogue(ENGLISH))
_READER: ContextVar[Reader] = ContextVar("targcc_reader", default=_NOBODY)


@contextmanager
def reading(reader: Reader) -> Iterator[None]:
    """Produce texts for this reader within the context."""
    token = _READER.set(reader)
    try:
        yield
    finally:
        _READER.reset(token)


for_nobody = partial(reading, _NOBODY)
"""Produce English texts, as for storage, within the context ``for_nobody()``."""


def reader() -> Reader:
    """Return the reader of the text that is being produced."""
    return _READER.get()


def zone_of_reader(own: str) -> ZoneInfo:
    """Return the reader's time zone, or the zone named ``own`` when the reader has none."""
    return reader().zone or ZoneInfo(own)


def translated(message: str) -> str:
    """Translate a message to the reader's language and keep its placeholders."""
    return reader().catalogue.text(message)


def translated_in(context: str, message: str) -> str:
    """Translate a message in a context, for words with several meanings in English; keep its placeholders."""
    return reader().catalogue.text(message, context)


def translated_plural(one: str, many: str, number: int) -> str:
    """Translate a message with a number, in the plural form of the number; keep its placeholders."""
    return reader().catalogue.plural(one, many, number)


def gettext(message: str, **values: object) -> str:
    """Translate a message to the reader's language and fill in its placeholders.

    Args:
        message: The English text, with a placeholder such as ``%(name)s`` for each value.
        values: The values of the placeholders. Text values are isolated, so that their direction does not change the sentence's.
    """
    return translated(message) % _isolated(values)


def ngettext(one: str, many: str, number: int, **values: object) -> str:
    """Translate a message with a number and fill in its placeholders; ``%(num)s`` is the number."""
    placeholders = {"num": f"{number:,}", **values}
    return translated_plural(one, many, number) % _isolated(placeholders)


class Localized(str):
    """The text of an error: English as a value, and in the reader's language where ``str()`` turns it into text.

    An exception whose only argument is such a text is thus shown in the language of the page that catches it; logs and stored texts
    stay English.

    Args:
        message: The English text, with placeholders as for :func:`gettext`.
        values: The values of the placeholders.
    """

    __slots__ = ("_message", "_values")
    _message: str
    _values: Mapping[str, object]

    def __new__(cls, message: str, **values: object) -> Self:
        """Fill in the placeholders."""
        text = super().__new__(cls, message % values)
        text._message, text._values = message, values
        return text

    def __str__(self) -> str:
        """Return the text in the reader's language."""
        return gettext(self._message, **self._values)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Another process gets the English text."""
        return str, (str.__str__(self),)


def _isolated(values: Mapping[str, object]) -> dict[str, object]:
    present = reader()
    if present is _NOBODY:
        return dict(values)
    direction = present.catalogue.direction
    return {
        name: isolated(value, direction) if isinstance(value, str) else value
        for name, value in values.items()
    }


class Words(Mapping[K, str]):
    """A mapping of keys to words; reading a key translates its word to the reader's language."""

    def __init__(self, words: Mapping[K, str]) -> None:
        self._words = words

    def __getitem__(self, key: K) -> str:
        return translated(self._words[key])

    def __iter__(self) -> Iterator[K]:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)
