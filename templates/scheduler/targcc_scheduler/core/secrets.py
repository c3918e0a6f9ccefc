"""Secrets: where a reference such as ``${SLACK_URL}`` is looked up, and how secrets are masked in texts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from .errors import SecretError

MASK = "••••••"
"""What is shown instead of a secret."""

_SECRET = re.compile(
    r"((?:token|password|secret|api_?key)=|://[^:/@\s]*:|Bearer\s+)[^&\s@'\"]+", re.IGNORECASE
)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SHORTEST = 8  # a shorter value may be an ordinary word of a text
_resolved: set[str] = set()


class Source(Protocol):
    """A place where references of one form are looked up."""

    def resolve(self, text: str) -> str:
        """``text`` with this source's references replaced by what they stand for; other texts stay as they are.

        Raises:
            SecretError: what a reference names is missing; the message holds the name and never a value.
        """


class EnvironmentSource:
    """``${NAME}``, anywhere in a text: an environment variable, or else a line of ``.env`` in the working directory."""

    def resolve(self, text: str) -> str:
        """See :class:`Source`."""
        return _VARIABLE.sub(lambda found: _variable(found[1]), text)


class FileSource:
    """``file:/run/secrets/slack``: the content of a file in UTF-8, without the white space around it."""

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
"""The sources that :func:`resolve` asks, in this order."""


def resolve(text: str, sources: Iterable[Source] = SOURCES) -> str:
    """What a reference to a secret stands for; a text that is no reference stays as it is.

    Args:
        text: Such as ``${SLACK_URL}``, ``file:/run/secrets/slack``, or the value itself.
        sources: Where to look; the first that knows the form of the reference answers.

    Raises:
        SecretError: what is named is missing; the message holds the name and never a value.
    """
    for source in sources:
        value = source.resolve(text)
        if value != text:
            if len(value) >= _SHORTEST:
                _resolved.add(value)
            return value
    return text


def mask(text: str) -> str:
    """``text`` without passwords in URLs, tokens in addresses, and the secrets that were resolved in this process."""
    for value in sorted(
        _resolved, key=len, reverse=True
    ):  # sorted copies: other threads may add one
        text = text.replace(value, MASK)
    return _SECRET.sub(rf"\1{MASK}", text)


def _variable(name: str) -> str:
    value = os.environ.get(name) or _dotenv(name)
    if not value:
        raise SecretError(f"the environment variable {name} is not set, nor a line of .env")
    return value


def _dotenv(name: str) -> str | None:
    from dotenv import dotenv_values  # comes with pydantic-settings, which reads the same file

    return dotenv_values(".env", encoding="utf-8", interpolate=False).get(name)
