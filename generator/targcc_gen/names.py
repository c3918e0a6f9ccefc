"""The four forms of a job's name: key, class, module and display name.

`DailyReport`, `DailyReportJob`, `daily_report`, `daily-report` and `"Daily Report"` all name the same job: the key
`DailyReport`, the class `DailyReportJob`, the file `jobs/daily_report.py`.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from targcc_gen.errors import InputError, JobNameError

MAX_LENGTH = 100
"""The width of the `JobName` columns, in characters."""

_SUFFIX = "Job"
_SEPARATORS = re.compile(r"[\s_\-]+")
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9]*")

# Modules of the standard library in some versions from Python 3.11 to 3.15: a spec is valid on all versions or on none.
_STANDARD_MODULES = sys.stdlib_module_names | frozenset(
    "aifc annotationlib asynchat asyncore audioop cgi cgitb chunk compression crypt distutils imghdr imp"  # noqa: SIM905 - as a list it takes thirty lines
    " lib2to3 mailcap msilib nis nntplib ossaudiodev pipes profiling smtpd sndhdr spwd sunau telnetlib"
    " uu xdrlib".split()
)

# https://learn.microsoft.com/windows/win32/fileio/naming-a-file: with or without an extension.
_WINDOWS_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))]
)


@dataclass(frozen=True)
class JobName:
    """A job's name in every form; `key` is the form of the spec and the tables."""

    key: str

    @classmethod
    def parse(cls, text: str) -> JobName:
        """Parse a name that a user typed, in any of its usual spellings.

        Raises:
            InputError: The text is not valid for a class and a file; the hint has a valid name.
        """
        key = _key(text)
        problem = _problem(text, key)
        if problem:
            example = cls.from_text(text).key if key else "DailyReport"
            raise JobNameError(problem, hint=f'use a name such as "{example}"')
        return cls(key)

    @classmethod
    def from_text(cls, text: str, *, taken: Collection[str] = ()) -> JobName:
        """Make the nearest valid name from any text, such as a legacy job's name.

        The same text gives the same name on every machine. Text without any Latin letter or digit becomes `Job` and a number computed
        from the text.

        Args:
            text: Any text.
            taken: Keys in use. A name equal to a key in use, in any case, gets a number.
        """
        return cls(_untaken(_nearest_key(text), taken))

    @property
    def class_name(self) -> str:
        """The class, `DailyReportJob`."""
        return self.key + _SUFFIX

    @property
    def module(self) -> str:
        """The module below `jobs`, `daily_report`."""
        return "_".join(_words(self.key)).lower()

    @property
    def display(self) -> str:
        """The display name, `Daily Report`."""
        return " ".join(_words(self.key))


def key_of(written: object) -> str:
    """Return the key of a job's name in a spec; return an invalid name unchanged."""
    try:
        return JobName.parse(str(written)).key
    except InputError:
        return str(written)


def same_job(first: str, other: str) -> bool:
    """Return whether two keys mean the same job: commands and some file systems ignore case."""
    return first.casefold() == other.casefold()


def package_problem(package: str) -> str | None:
    """Return the reason that `package` cannot be the import name of a generated project, or None."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", package):
        return "is no import name: letters, digits and _, and no digit first"
    if keyword.iskeyword(package):
        return "is a Python keyword"
    if package.lower() in _STANDARD_MODULES:
        return "would hide the module of that name in Python's standard library"
    if package.lower() in _WINDOWS_DEVICES:
        return "is a device on Windows, where no folder can have that name"
    return None


@lru_cache(maxsize=16_384)
def _key(text: str) -> str:
    """Return the key for `daily-report job`: `DailyReport`. Invalid text stays recognizable."""
    parts = [part for part in _SEPARATORS.split(text.strip()) if part]
    if len(parts) > 1 and text == text.upper():
        parts = [part.capitalize() for part in parts]
    key = "".join(part[:1].upper() + part[1:] for part in parts)
    while key.endswith(_SUFFIX):
        key = key.removesuffix(_SUFFIX)
    return key


@lru_cache(maxsize=16_384)
def _problem(text: str, key: str) -> str | None:
    """Return the reason that `key`, made from `text`, is not a valid name for a job, or None."""
    if not text.strip():
        return "a job needs a name"
    shown = f'"{_printable(text)}"'
    if not key:
        return f"{shown} says only that it is a job, not which"
    if key[0].isdecimal() and key[0].isascii():
        return f"{shown} starts with a digit; a class cannot"
    if not _IDENTIFIER.fullmatch(key):
        return f"{shown} has {_foreign(key)}; a job's name has only the letters A-Z, a-z and digits"
    if len(key) > MAX_LENGTH:
        return f"{shown} has {len(key)} characters; a job's name has at most {MAX_LENGTH}"
    return _module_problem(JobName(key).module)


def _module_problem(module: str) -> str | None:
    """Return the reason that `jobs/<module>.py` must not exist, or None."""
    if keyword.iskeyword(module):
        return f'"{module}" is a Python keyword, so jobs/{module}.py could not be imported'
    if module in _STANDARD_MODULES:
        return f'"{module}" is a module of Python\'s standard library, which jobs/{module}.py could hide'
    if module in _WINDOWS_DEVICES:
        return f'"{module}" is a device on Windows, where no file can have that name'
    return None


def _nearest_key(text: str) -> str:
    plain = re.sub(r"['\u2019`\u00b4]", "", text)
    if not plain.isascii():
        from anyascii import anyascii  # 345 kB of letters, for the few names that need anyascii

        plain = anyascii(plain)
    key = _key(re.sub(r"[^A-Za-z0-9]+", " ", plain))
    if not key:
        import hashlib

        number = int(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8], 16)
        return f"{_SUFFIX}{number}"
    if key[0].isdigit():
        key = _SUFFIX + key
    key = _key(key[:MAX_LENGTH]) or f"{_SUFFIX}1"
    return f"{key}Task" if _module_problem(JobName(key).module) else key


def _untaken(key: str, taken: Collection[str]) -> str:
    used = {name.casefold() for name in taken}
    candidate, number = key, 1
    while candidate.casefold() in used:
        number += 1
        candidate = f"{key[: MAX_LENGTH - len(str(number))]}{number}"
    return candidate


def _words(key: str) -> list[str]:
    """Split `SAPSync2` into `SAP`, `Sync2`: the default display name of a generated project."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", key).split(" ")


def _foreign(key: str) -> str:
    """Return the characters of `key` that a name cannot have, for people."""
    match = dict.fromkeys(letter for letter in key if not _IDENTIFIER.fullmatch("A" + letter))
    shown = [f'"{_printable(letter)}"' for letter in list(match)[:5]]
    return ", ".join(shown) + (" and more" if len(match) > len(shown) else "")


def _printable(text: str, limit: int = 60) -> str:
    """Return `text` on a single line, safe to print on a terminal, cut after `limit` characters."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in cut
    )
