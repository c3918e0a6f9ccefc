"""Resolve references to secrets, such as ``${SLACK_URL}``. Resolved values are masked in texts from then on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from .errors import SecretError
from .masking import KNOWN, MASK, dotenv, longest_secret, mask

__all__ = [
    "MASK",
    "SOURCES",
    "add_secret_source",
    "from_outside",
    "know",
    "longest_secret",
    "mask",
    "register_secret",
    "resolve",
]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Source(Protocol):
    """A source that resolves references of a single form."""

    def resolve(self, text: str) -> str:
        """Replace this source's references in ``text`` by their values; return other texts unchanged.

        Raises:
            SecretError: The target of a reference is missing; the message holds the name and no value.
        """


class EnvironmentSource:
    """Resolve ``${NAME}`` anywhere in a text: an environment variable, or else a line of ``.env`` in the working directory."""

    def resolve(self, text: str) -> str:
        """See :class:`Source`."""
        return _VARIABLE.sub(lambda found: _variable(found[1]), text)


class FileSource:
    """Resolve ``file:/run/secrets/slack``: the content of a file in UTF-8, without surrounding white space."""

    def resolve(self, text: str) -> str:
        """See :class:`Source`."""
        if not text.startswith("file:"):
            return text
        path = text.removeprefix("file:").removeprefix("//")
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise SecretError(f"the secret's file {path} cannot be read: {reason}") from None
        if not value:
            raise SecretError(f"the secret's file {path} is empty")
        return value


SOURCES: tuple[Source, ...] = (FileSource(), EnvironmentSource())
"""The default sources of :func:`resolve`, in order."""


_added: list[Source] = []


def add_secret_source(source: Source) -> None:
    """Add a source of secrets, such as a vault. Call this function in the project's ``__init__.py``, before settings are read.

    Args:
        source: The source, asked before the environment and files. A source must return a text without its references unchanged.
    """
    _added.append(source)


def register_secret(value: str | bytes) -> None:
    """Mask a value in outgoing texts from now on, such as a token that a job got from a server.

    Args:
        value: The secret value. A value that looks like ordinary text is ignored: see ``docs/security.md``.
    """
    KNOWN.add(value, passing=True)


def resolve(text: str, sources: Iterable[Source] = SOURCES) -> str:
    """Resolve a reference to a secret; return any other text unchanged.

    Args:
        text: A reference such as ``${SLACK_URL}`` or ``file:/run/secrets/slack``, or the value itself.
        sources: The sources to try; the first that knows the form of the reference answers.

    Raises:
        SecretError: The target of the reference is missing; the message holds the name and no value.
    """
    for source in (*_added, *sources):
        value = source.resolve(text)
        if value != text:
            know(value)
            return value
    return text


def from_outside(value: Any) -> Any:
    """Resolve a setting that may be a reference to a secret; return a value that is no text unchanged.

    Raises:
        ValueError: The target of the reference is missing.
    """
    try:
        return resolve(value) if isinstance(value, str) else value
    except SecretError as error:
        raise ValueError(str(error)) from None


def know(value: str) -> None:
    """Mask a value in outgoing texts from now on; if the value is a URL, mask its password, too."""
    KNOWN.add(value)
    KNOWN.add_url(value)


def _variable(name: str) -> str:
    value = os.environ.get(name) or dotenv().get(name)
    if not value:
        raise SecretError(f"the environment variable {name} is not set, nor a line of .env")
    return value
