"""The secret values that this process knows."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from urllib.parse import unquote, unquote_plus

from .forms import forms_of
from .patterns import MASK, looks_secret, mask_patterns

_MOST_PASSING = 512
"""Values that come and go, such as secret arguments; the one that was used the longest ago is forgotten."""
_URL = re.compile(
    r"://(?P<user>[^:/@\s]{0,300}):(?P<password>[^@\s]{1,2000})@(?P<host>[^/?#\s]*)/?(?P<name>[^?#\s]*)"
)
_QUERY = re.compile(r"[?&;](?P<name>[\w.-]{1,100})=(?P<value>[^&;#\s]+)")
_SEPARATORS = re.compile("[@/:#]")
_LONGEST_URL = 10_000


class KnownSecrets:
    """Values that are masked in every text that goes out. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lasting: set[str | bytes] = set()
        self._passing: OrderedDict[str | bytes, frozenset[str]] = OrderedDict()
        self._forms: tuple[str, ...] = ()
        self._longest = 0

    def add(self, value: str | bytes, *, passing: bool = False) -> None:
        """Know a secret value from now on.

        Args:
            value: The value; one that cannot be told from ordinary text is left out.
            passing: Whether it belongs to one run or request: of such values the last 512 are known.
        """
        with self._lock:
            if value in self._lasting or not value:
                return
            if passing and value in self._passing:
                self._passing.move_to_end(value)
                return
            forms = forms_of(value)
            if not forms:
                return
            if passing:
                self._passing[value] = forms
                while len(self._passing) > _MOST_PASSING:
                    self._passing.popitem(last=False)
            else:
                self._lasting.add(value)
                self._forms = tuple(sorted({*self._forms, *forms}, key=len, reverse=True))
            self._longest = max(self._longest, *map(len, forms))

    def add_url(self, url: str) -> None:
        """Know the password of a URL, and the values in its query that are called like secrets; as written and decoded.

        A password that is also the user's name or the database's is no secret, and would hide every mention of them.
        """
        url = url[:_LONGEST_URL]
        for found in _URL.finditer(url):
            if found["password"] not in {found["user"], found["host"], found["name"]}:
                self._add_encoded(found["password"])
        self._add_parts(url)
        for found in _QUERY.finditer(url):
            if looks_secret(found["name"]):
                self._add_encoded(found["value"])

    def _add_parts(self, url: str) -> None:
        """Know each part of a password with ``@``, ``/``, ``:`` or ``#``: readers of URLs take a part for the host or the port, and say so."""
        place = url.partition("://")[2].partition("://")[0]  # a text may hold several URLs
        user_info, at, _ = place.partition("?")[0].rpartition("@")
        password = user_info.partition(":")[2]
        parts = _SEPARATORS.split(password)
        if at and len(parts) > 1:
            for part in (password, *parts):
                self._add_encoded(part)

    def add_environment(self, environment: Mapping[str, str | None]) -> None:
        """Know the values of variables that are called like secrets, and the passwords of those that are URLs."""
        for name, value in environment.items():
            if not value:
                continue
            if "://" in value:
                self.add_url(value)
            elif "_" in name and looks_secret(name):  # not PWD
                self.add(value)

    def _add_encoded(self, value: str) -> None:
        for form in {value, unquote(value), unquote_plus(value)}:
            self.add(form)

    @property
    def lasting(self) -> tuple[str | bytes, ...]:
        """The values that belong to the process, for those that it starts."""
        with self._lock:
            return tuple(self._lasting)

    @property
    def longest(self) -> int:
        """How many characters the longest form has of any value."""
        return self._longest

    def mask(self, text: str, shown: str = MASK) -> str:
        """``text`` with ``shown`` in place of every form of every value."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, shown)
        if self._passing:
            for forms in list(self._passing.values()):
                for form in forms:
                    if form in text:
                        text = _replaced(text, forms, shown)
                        break
        return text


def _replaced(text: str, forms: frozenset[str], shown: str) -> str:
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, shown)
    return text


KNOWN = KnownSecrets()
"""The values that this process knows."""


def mask(text: str) -> str:
    """``text`` without the secret values that this process knows, in any form, and without what looks like a secret."""
    return mask_patterns(KNOWN.mask(text))


def longest_secret() -> int:
    """How many characters the longest form has of a secret value that this process knows."""
    return KNOWN.longest
