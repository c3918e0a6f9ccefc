"""Languages of the pages: catalogues of texts, and the reader's language and time zone.

The file is read as it is, so that a language is one text file: no compiled twin that could be stale, and nothing to build.
"""

from __future__ import annotations

import gettext as gettext_
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

from .text import isolated

# The texts of one language, as a ``.po`` file of gettext has them.

FOLDER = Path(__file__).with_name("translations")
ENGLISH = "en"


def marked(message: str) -> str:
    """The message itself, for whoever collects the texts; it is translated where it is shown."""
    return message


def marked_plural(one: str, many: str) -> tuple[str, str]:
    """The same of a message that says a number."""
    return one, many


_NAME = marked("English")
"""Its translation is what those who read a language call it."""
_DIRECTION = marked("default:LTR")
"""Its translation is ``default:RTL`` in a language that is written from right to left, as GTK has it."""
_LINE = re.compile(r'(?:(msgctxt|msgid_plural|msgid|msgstr(?:\[\d\])?)\s+)?(".*")\s*')


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The texts of one language.

    Args:
        language: Its code, such as ``he``.
        name: What those who read it call it.
        direction: ``ltr`` or ``rtl``.
        texts: The forms of each message: one, or one for each plural form. A message that is not here stays English.
        form_of: Which form goes with a number.
    """

    language: str
    name: str
    direction: str
    texts: Mapping[str, tuple[str, ...]]
    form_of: Callable[[int], int]

    def text(self, message: str, context: str = "") -> str:
        """A message in this language; in a context where English says the same of different things."""
        return self.texts.get(in_context(context, message), (message,))[0]

    def plural(self, one: str, many: str, number: int) -> str:
        """A message that says a number, in the form that goes with it."""
        forms = self.texts.get(one)
        if forms is None:
            return one if number == 1 else many
        return forms[self.form_of(number)]


@cache
def languages() -> tuple[str, ...]:
    """The codes of the languages that there are, English first."""
    return (ENGLISH, *sorted(file.stem for file in FOLDER.glob("*.po")))


@cache
def catalogue(language: str) -> Catalogue:
    """The texts of one of :func:`languages`."""
    if language == ENGLISH:
        return Catalogue(ENGLISH, "English", "ltr", {}, lambda number: int(number != 1))
    found = dict(messages((FOLDER / f"{language}.po").read_text(encoding="utf-8")))
    [header] = found.pop("")
    says = dict(line.split(": ", 1) for line in header.splitlines())
    rule = says["Plural-Forms"].partition("plural=")[2].rstrip(";")
    name, direction = (found.get(one, (one,))[0] for one in (_NAME, _DIRECTION))
    side = direction.partition(":")[2].lower()
    return Catalogue(language, name, side, found, gettext_.c2py(rule))


def in_context(context: str, message: str) -> str:
    """The key of a message that English says in the same words as another one, as gettext has it."""
    return f"{context}\4{message}" if context else message


def messages(po: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each message of a file with its forms; those that nobody has translated, or looked at again, are left out."""
    for block in re.split(r"\n\s*\n", po):
        lines = block.splitlines()
        if any(line.startswith("#,") and "fuzzy" in line for line in lines):
            continue  # somebody has to look at it again
        fields: dict[str, str] = {}
        name = ""
        for line in lines:
            if found := _LINE.fullmatch(line):
                name = found[1] or name
                fields[name] = fields.get(name, "") + json.loads(found[2])
        forms = tuple(text for field, text in fields.items() if field.startswith("msgstr"))
        if forms and all(forms):
            yield in_context(fields.get("msgctxt", ""), fields["msgid"]), forms


# Who reads what is being written: their language and their time zone.
#
# A page says for whom it is made with :func:`reading`, and everything that makes sentences asks here. Where nobody has said, as at
# the command line, in the API, in alerts and in whatever is stored, sentences are English.

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who reads a page.

    Args:
        catalogue: The texts in their language.
        zone: Their time zone, if it is known.
    """

    catalogue: Catalogue
    zone: ZoneInfo | None = None


_NOBODY = Reader(catalogue(ENGLISH))
_READER: ContextVar[Reader] = ContextVar("targcc_reader", default=_NOBODY)


@contextmanager
def reading(reader: Reader) -> Iterator[None]:
    """For a while, write for this reader."""
    token = _READER.set(reader)
    try:
        yield
    finally:
        _READER.reset(token)


def for_nobody() -> AbstractContextManager[None]:
    """For a while, write what is stored: in English."""
    return reading(_NOBODY)


def reader() -> Reader:
    """Who reads what is being written."""
    return _READER.get()


def zone_of_reader(own: str) -> ZoneInfo:
    """The zone in which the reader is shown times: theirs, else the one with this name."""
    return reader().zone or ZoneInfo(own)


def translated(message: str) -> str:
    """A message in the reader's language, with its placeholders."""
    return reader().catalogue.text(message)


def translated_in(context: str, message: str) -> str:
    """The same of a message that English says in the same words as another one."""
    return reader().catalogue.text(message, context)


def translated_plural(one: str, many: str, number: int) -> str:
    """A message that says a number, with its placeholders, in the form that goes with the number."""
    return reader().catalogue.plural(one, many, number)


def gettext(message: str, **values: object) -> str:
    """A message in the reader's language.

    Args:
        message: In English, with a placeholder such as ``%(name)s`` for each value.
        values: What stands for the placeholders; a text of somebody does not turn the sentence around.
    """
    return translated(message) % _isolated(values)


def ngettext(one: str, many: str, number: int, **values: object) -> str:
    """A message that says a number, in the reader's language; ``%(num)s`` is the number."""
    said = {"num": f"{number:,}", **values}
    return translated_plural(one, many, number) % _isolated(said)


def _isolated(values: Mapping[str, object]) -> dict[str, object]:
    if reader() is _NOBODY:
        return dict(values)
    direction = reader().catalogue.direction
    return {
        name: isolated(value, direction) if isinstance(value, str) else value
        for name, value in values.items()
    }


class Words(Mapping[K, str]):
    """Words that are looked up in the reader's language."""

    def __init__(self, words: Mapping[K, str]) -> None:
        self._words = words

    def __getitem__(self, key: K) -> str:
        return translated(self._words[key])

    def __iter__(self) -> Iterator[K]:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)
