"""The texts of one language, as a ``.po`` file of gettext has them.

The file is read as it is, so that a language is one text file: no compiled twin that could be stale, and nothing to build.
"""

from __future__ import annotations

import gettext
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
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
    return Catalogue(language, name, side, found, gettext.c2py(rule))


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
