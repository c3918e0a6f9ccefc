"""Tell whether an app's database is PostgreSQL: from requirements, settings and Alembic."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from targcc_gen.dependencies.required import Required
from targcc_gen.patch.apps import LARGEST, MANAGED, python_files

_DRIVERS = frozenset(
    {"asyncpg", "pg8000", "psycopg", "psycopg-binary", "psycopg2", "psycopg2-binary"}
)
_EXTRAS = re.compile(r"postgres|psycopg|asyncpg")
"""An extra that brings a driver: `sqlalchemy[postgresql-asyncpg]`."""
_URL = r"postgres(?:ql)?(?:\+\w+)?://"
_IN_CODE = re.compile(rf"{_URL}|django\.db\.backends\.postgresql|\bPostgresDsn\b")
_ASSIGNED = re.compile(
    rf"(?im)^\s*-?\s*(?:export\s+)?(?P<name>\w*(?:url|uri|dsn)\w*)\s*[:=]\s*[\"']?{_URL}"
)
"""A variable with a URL, in a file of variables or a compose file."""
_ALEMBIC = re.compile(r"(?m)^\s*sqlalchemy\.url\s*=\s*(?P<scheme>[\w+]+)://")
_SETTINGS = (".env", ".env.example", ".env.sample", ".env.dist", ".env.template", "env.example")


@dataclass(frozen=True)
class HostDatabase:
    """The evidence that an app is on PostgreSQL.

    Args:
        places: The places that say so: `pyproject.toml: asyncpg`.
        variable: The variable with the URL, such as `DATABASE_URL`; empty if unknown.
    """

    places: tuple[str, ...] = ()
    variable: str = ""

    @property
    def is_postgresql(self) -> bool:
        """Whether the app is on PostgreSQL."""
        return bool(self.places)


def host_database(root: Path, required: Iterable[Required]) -> HostDatabase:
    """Return the evidence for PostgreSQL; without places for another database.

    A required driver is enough. An optional driver needs a URL, because many apps run on several databases.

    Args:
        root: The project's folder.
        required: The project's requirements.
    """
    drivers = [requirement for requirement in required if _is_driver(requirement)]
    settings = [*_of_settings(root)]
    code = [*_of_code(root)]
    alembic = [*_of_alembic(root)]
    always = [driver for driver in drivers if not driver.optional]
    urls = [place for place, _ in settings] + [
        place for place, scheme in alembic if scheme.startswith("postgres")
    ]
    elsewhere = alembic and not any(scheme.startswith("postgres") for _, scheme in alembic)
    if elsewhere and not settings:
        return HostDatabase()
    if not (always or (drivers and (urls or code)) or (urls and code)):
        return HostDatabase()
    places = [f"{driver.path}: {driver.text}" for driver in always or drivers]
    variables = [variable for _, variable in settings]
    return HostDatabase((*places, *urls, *code)[:3], variables[0] if variables else "")


def _is_driver(required: Required) -> bool:
    return required.name in _DRIVERS or any(_EXTRAS.search(extra) for extra in required.extras)


def _of_settings(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the place and the name of each variable with a URL of PostgreSQL."""
    paths = [root / name for name in _SETTINGS]
    paths += sorted(root.glob("*compose*.y*ml"))
    for path in paths:
        for match in _ASSIGNED.finditer(_text(path)):
            yield f"{path.name}: {match['name']}", match["name"]


def _of_alembic(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the place and the scheme of Alembic's URL. A placeholder, `driver://`, does not count."""
    for path in sorted({*root.glob("alembic.ini"), *root.glob("*/alembic.ini")}):
        for match in _ALEMBIC.finditer(_text(path)):
            if match["scheme"] != "driver":
                yield f"{path.relative_to(root).as_posix()}: sqlalchemy.url", match["scheme"]


def _of_code(root: Path) -> Iterator[str]:
    for path in sorted(python_files(root)):
        text = _text(path)
        if _IN_CODE.search(text) and MANAGED.decode() not in text:
            yield path.relative_to(root).as_posix()
            return


def _text(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
