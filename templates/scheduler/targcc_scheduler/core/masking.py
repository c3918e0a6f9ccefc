"""Mask secrets in texts: known values in every form, then patterns that look like secrets."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import shlex
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote, quote_plus, unquote, unquote_plus

# Forms of a secret value in texts: plain, escaped, quoted and encoded.

_SHORTEST = 6
_SURE = 8  # a shorter value that is a plain word or number may be part of ordinary text
_SHORTEST_LINE = 16
_SHORTEST_CORE = 8
"""The minimum of base64 characters that depend on the value alone; fewer match by chance."""


def worth_masking(value: str) -> bool:
    """Return whether a value differs enough from ordinary text: 8 characters or more, or 6 that are not just letters or just digits."""
    plain = value.isdigit() or (value.isalpha() and value in {value.lower(), value.title()})
    return len(value) >= _SURE or (len(value) >= _SHORTEST and not plain)


def forms_of(value: str | bytes) -> frozenset[str]:
    """Return every form of a secret value; empty when the value is too short to be told from ordinary text."""
    text = value if isinstance(value, str) else value.decode("utf-8", "replace")
    raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    if not worth_masking(text.strip()):
        return frozenset()
    forms = {*_written(text), repr(raw)[2:-1]}
    forms |= {again for form in forms for again in _written_again(form)} | {*_encoded(raw)}
    if text != text.strip():
        forms |= forms_of(text.strip())
    for line in text.splitlines() if "\n" in text else ():  # each line of a multi-line key
        if len(line.strip()) >= _SHORTEST_LINE:
            forms |= forms_of(line.strip())
    return frozenset(form for form in forms if len(form) >= _SHORTEST)


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
    yield _html(text).replace("&quot;", "&#34;")  # as in Jinja's output
    yield shlex.quote(text).removeprefix("'").removesuffix("'")
    yield text.replace("'", "'\\''")
    yield text.replace("'", "''")  # SQL, YAML
    yield text.replace('"', '""')  # CSV
    yield text.replace("%", "%%")
    yield text.replace("]", "]]").replace("}", "}}")


def _written_again(form: str) -> Iterator[str]:
    """Yield a form as escaped inside another text, such as JSON of a response within an exception's message that ``repr`` shows."""
    yield json.dumps(form)[1:-1]
    yield json.dumps(form, ensure_ascii=False)[1:-1]
    yield repr(form)[1:-1]
    yield _html(form)
    yield quote(form, safe="", errors="replace")
    yield quote_plus(form, errors="replace")


def _html(text: str, *, quote: bool = True) -> str:
    from html import escape  # loads 2,000 names of characters; few processes need it

    return escape(text, quote=quote)


def _lower_hex(escaped: str) -> str:
    head, *rest = escaped.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def _encoded(raw: bytes) -> Iterator[str]:
    """Yield the hexadecimal form, and the base64 forms at each of the three offsets, without the characters shared with adjacent data."""
    yield raw.hex()
    yield raw.hex().upper()
    for before in range(3):
        letters = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        whole = (before + len(raw)) * 8 // 6  # the next also depends on later data
        core = letters[-(-before * 8 // 6) : whole]
        if len(core) >= _SHORTEST_CORE:
            yield core
            yield core.replace("+", "-").replace("/", "_")
            yield quote(core, safe="")
            yield _lower_hex(quote(core, safe=""))
            yield core.replace("/", "\\/")


# Patterns of secrets: the second line of defence, for values that this process does not know.

MASK = "••••••"
"""The text that replaces a secret."""

_WORD = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|account[_-]?key"
    r"|private[_-]?key|(?<![a-z])sig(?:nature)?)"
)
_IS_SECRET = re.compile(
    rf"{_WORD}$|(?:^|[_-])(?:authorization|credentials?|cookie)$", re.IGNORECASE
)
_QUOTED = r"""'(?:[^'\n]|''){1,500}+'|"(?:[^"\n]|""){1,500}+"|\{(?:[^{}\n]|\}\}){1,500}+\}"""
_VALUE = rf"""(?:{_QUOTED}|['"]?[^&\s@'";,<>)\]}}]++)"""
_IS = r"[ \t]{0,9}=[ \t]{0,9}"
_SPACED = rf"{_IS}(?![ \t=>]|[a-z_][\w.]{{0,80}}+[(\[])"
"""An equals sign with blanks around, except comparisons and code that calls a function."""
_NO_PROSE = r"(?![ \t]|(?-i:[a-z]{1,15}) [a-z])"
_HEADER = r"""(?:\\*['"]\s{0,9},|\\*['"]?\s{0,9}[:=])\s{0,9}[br]?\\*['"]?"""
"""The text between the name of a header and its value, also in a dump of headers: ``b'Cookie', b'…'``."""

Rule = tuple[tuple[str, ...], re.Pattern[str], str | Callable[[re.Match[str]], str]]


def looks_secret(name: str) -> bool:
    """Return whether a name suggests a secret, such as ``smtp_password``."""
    return _IS_SECRET.search(name[-80:]) is not None


def _rule(needles: tuple[str, ...], pattern: str, shown: str = rf"\1{MASK}") -> Rule:
    return needles, re.compile(pattern, re.IGNORECASE), shown


_NAMES = ("pass", "pwd", "secret", "token", "key", "sig")
_RULES: tuple[Rule, ...] = (
    _rule(
        ("private key-----",), r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)[\s\S]*?(?=-----END|\Z)"
    ),
    _rule(
        ("://",),
        r"(://[^:/@\s'\"]{0,200}+:)(?!\*\*\*@)(?!\d{1,5}(?:[?#\s,;:.)'\"]|/(?![^@\s'\"?#]{1,300}+@)|\Z))[^@\s'\"]{1,300}+(?=@)",
    ),
    _rule(("jdbc:oracle",), r"(jdbc:oracle:\w{1,9}:[^/@\s]{1,100}+/)[^@\s]{1,300}+(?=@)"),
    # A value in a connection string may hold blanks: the value ends with a semicolon, or with the string.
    _rule(_NAMES, rf"((?<=;)[ \t]{{0,9}}{_WORD}{_IS})(?![{{'\"\s])[^;\n'\"]{{1,300}}+"),
    _rule(_NAMES, rf"({_WORD}{_IS})(?![{{'\"\s=>])[^;=\n'\"]{{1,300}}+(?=;[ \t]?[\w ]{{2,30}}=)"),
    _rule(_NAMES, rf"({_WORD}(?:=|{_SPACED})){_VALUE}"),
    _rule(_NAMES, rf"({_WORD}\\*['\"]\s{{0,9}}[:=]\s{{0,9}}[br]?\\*['\"])[^'\"\\\n]{{1,500}}+"),
    # A header as a pair, as HTTP clients log headers: (b'X-Api-Key', b'…').
    _rule(_NAMES, rf"""(\(b?['"][\w-]{{0,40}}{_WORD}['"],\s?b?['"])[^'"\n]{{1,500}}+"""),
    _rule(_NAMES, rf"({_WORD}>)[^<>\n]{{1,500}}+(?=</)"),
    _rule(_NAMES, rf"({_WORD}:[ \t]{{0,9}}){_NO_PROSE}{_VALUE}"),
    _rule(("bearer ", "basic "), r"(\b(?:Bearer|Basic)[ \t]{1,9}+)[^\s&@'\",;]{6,}+"),
    _rule(
        ("authorization",),
        rf"(authorization{_HEADER}(?:Digest|AWS4-HMAC-SHA256|Signature)[ \t]{{1,9}})[^\n]{{1,2000}}+",
    ),
    _rule(
        ("authorization",),
        rf"(authorization{_HEADER}(?:[\w-]{{1,30}}[ \t]{{1,9}})?+){_NO_PROSE}(?!{MASK}|(?-i:[a-z]+)(?:[\s.,;]|\Z))[^\s&@'\",;]{{6,}}+",
    ),
    _rule(("cookie",), rf"(cookie{_HEADER})(?=[^\s=]{{1,80}}=)[^\n'\"\\]{{1,4000}}+"),
    _rule(
        ("hooks.slack.com/", "webhook.office.com/", "discord", "/webhook"),
        r"((?:hooks\.slack\.com/(?:services|workflows|triggers)|webhook\.office\.com/\w{1,20}|discord(?:app)?\.com/api/webhooks)/)[^\s'\"<>]+",
    ),
    # The path alone: urllib3 logs the path beside the host.
    _rule(
        ("/services/", "/webhookb2/", "/api/webhooks/", "/workflows/"),
        r"(/(?:services/T\w{1,30}|webhookb2|api/webhooks|workflows/\w{1,64}/triggers)/)[^\s'\"<>]++",
    ),
    _rule(
        (
            "eyj",
            "akia",
            "asia",
            "ghp_",
            "gho_",
            "ghs_",
            "github_pat_",
            "glpat-",
            "xox",
            "sk_live_",
            "tgc_",
        ),
        r"(?<![A-Za-z0-9])(?:eyJ[\w-]{8,4000}+\.[\w-]{8,4000}+(?:\.[\w-]{0,4000}+)?|(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pos]_\w{20,}"
        r"|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}|sk_live_\w{10,}|tgc_[\w-]{20,})",
        MASK,
    ),
)


def mask_patterns(text: str) -> str:
    """Mask texts that look like a password, a token or a key. A rule whose needles are not in ``text`` costs next to nothing."""
    low = text.lower()
    for needles, pattern, shown in _RULES:
        if any(needle in low for needle in needles):
            text = pattern.sub(shown, text)
    return text


# Secret values that this process knows.

_MOST_PASSING = 512
"""The maximum of short-lived values, such as secret arguments; the least recently added value is dropped first."""
_URL = re.compile(
    r"://(?P<user>[^:/@\s]{0,300}):(?P<password>[^@\s]{1,2000})@(?P<host>[^/?#\s]*)/?(?P<name>[^?#\s]*)"
)
_QUERY = re.compile(r"[?&;](?P<name>[\w.-]{1,100})=(?P<value>[^&;#\s]+)")
_SEPARATORS = re.compile("[@/:#]")
_LONGEST_URL = 10_000
_SERVER = re.compile(r"(?:postgres|mysql|mariadb|mssql|oracle)[\w+]{0,40}://", re.IGNORECASE)


def _lacks_its_host(url: str, place: str) -> bool:
    """Return whether the URL of a database server has a password and no host, as in ``postgresql://user:password/name``: a word where the port stands."""
    _, colon, port = place.partition("/")[0].rpartition(":")
    return bool(colon and port and not port.isdigit() and _SERVER.match(url)) and place[0] != "["


class KnownSecrets:
    """The secret values to mask in every outgoing text. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lasting: set[str | bytes] = set()
        self._passing: OrderedDict[str | bytes, frozenset[str]] = OrderedDict()
        self._forms: tuple[str, ...] = ()
        self.longest = 0
        """The length in characters of the longest form of any value."""

    def add(self, value: str | bytes, *, passing: bool = False) -> None:
        """Add a secret value.

        Args:
            value: The value; a value that looks like ordinary text is ignored.
            passing: Whether the value belongs to a single run or request; the last 512 such values are kept.
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
            self.longest = max(self.longest, *map(len, forms))

    def add_url(self, url: str) -> None:
        """Add the password of a URL, and the query values whose names suggest secrets; both as written and decoded.

        A password equal to the user, the host or the database's name is no secret; masking it would hide every mention of that name.
        """
        url = url[:_LONGEST_URL]
        for match in _URL.finditer(url):
            if match["password"] not in {match["user"], match["host"], match["name"]}:
                self._add_encoded(match["password"])
        self._add_parts(url)
        for match in _QUERY.finditer(url):
            if looks_secret(match["name"]):
                self._add_encoded(match["value"])

    def _add_parts(self, url: str) -> None:
        """Add each part of a password with ``@``, ``/``, ``:`` or ``#``: URL parsers take a part for host or port and show it in errors."""
        place = url.partition("://")[2].partition("://")[0]  # ``url`` may hold several URLs
        place = place.partition("?")[0]
        user_info, at, _ = place.rpartition("@")
        if not at and _lacks_its_host(url, place):
            user_info = place
        password = user_info.partition(":")[2]
        parts = _SEPARATORS.split(password)
        if not at or len(parts) > 1:
            for part in (password, *parts):
                self._add_encoded(part)

    def add_environment(self, environment: Mapping[str, str | None]) -> None:
        """Add the values of variables whose names suggest secrets, and the passwords in variables that hold URLs."""
        for name, value in environment.items():
            if not value:
                continue
            if "://" in value:
                self.add_url(value)
            elif "_" in name and looks_secret(name):  # PWD is the working directory
                self.add(value)

    def _add_encoded(self, value: str) -> None:
        for form in {value, unquote(value), unquote_plus(value)}:
            self.add(form)

    @property
    def lasting(self) -> tuple[str | bytes, ...]:
        """Return the values that last as long as the process, to pass to child processes."""
        with self._lock:
            return tuple(self._lasting)

    def mask(self, text: str, shown: str = MASK) -> str:
        """Replace every form of every value in ``text`` by ``shown``."""
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
"""The known secret values of this process."""


def mask(text: str) -> str:
    """Mask the known secret values, in any form, and texts that look like secrets."""
    return mask_patterns(KNOWN.mask(text))


# Masking of nested values, such as the extra fields of a log line.

_DEEPEST = 200
_PLAIN = (int, float, bool, type(None))


def masked(value: object, depth: int = 0) -> Any:
    """Convert a value to JSON types and mask every text within; a text whose key suggests a secret is masked as a whole."""
    if isinstance(value, str):
        return mask(str.__str__(value))
    if isinstance(value, _PLAIN):
        return value
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {mask(str(key)): _under(key, item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item, depth + 1) for item in value]
    return mask(str(value))


def _under(key: object, value: object, depth: int) -> Any:
    if isinstance(value, str | bytes | bytearray) and value and looks_secret(str(key)):
        return MASK
    return masked(value, depth)


# Secrets in settings and in the environment.


@runtime_checkable
class HasSecret(Protocol):
    """The interface of pydantic's ``SecretStr`` and similar types."""

    def get_secret_value(self) -> object:
        """Return the secret value."""


def know_values(values: Iterable[object]) -> None:
    """Add the secrets among some values: pydantic secrets, and passwords in URLs."""
    for value in values:
        if isinstance(value, str):
            if "://" in value:
                KNOWN.add_url(value)
        elif not isinstance(value, _PLAIN) and isinstance(value, HasSecret):
            inner = value.get_secret_value()
            KNOWN.add(inner if isinstance(inner, bytes) else str(inner))


def know_environment() -> None:
    """Add the secrets of the environment and of ``.env``: variables whose names suggest secrets, and passwords in URLs."""
    KNOWN.add_environment(dict(os.environ))
    KNOWN.add_environment(dotenv())


def dotenv() -> Mapping[str, str | None]:
    """Return the variables of ``.env`` in the working directory, without expanding references."""
    file = Path(".env").absolute()
    try:
        about = file.stat()
        return _read(file, about.st_mtime_ns, about.st_size)
    except (OSError, UnicodeDecodeError):
        return {}


@lru_cache(maxsize=4)
def _read(file: Path, _changed: int, _size: int) -> Mapping[str, str | None]:
    from dotenv import dotenv_values  # a dependency of pydantic-settings, which reads the same file

    return dotenv_values(file, encoding="utf-8", interpolate=False)


# Masking of the scheduler's own log records, including lines of jobs, before any handler sees a record; also inside a host application.

_OURS = "targcc"
LONGEST = 40_000
"""The maximum of characters of a record's message, and of its traceback."""
_formatter = logging.Formatter()


class MaskedTraceback(Exception):  # noqa: N818 - a text in the place of an exception
    """A masked text in place of a log record's exception."""


class MaskingFactory:
    """Create log records with ``before`` and mask the texts in the scheduler's records.

    Filters are not enough: a logger's filters do not see records of child loggers, and handlers belong to the host application.
    """

    def __init__(self, before: Callable[..., logging.LogRecord]) -> None:
        self._before = before

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        """Return the record. Its exception becomes a text, because the exception's frames hold unmasked values."""
        record = self._before(*args, **kwargs)
        if str(record.name).partition(".")[0] != _OURS:  # ``makeLogRecord`` passes no name
            return record
        try:
            record.msg = _shortened(mask(record.getMessage()))
        except (TypeError, ValueError, KeyError):  # wrong arguments; logging reports them
            return record
        record.args = ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = _shortened(mask(_formatter.formatException(record.exc_info)))
            record.exc_info = (MaskedTraceback, MaskedTraceback(record.exc_text), None)
        if record.stack_info:
            record.stack_info = mask(record.stack_info)
        return record


def _shortened(text: str) -> str:
    """Return the beginning and the end of a long text; a database error holds its whole statement."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}… ({len(text) - LONGEST} more characters) …{text[-half:]}"


def mask_our_records() -> None:
    """Mask the scheduler's log records from now on, on top of the process's current record factory."""
    factory = logging.getLogRecordFactory()
    if not isinstance(factory, MaskingFactory):
        logging.setLogRecordFactory(MaskingFactory(factory))
