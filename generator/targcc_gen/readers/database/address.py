"""The address of a database: what it says, how it is shown, and which drivers it needs."""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from targcc_gen.errors import InputError

if TYPE_CHECKING:
    import sqlalchemy as sa

PASSWORD_VARIABLE = "TARGCC_LEGACY_PASSWORD"  # noqa: S105 - its name
MASK = "***"
_URL = re.compile(r"([a-z][a-z0-9_]+(?:\+[a-z0-9_]+)?):/", re.IGNORECASE)  # a drive has one letter
_LIKE_A_PASSWORD = re.compile(
    r"(\b(?:pwd|password)\s*=\s*)(?:\{(?:[^}]|\}\})*\}|[^;\s]+)", re.IGNORECASE
)
_DRIVERS = {"mssql": "mssql_python", "postgresql": "psycopg", "sqlite": "sqlite3"}
_DIALECTS = {"mssql": "mssql+mssqlpython", "postgresql": "postgresql+psycopg", "sqlite": "sqlite+pysqlite"}  # fmt: skip
_PRODUCTS = {"mssql": "SQL Server", "postgresql": "PostgreSQL", "sqlite": "SQLite"}
_INSTALL = 'Install them with the generator: uv tool install "targcc-gen[databases]", or pip install "targcc-gen[databases]"'
_FORMS = (
    "mssql://user@server/database, postgresql://user@server/database or sqlite:///path/of/the/file"
)


def is_address(text: str) -> bool:
    """Whether a text is an address and no file's name."""
    return _URL.match(text) is not None


@dataclass(frozen=True, slots=True)
class Address:
    """A database's address. Its password is in ``url`` alone.

    Attributes:
        url: For SQLAlchemy, with the driver in its name.
        label: How people are shown it: without user, password and options.
        kind: ``mssql``, ``postgresql`` or ``sqlite``.
    """

    url: sa.URL = field(repr=False)
    label: str
    kind: str

    @property
    def product(self) -> str:
        """The database's name among people."""
        return _PRODUCTS[self.kind]

    def redacted(self, text: str) -> str:
        """A text of a driver's without the password, however it is spelled there."""
        for secret in sorted(self._secrets(), key=len, reverse=True):
            text = text.replace(secret, MASK)
        return _LIKE_A_PASSWORD.sub(rf"\1{MASK}", text)

    def _secrets(self) -> set[str]:
        from urllib.parse import quote, quote_plus

        word = self.url.password
        if not word:
            return set()
        password = str(word)
        return {password, quote(password, safe=""), quote_plus(password), password.replace("}", "}}"), repr(password)[1:-1]}  # fmt: skip


def parse_address(text: str) -> Address:
    """Read an address; a password that it lacks is taken from ``TARGCC_LEGACY_PASSWORD``.

    Raises:
        InputError: It is none, of a database that cannot be read, or a driver is not installed. The message holds no password.
    """
    found = _URL.match(text)
    scheme = found[1].lower() if found else "such a"
    kind = scheme.partition("+")[0]
    kind = {"postgres": "postgresql", "sqlserver": "mssql"}.get(kind, kind)
    if kind not in _DRIVERS:
        raise InputError(f"import-legacy reads no {kind} database", hint=f"It reads {_FORMS}.")
    _need("sqlalchemy", kind)
    _need(_DRIVERS[kind], kind)
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(_DIALECTS[kind] + text[len(scheme) :])
    except (ArgumentError, ValueError):
        raise InputError(f"this is no address of a {kind} database", hint=f"One looks like {_FORMS}.") from None  # fmt: skip
    server = url.host or url.query.get("host")
    if not url.database or (kind != "sqlite" and not server):
        missing = "file" if kind == "sqlite" else "database" if server else "server"
        raise InputError(f"the address names no {missing}", hint=f"One looks like {_FORMS}.")
    if url.username and not url.password and (password := os.environ.get(PASSWORD_VARIABLE)):
        url = url.set(password=password)
    host = f"{url.host or ''}:{url.port}" if url.port else url.host or ""  # none: a Unix socket
    return Address(url, f"{kind}://{host}/{url.database}", kind)


def _need(module: str, kind: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        missing = error.name == module
        what = "is not installed" if missing else f"cannot be loaded: {error}"
        raise InputError(
            f"to read {_PRODUCTS[kind]} the package {module} is needed, and it {what}",
            hint=_INSTALL,
        ) from None
