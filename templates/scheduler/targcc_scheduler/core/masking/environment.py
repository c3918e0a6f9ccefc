"""The secrets in settings and in the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

from .known import KNOWN


@runtime_checkable
class HasSecret(Protocol):
    """What pydantic's ``SecretStr`` and its kin are."""

    def get_secret_value(self) -> object:
        """The value."""


def know_values(values: Iterable[object]) -> None:
    """Mask the secret ones of some values from now on: secrets of pydantic, and passwords in URLs."""
    for value in values:
        if isinstance(value, HasSecret):
            inner = value.get_secret_value()
            KNOWN.add(inner if isinstance(inner, bytes) else str(inner))
        elif isinstance(value, str) and "://" in value:
            KNOWN.add_url(value)


def know_environment() -> None:
    """Mask from now on what variables, or lines of ``.env``, hold that are called like secrets, and the passwords of their URLs."""
    KNOWN.add_environment(dict(os.environ))
    KNOWN.add_environment(dotenv())


def dotenv() -> Mapping[str, str | None]:
    """The lines of ``.env`` in the working directory, without what they would expand to."""
    file = Path(".env").absolute()
    try:
        about = file.stat()
        return _read(file, about.st_mtime_ns, about.st_size)
    except (OSError, UnicodeDecodeError):
        return {}


@lru_cache(maxsize=4)
def _read(file: Path, _changed: int, _size: int) -> Mapping[str, str | None]:
    from dotenv import dotenv_values  # comes with pydantic-settings, which reads the same file

    return dotenv_values(file, encoding="utf-8", interpolate=False)
